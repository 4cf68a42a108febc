"""Bodies as coding agents send them, cut down to what routing reads (the shapes are in the reader's own tests)."""

RACE = "Fix the race condition in our payment webhook handler"
TYPO = "fix the typo in the README"
CAREFUL = {"claude-opus-5-5", "claude-opus-4-5"}
SESSION = "11111111-2222-3333-4444-555555555555"
CLAUDE_HEADERS = {"x-claude-code-session-id": SESSION, "anthropic-version": "2023-06-01", "x-app": "cli"}
TOOLS = [{"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object"}}]


def claude_body(*prompts, tool_results=0, **fields):
    """Claude Code's request for the last prompt, after this many tool results."""
    messages = []
    for prompt in prompts:
        if messages:
            messages.append({"role": "assistant", "content": "Done."})
        messages.append({"role": "user", "content": [{"type": "text", "text": prompt}]})
    for number in range(tool_results):
        use = {"type": "tool_use", "id": f"t{number}", "name": "Read", "input": {}}
        messages.append({"role": "assistant", "content": [use]})
        result = {"type": "tool_result", "tool_use_id": f"t{number}", "content": "file contents"}
        messages.append({"role": "user", "content": [result]})
    return {
        "model": "claude-opus-5-5",
        "messages": messages,
        "system": [{"type": "text", "text": "You are Claude Code."}],
        "tools": TOOLS,
        "max_tokens": 32000,
        "stream": True,
    } | fields


def environment_body(prompt, **fields):
    """Claude Code's request in the layout of the 5.5 family: a system message stands in the conversation."""
    body = claude_body(prompt, **fields)
    body["messages"].append({"role": "system", "content": [{"type": "text", "text": "Environment"}]})
    return body


def title_body(prompt):
    """The request for a session's title that interactive Claude Code sends beside the first."""
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    return claude_body(
        f"<session>\n{prompt}\n</session>",
        tools=[],
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )


def summary_body(prompt):
    """The request that folds a conversation into a summary, with the system prompt and tools of a turn."""
    return claude_body(prompt, "CRITICAL: Respond with TEXT ONLY. Summarise what happened so far.")


def chat_body(prompt):
    """An OpenAI Chat Completions request, as opencode sends it."""
    return {
        "model": "gpt-5-codex",
        "messages": [{"role": "system", "content": "You are opencode."}, {"role": "user", "content": prompt}],
        "tools": [{"type": "function", "function": {"name": "read", "parameters": {}}}],
        "stream": True,
    }


def responses_body(prompt):
    """An OpenAI Responses request, as Codex sends it."""
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}
    return {"model": "gpt-5-codex", "input": [item], "tools": [], "stream": True, "store": False}
