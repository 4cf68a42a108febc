"""Invented logs in the shapes that clients write."""

import json
import sqlite3
from contextlib import closing


def write_lines(path, rows):
    """Write rows as JSON lines; a string goes in as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


class ClaudeLog:
    """Rows of one Claude Code session, in today's shape."""

    def __init__(self, session="11111111-2222-4333-8444-555555555555", cwd="/home/mkowalska/shop"):
        self.session, self.cwd, self.rows, self.parent = session, cwd, [], None

    def add(self, kind, message, parent="", **fields):
        n = len(self.rows)
        row = {"type": kind, "uuid": f"{self.session[:8]}-{n:04d}", "sessionId": self.session, "cwd": self.cwd}
        row |= {"parentUuid": self.parent if parent == "" else parent, "isSidechain": False, "message": message}
        row["timestamp"] = f"2026-11-{1 + n // 1440:02d}T{n // 60 % 24:02d}:{n % 60:02d}:00.000Z"
        self.rows.append(row | fields)
        self.parent = row["uuid"]
        return self

    def prompt(self, text, **fields):
        return self.add("user", {"role": "user", "content": text}, promptSource="typed", **fields)

    def answer(self, text, message_id=None, output_tokens=10, **fields):
        usage = {"input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": output_tokens}
        message = {"role": "assistant", "model": "claude-sonnet-4-5", "usage": usage}
        message |= {"id": message_id or f"msg_{len(self.rows)}", "content": [{"type": "text", "text": text}]}
        return self.add("assistant", message, **fields)

    def tool(self, *, fails=False, text="done", message_id=None):
        call = {"type": "tool_use", "id": f"t{len(self.rows)}", "name": "Bash", "input": {"command": "make"}}
        usage = {"input_tokens": 5, "output_tokens": 10}
        message = {"role": "assistant", "model": "claude-sonnet-4-5", "usage": usage, "content": [call]}
        self.add("assistant", message | {"id": message_id or f"msg_{len(self.rows)}"})
        result = {"type": "tool_result", "tool_use_id": call["id"], "content": text, "is_error": fails}
        return self.add("user", {"role": "user", "content": [result]}, toolUseResult={"stdout": text})

    def write(self, folder, name=None):
        return write_lines(folder / "projects" / "-home-mkowalska-shop" / f"{name or self.session}.jsonl", self.rows)


def claude_session():
    """Three turns: one that fails, its correction, and thanks."""
    log = ClaudeLog()
    log.rows.append({"type": "file-history-snapshot", "messageId": "m", "snapshot": {}, "isSnapshotUpdate": False})
    log.prompt("The basket shows a negative total: ValueError: total is -3").tool().answer("I clamped it at zero.")
    log.prompt("Still wrong, I get ValueError: total is -9 now").tool(fails=True).answer("Fixed the sign.")
    return log.prompt("thanks, works now. Add a test for the empty basket").answer("Added.")


CODEX_ID = "0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"


def codex_line(kind, payload, minute=0):
    return {"timestamp": f"2026-11-02T10:{minute:02d}:00.000Z", "type": kind, "payload": payload}


def codex_message(role, text):
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def codex_usage(total):
    last = {"input_tokens": 500, "cached_input_tokens": 400, "output_tokens": 20}
    return {"type": "token_count", "info": {"total_token_usage": {"total_tokens": total}, "last_token_usage": last}}


