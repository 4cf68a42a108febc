"""Whole requests, as clients send them: what is read out of each."""

import json
from pathlib import Path

import pytest

from pointsman.classifier.assessment import CAPABILITIES, Kind, Turn
from pointsman.classifier.request import NO_PROMPT, read_request

REQUESTS = Path(__file__).parents[1] / "data" / "requests"
CLAUDE = "5d0f6c1e-7a42-4b7e-9a51-0c3f5be2a101"
CLAUDE_LEGACY = "b2a9c7d4-1f60-4f0a-8d5e-77c1d2e3f402"
CODEX = "0199f0aa-5c1b-7d20-9a77-aa10bb20cc30"
OPENCODE = "ses_parcelsAffinity01"

BOOKED = "Parcels are booked twice when two scanners send the same code. Find out why and fix it."
MOVED = "Move the depot table to a composite key, with a migration that can be undone"
DRY_RUN = "Add a dry-run flag to the label printer"
RELABEL = (
    "/relabel depot-7 north\nRename depot depot-7 to north in every label template. Run the label tests afterwards."
)

# name, prompt, kind, background, session
TABLE = [
    ("claude_first", BOOKED, "task", None, CLAUDE),
    ("claude_tool_result", BOOKED, "tool_loop", None, CLAUDE),
    ("claude_notification", BOOKED, "tool_loop", None, CLAUDE),
    ("claude_next_turn", "Good. Now write a test that books the same code from two threads.", "task", None, CLAUDE),
    ("claude_plain_string", BOOKED, "tool_loop", None, CLAUDE),
    ("claude_block_list", BOOKED, "task", None, CLAUDE),
    ("claude_legacy", "Spell the depot names in README the way the map does", "task", None, CLAUDE_LEGACY),
    ("claude_slash_command", RELABEL, "task", None, CLAUDE_LEGACY),
    ("claude_continue_at_file", "Do the same for @depots.yaml", "task", None, CLAUDE_LEGACY),
    ("claude_compact", "", "background", "summary", CLAUDE),
    ("claude_after_compact", "Does the lock slow the intake down?", "task", None, CLAUDE),
    ("claude_auto_compact", "", "tool_loop", None, CLAUDE),
    ("claude_count_tokens", "", "background", "count_tokens", CLAUDE),
    ("claude_title", "", "background", "title", CLAUDE),
    ("claude_topic", "", "background", "topic", CLAUDE),
    ("claude_quota", "", "background", "quota", CLAUDE),
    ("claude_subagent", "List every caller of book() with file and line.", "subagent", None, CLAUDE),
    ("claude_subagent_tool_result", "List every caller of book() with file and line.", "tool_loop", None, CLAUDE),
    ("claude_interrupted", "Leave intake.py alone, look at the queue instead", "task", None, CLAUDE),
    ("claude_image", "The label prints like this, it should look like the sheet", "tool_loop", None, CLAUDE),
    ("codex_first", MOVED, "task", None, CODEX),
    ("codex_tool_result", MOVED, "tool_loop", None, CODEX),
    ("codex_custom_tool", MOVED, "tool_loop", None, CODEX),
    ("codex_next_turn", "Still fails: column depot_id does not exist", "task", None, CODEX),
    ("codex_compact", "", "background", "summary", CODEX),
    ("codex_compact_path", "", "background", "summary", CODEX),
    ("codex_compact_prompt", "", "background", "summary", CODEX),
    ("codex_subagent", "Check the rollback of the depot migration", "subagent", None, CODEX),
    ("opencode_first", DRY_RUN, "task", None, OPENCODE),
    ("opencode_tool_result", DRY_RUN, "tool_loop", None, OPENCODE),
    ("opencode_title", "", "background", "title", OPENCODE),
]

CLAUDE_NEEDS = {"tools", "thinking_adaptive", "effort", "mid_system"}


def sent(name: str) -> dict:
    return json.loads((REQUESTS / f"{name}.json").read_text(encoding="utf-8"))


def read(name: str) -> Turn:
    request = sent(name)
    body = json.dumps(request["body"]).encode()
    return read_request(body, request["headers"], path=request["path"])