def codex_rollout():
    call = {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": "c1"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "Exit code: 2\nOutput:\nno rule"}
    return [
        codex_line("session_meta", {"id": CODEX_ID, "cwd": "/home/mkowalska/radio", "originator": "codex_exec"}),
        codex_line(
            "response_item", codex_message("developer", "<permissions instructions>all</permissions instructions>")
        ),
        codex_line("response_item", codex_message("user", "<environment_context>bash</environment_context>")),
        codex_line("turn_context", {"model": "gpt-5.3-codex", "cwd": "/home/mkowalska/radio"}),
        codex_line("response_item", codex_message("user", "Make the tuner remember its last station"), 1),
        codex_line("event_msg", {"type": "user_message", "message": "Make the tuner remember its last station"}, 1),
        codex_line("response_item", call, 2),
        codex_line("response_item", output, 2),
        codex_line("event_msg", codex_usage(520), 2),
        codex_line("event_msg", codex_usage(520), 2),
        codex_line("response_item", codex_message("assistant", "It is stored in the settings."), 3),
        codex_line("event_msg", {"type": "agent_message", "message": "It is stored in the settings."}, 3),
        codex_line("response_item", codex_message("user", "Now the volume, too"), 4),
        codex_line("event_msg", {"type": "turn_aborted", "reason": "interrupted"}, 5),
    ]


def opencode_database(path, prompts=("Draw the map with hexagons", "revert that please")):
    """A database as opencode 1.18 writes it, with a title session's synthetic part and a subagent."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript(
            "CREATE TABLE session (id TEXT PRIMARY KEY, parent_id TEXT, directory TEXT, title TEXT);"
            "CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, time_created INTEGER, data TEXT);"
            "CREATE TABLE part (id TEXT PRIMARY KEY, message_id TEXT, session_id TEXT, data TEXT);"
        )
        db.execute("INSERT INTO session VALUES ('ses_a', NULL, '/home/mkowalska/atlas', 'Map')")
        db.execute("INSERT INTO session VALUES ('ses_b', 'ses_a', '/home/mkowalska/atlas', 'Sub')")
        n = 0

        def add(session, role, parts, **fields):
            nonlocal n
            n += 1
            data = {"role": role, "time": {"created": 1_790_000_000_000 + n * 60_000}} | fields
            db.execute("INSERT INTO message VALUES (?, ?, ?, ?)", (f"msg_{n:03d}", session, n, json.dumps(data)))
            for i, part in enumerate(parts):
                row = (f"prt_{n:03d}_{i}", f"msg_{n:03d}", session, json.dumps(part))
                db.execute("INSERT INTO part VALUES (?, ?, ?, ?)", row)

        tokens = {"input": 50, "output": 7, "reasoning": 3, "cache": {"read": 900, "write": 4}}
        for prompt in prompts:
            context = {"type": "text", "text": "Called the Read tool", "synthetic": True}
            add("ses_a", "user", [context, {"type": "text", "text": prompt}])
            tool = {"type": "tool", "tool": "edit", "state": {"status": "error"}}
            add(
                "ses_a",
                "assistant",
                [tool, {"type": "text", "text": "Done."}],
                modelID="kimi-k2.5",
                tokens=tokens,
                cost=0.01,
            )
        add("ses_b", "user", [{"type": "text", "text": "Look for uses of Tile"}])
        db.commit()
    return path


AIDER = """
# aider chat started at 2026-03-04 10:00:00

> Aider v0.86.0
> Main model: gpt-5.2 with diff edit format

#### /add clock.py

> Added clock.py to the chat

#### Make the clock strike{two_spaces}
#### every half hour

I will add a half-hour strike.

```markdown
#### not a prompt
> not a note
```

> Tokens: 5.8k sent, 142 received. Cost: $0.02 message, $0.02 session.
> Applied edit to clock.py

#### /undo

> Removed: abc1234

#### /ask why does it strike twice at noon?

Because both rules match.

# aider chat started at 2026-03-05 09:00:00

#### Paint the dial

> ^C again to exit
""".replace("{two_spaces}", "  ")

SPECSTORY = """<!-- Generated by SpecStory, Markdown v2.1.0 -->

# 2026-05-01 10:00:00Z

<!-- Claude Code Session 5c7d5c23-0000-4467-b98e-0fb865b4a639 (2026-05-01 10:00:00Z) -->

_**User (2026-05-01 10:00:00Z)**_

Sort the tide table by harbour

---

_**Agent (claude-opus-4-5 2026-05-01 10:00:07Z)**_

<think><details><summary>Thought Process</summary>
Perhaps by name.
</details></think>

Sorting by harbour name.

<tool-use data-tool-type="shell" data-tool-name="Bash"><details>
<summary>Tool use: **Bash**</summary>

Exit code: 1
</details></tool-use>

_**Agent - sidechain (claude-haiku-4-5 2026-05-01 10:00:08Z)**_

Looking around.

---

_**User (2026-05-01 10:02:00Z)**_

By distance, I meant

---
"""


def litellm_request(n, prompt, *, before=(), tools=0, session=None, **fields):
    """One row of an export: the request with its whole history, as the client sent it."""
    messages = [*before, {"role": "user", "content": prompt}]
    for i in range(tools):
        call = {"id": f"c{i}", "type": "function", "function": {"name": "run", "arguments": "{}"}}
        messages += [
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{i}", "content": "ok"},
        ]
    body = {"model": "cheap", "messages": messages, "tools": [{"type": "function", "function": {"name": "run"}}]}
    if session is not None:
        body["metadata"] = {"session_id": session}
    row = {"request_id": f"r{n}", "call_type": "acompletion", "startTime": f"2026-06-01 08:{n:02d}:00.000000"}
    row |= {"model": "qwen3-coder", "model_group": "cheap", "prompt_tokens": 100, "completion_tokens": 9, "spend": 0.5}
    row |= {"session_id": f"gateway-{n}", "status": "success", "messages": {}, "proxy_server_request": body}
    return row | fields


def litellm_session():
    """Two turns of an unnamed session, the first with a tool loop, and a row without a stored prompt."""
    first = [{"role": "user", "content": "Count the lanterns"}, {"role": "assistant", "content": "There are nine."}]
    return [
        litellm_request(0, "Count the lanterns"),
        litellm_request(1, "Count the lanterns", tools=1),
        litellm_request(2, "Count them again, that's wrong", before=first),
        litellm_request(3, "x", proxy_server_request={}),
    ]