@pytest.mark.parametrize(("name", "prompt", "kind", "background", "session"), TABLE, ids=[row[0] for row in TABLE])
def test_request_of_client(name, prompt, kind, background, session):
    turn = read(name)
    assert (turn.prompt, turn.kind, turn.background, turn.session_id) == (prompt, kind, background, session)


def test_table_covers_every_stored_request():
    assert {row[0] for row in TABLE} == {file.stem for file in REQUESTS.glob("*.json")}


@pytest.mark.parametrize("name", [row[0] for row in TABLE])
def test_parsed_body_reads_like_its_bytes(name):
    request = sent(name)
    assert read_request(request["body"], request["headers"], path=request["path"]) == read(name)


@pytest.mark.parametrize("name", [row[0] for row in TABLE if row[0] != "codex_compact_path"])
def test_path_is_not_needed(name):
    request = sent(name)
    assert read_request(request["body"], request["headers"]) == read(name)


@pytest.mark.parametrize("name", [row[0] for row in TABLE])
def test_background_has_no_words_and_only_others_have_context(name):
    turn = read(name)
    if turn.kind is Kind.BACKGROUND:
        assert (turn.prompt, turn.context, turn.reason) == ("", (), None)
    assert len(turn.context) <= 4
    assert turn.needs <= set(CAPABILITIES)


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("claude_first", CLAUDE_NEEDS),
        ("claude_image", {"tools", "thinking_adaptive", "effort", "images", "documents"}),
        ("claude_legacy", {"tools", "thinking_enabled"}),
        ("claude_title", {"effort", "structured_output"}),
        ("codex_first", {"tools", "effort"}),
        ("codex_custom_tool", {"tools", "effort", "images"}),
        ("opencode_first", {"tools"}),
        ("opencode_title", set()),
    ],
)
def test_needs(name, needs):
    assert read(name).needs == needs


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_output_limit_is_read_whatever_its_name(field):
    assert read_request({"messages": [], field: 4096}).max_output_tokens == 4096


@pytest.mark.parametrize("limit", [0, -1, True, "4096", 1.5, 10**30, None, [1]])
def test_output_limit_that_is_none_is_ignored(limit):
    assert read_request({"messages": [], "max_tokens": limit}).max_output_tokens is None


def test_media_are_counted_inside_tool_results_too():
    turn = read("claude_image")
    assert (turn.n_images, turn.n_documents) == (2, 1)


def test_encoded_media_are_not_counted_as_text():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400_000}}
    turn = read_request({"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, image]}]})
    assert 1_500 <= turn.context_tokens < 1_600


def test_encoded_data_in_unknown_places_are_not_counted_as_text():
    call = {"role": "assistant", "tool_calls": [{"function": {"arguments": "QUJD" * 50_000}}]}
    assert read_request({"messages": [{"role": "user", "content": "Go"}, call]}).context_tokens < 100


def test_text_documents_count_as_text():
    document = {"type": "document", "source": {"type": "text", "data": "word " * 7_000}}
    turn = read_request({"messages": [{"role": "user", "content": [document, {"type": "text", "text": "Sum up"}]}]})
    assert turn.n_documents == 1
    assert turn.context_tokens == pytest.approx(10_000, rel=0.01)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("plain words, " * 1_000, 3_714), ("修复登录页面的错误" * 1_000, 7_971)],
    ids=["english", "chinese"],
)
def test_context_tokens_follow_the_script(text, tokens):
    assert read_request({"input": text}).context_tokens == tokens


def test_context_tokens_count_system_tools_and_messages():
    message = {"role": "user", "content": "x" * 3_500}
    alone = read_request({"messages": [message]}).context_tokens
    tools = [{"name": "Read", "description": "y" * 300, "input_schema": {}}]
    whole = read_request({"messages": [message], "system": [{"type": "text", "text": "s" * 7_000}], "tools": tools})
    assert alone == 1_000
    assert 3_100 <= whole.context_tokens <= 3_140


def test_client_model_is_kept():
    assert read("claude_legacy").client_model == "claude-sonnet-4-5-20250929"


@pytest.mark.parametrize("name", [row[0] for row in TABLE])
def test_credentials_are_never_kept(name):
    assert "placeholder" not in repr(read(name))


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "messages": [{"role": "user", "content": "Rename the flag"}]},
        {"model": "m", "system": "s", "messages": [{"role": "user", "content": "Rename the flag"}]},
    ],
    ids=["openai", "excerpt"],
)
def test_missing_output_limit_alone_is_no_token_count(body):
    assert read_request(body).kind is Kind.TASK


@pytest.mark.parametrize(
    "path",
    ["/v1/messages/count_tokens", "/v1/decide/v1/messages/count_tokens?beta=true", "/v1/responses/input_tokens/"],
)
def test_token_count_is_told_by_path(path):
    turn = read_request({"messages": [{"role": "user", "content": "foo"}]}, path=path)
    assert turn.background == "count_tokens"


@pytest.mark.parametrize(
    ("text", "background"),
    [
        ("Your task is to create a detailed summary of the conversation so far, with care.", "summary"),
        ("Provide a detailed prompt for continuing our conversation above.", "summary"),
        ("Provide a detailed but concise summary of our conversation above.", "summary"),
        ("\nPlease write a 5-10 word title for the following conversation:", "title"),
        ("Write a title for the release notes", None),
        ("Why does the log say 'You are performing a CONTEXT CHECKPOINT COMPACTION'?", None),
        ("quota", None),
    ],
)
def test_background_is_told_by_how_the_text_opens(text, background):
    assert read_request({"max_tokens": 900, "messages": [{"role": "user", "content": text}]}).background == background


PAGE = "\nWeb page content:\n---\n# Releases\n---\n\nWhich version is the newest?"
FENCED = "The text inside the <untrusted-content-0a1b2c3d4e5f> tag below is a page.\n\n<untrusted-content-0a1b2c3d4e5f>"
SEARCH = "Perform a web search for the query: lock taken twice"
SEARCH_TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


@pytest.mark.parametrize(
    ("text", "tools", "background"),
    [
        (PAGE, [], "web_fetch"),
        (FENCED, [], "web_fetch"),
        (PAGE, [{"name": "Read"}], None),
        ("Why does it print 'Web page content:\n---'?", [], None),
        (SEARCH, [SEARCH_TOOL], "web_search"),
        (SEARCH, [SEARCH_TOOL, {"name": "Read"}], None),
        (SEARCH, [{"name": "web_search"}], None),
        ("Who takes the lock?", [SEARCH_TOOL], None),
    ],
)
def test_web_call_of_claude_code_is_told_by_its_tools_and_opening(text, tools, background):
    body = {"system": "Search once.", "tools": tools, "messages": [{"role": "user", "content": text}]}
    assert read_request(body).background == background


@pytest.mark.parametrize(("text", "tools"), [(PAGE, []), (SEARCH, [SEARCH_TOOL])], ids=["fetch", "search"])
def test_opening_of_a_web_call_inside_a_conversation_is_a_task(text, tools):
    messages = [{"role": role, "content": "Go on"} for role in ("user", "assistant")]
    turn = read_request({"tools": tools, "messages": [*messages, {"role": "user", "content": text}]})
    assert (turn.kind, turn.background) == (Kind.TASK, None)


@pytest.mark.parametrize("is_apart", [False, True], ids=["one message", "a message each"])
def test_permission_check_is_told_by_its_marks(is_apart):
    texts = ["<transcript>\n", "User: fix the race\n", "Bash: rm -r build\n", "</transcript>\n", "Answer in <block>."]
    blocks = [{"type": "text", "text": text} for text in texts]
    messages = [[block] for block in blocks] if is_apart else [blocks]
    body = {"messages": [{"role": "user", "content": content} for content in messages]}
    assert read_request(body).background == "permission"
    assert read_request(body | {"tools": [{"name": "Read"}]}).background is None


def test_transcript_in_one_block_is_a_task():
    text = "<transcript>\nAnna: The printer is dead.\n</transcript>\nWhat has to be done?"
    assert read_request({"messages": [{"role": "user", "content": text}]}).kind is Kind.TASK


def test_codex_names_its_compaction_in_a_header():
    body = {"input": [{"role": "user", "content": "Anything"}]}
    assert read_request(body, {"X-OpenAI-Subagent": "compact"}).background == "summary"
    assert read_request(body, {"X-OpenAI-Subagent": "review"}).kind is Kind.SUBAGENT


def test_encrypted_thinking_counts_as_what_it_stands_for():
    thinking = {"type": "thinking", "thinking": "", "signature": "A" * 5_000}
    messages = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": [thinking]}]
    assert read_request({"messages": messages}).context_tokens == pytest.approx(1_000, abs=30)


def test_documents_are_estimated_by_their_size():
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64," + "A" * 400_000}}
    assert read_request({"messages": [{"role": "user", "content": [file]}]}).context_tokens == pytest.approx(
        10_000, 0.01
    )


def test_one_token_for_a_whole_question_is_no_probe():
    body = {
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "Is this change safe to merge? Answer Y or N. " * 3}],
    }
    assert read_request(body).kind is Kind.TASK


def test_title_schema_with_tools_is_a_task():
    body = {**sent("claude_title")["body"], "tools": [{"name": "Read", "input_schema": {}}]}
    assert read_request(body).background is None


def test_schema_with_a_title_among_many_fields_is_a_task():
    fields = {name: {"type": "string"} for name in ("title", "body", "labels")}
    form = {"type": "json_schema", "json_schema": {"schema": {"properties": fields}}}
    turn = read_request({"messages": [{"role": "user", "content": "File an issue"}], "response_format": form})
    assert (turn.kind, turn.needs) == (Kind.TASK, {"structured_output"})


def test_assistant_prefill_stays_a_task():
    messages = [{"role": "user", "content": "List the depots as JSON"}, {"role": "assistant", "content": "["}]
    assert read_request({"messages": messages}).kind is Kind.TASK


def test_notice_behind_an_answer_goes_on_with_the_turn():
    notice = {"role": "user", "content": "<system-reminder>A file changed.</system-reminder>"}
    messages = [{"role": "user", "content": "Watch the build"}, {"role": "assistant", "content": "Watching."}, notice]
    turn = read_request({"messages": messages})
    assert (turn.prompt, turn.kind) == ("Watch the build", Kind.TOOL_LOOP)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "local_shell_call", "action": {}},
        {"type": "web_search_call", "id": "ws"},
        {"type": "local_shell_call_output", "output": "ok"},
        {"role": "tool", "content": "ok"},
        {"role": "function", "name": "f", "content": "ok"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "assistant", "content": [{"type": "server_tool_use", "name": "web_search", "input": {}}]},
        {"role": "user", "content": [{"type": "web_search_tool_result", "content": []}]},
    ],
    ids=lambda item: item.get("type") or item["role"],
)
def test_any_tool_use_behind_the_prompt_is_a_tool_loop(item):
    turn = read_request({"input": [{"role": "user", "content": "Go"}, item]})
    assert (turn.prompt, turn.kind) == ("Go", Kind.TOOL_LOOP)


def test_mid_system_is_a_need_of_anthropic_bodies_only():
    messages = [{"role": "user", "content": "Go"}, {"role": "system", "content": "Be brief."}]
    assert read_request({"messages": messages}, path="/v1/messages").needs == {"mid_system"}
    assert read_request({"messages": messages}, path="/v1/chat/completions").needs == frozenset()


def test_picture_without_words_is_a_turn_of_its_own():
    picture = {"role": "user", "content": [{"type": "image", "source": {}}]}
    messages = [{"role": "user", "content": "Draw the label"}, {"role": "assistant", "content": "Done."}, picture]
    turn = read_request({"messages": messages})
    assert (turn.prompt, turn.kind, turn.n_images) == ("", Kind.TASK, 1)
    assert turn.reason is not None


def test_picture_of_a_tool_goes_on_with_the_turn():
    items = [
        {"role": "user", "content": "Look at the label"},
        {"type": "function_call_output", "output": "attached"},
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
    ]
    turn = read_request({"input": items})
    assert (turn.prompt, turn.kind) == ("Look at the label", Kind.TOOL_LOOP)


def test_tool_results_without_any_prompt_are_a_tool_loop():
    turn = read_request({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "ok"}]}]})
    assert (turn.prompt, turn.kind, turn.reason) == ("", Kind.TOOL_LOOP, NO_PROMPT)
