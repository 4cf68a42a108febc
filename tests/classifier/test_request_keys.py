"""Sessions and keys: what stays the same along a turn, and what does not."""

import copy
import json
from pathlib import Path

import pytest

from pointsman.classifier.assessment import Kind
from pointsman.classifier.request import read_digest, read_request

REQUESTS = Path(__file__).parents[1] / "data" / "requests"
BODY = {"messages": [{"role": "user", "content": "Rename the flag"}]}


def read(name):
    request = json.loads((REQUESTS / f"{name}.json").read_text(encoding="utf-8"))
    return read_request(request["body"], request["headers"], path=request["path"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("claude_first", "claude_tool_result"),
        ("claude_first", "claude_notification"),
        ("claude_plain_string", "claude_block_list"),
        ("claude_subagent", "claude_subagent_tool_result"),
        ("codex_first", "codex_tool_result"),
        ("codex_first", "codex_custom_tool"),
        ("opencode_first", "opencode_tool_result"),
    ],
)
def test_requests_of_one_turn_share_its_key(one, other):
    one, other = read(one), read(other)
    assert one.key == other.key
    assert one.request_key != other.request_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("claude_first", "claude_next_turn"),
        ("claude_first", "claude_interrupted"),
        ("claude_first", "claude_subagent"),
        ("claude_first", "claude_title"),
        ("claude_slash_command", "claude_continue_at_file"),
        ("codex_first", "codex_next_turn"),
        ("codex_first", "codex_subagent"),
        ("opencode_first", "opencode_title"),
    ],
)
def test_other_turns_have_other_keys(one, other):
    assert read(one).key != read(other).key


def test_retry_has_the_same_request_key():
    assert read("claude_tool_result") == read("claude_tool_result")


def test_same_words_later_in_the_session_are_another_turn():
    words = [{"role": "user", "content": "continue"}, {"role": "assistant", "content": "Done."}]
    once = read_request({"messages": words[:1]}, session_id="s")
    twice = read_request({"messages": words + words[:1]}, session_id="s")
    assert once.key != twice.key


def test_white_space_and_cache_marks_do_not_change_the_key():
    block = {"type": "text", "text": "Rename  the\nflag ", "cache_control": {"type": "ephemeral"}}
    moved = read_request({"messages": [{"role": "user", "content": [block]}]}, session_id="s")
    assert moved.key == read_request(BODY, session_id="s").key


def test_session_names_the_state():
    turn = read("claude_next_turn")
    assert turn.state_key == turn.next_state_key == turn.session_id


def test_agent_has_its_own_state_inside_the_session():
    turn = read("claude_subagent")
    assert turn.agent_id == "e07a11c25f"
    assert turn.state_key == turn.next_state_key == f"{turn.session_id}/e07a11c25f"


def test_codex_subagent_is_named_by_its_thread():
    turn = read("codex_subagent")
    assert (turn.kind, turn.agent_id) == (Kind.SUBAGENT, "0199f0ab-1111-7d20-9a77-aa10bb20cc31")
    assert turn.session_id == read("codex_first").session_id


@pytest.mark.parametrize("name", ["claude_title", "claude_compact", "claude_count_tokens", "opencode_title"])
def test_background_keeps_the_state_of_its_session(name):
    turn = read(name)
    assert turn.state_key == turn.next_state_key == turn.session_id


def test_subagent_without_its_header_is_told_by_the_billing_block():
    request = json.loads((REQUESTS / "claude_subagent.json").read_text(encoding="utf-8"))
    del request["headers"]["X-Claude-Code-Agent-Id"]
    turn = read_request(request["body"], request["headers"])
    assert (turn.kind, turn.agent_id) == (Kind.SUBAGENT, None)
    assert turn.state_key.startswith(f"{turn.session_id}/sub-")


def anonymous(*texts, extra=()):
    """A conversation without a session: user and assistant in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    return read_request({"messages": [*messages, *extra]})


#: More than two people are ever told alike.
ANSWER = "The lock is taken twice on the way out of the pool. " * 5


def test_turns_without_a_session_form_a_chain_once_the_answers_tell_them_apart():
    first = anonymous("Fix it")
    second = anonymous("Fix it", ANSWER, "Test it")
    third = anonymous("Fix it", ANSWER, "Test it", "Tested.", "Ship it")
    assert first.session_id is None
    assert (first.state_key, second.state_key) == ("", "")
    assert third.state_key == second.next_state_key
    assert len({turn.next_state_key for turn in (first, second, third)}) == 3


def test_people_who_say_the_same_share_no_state_of_before():
    greeted = ("hi", "Hello! How can I help you today?", "Fix the tests", "Done.", "still fails")
    assert [anonymous(*greeted[:n]).state_key for n in (1, 3, 5)] == ["", "", ""]


def test_retry_without_a_session_is_the_same_request_and_a_longer_one_is_not():
    one, again = anonymous("Fix it"), anonymous("Fix it")
    other = anonymous("Fix it", extra=[{"role": "system", "content": "word " * 50}])
    assert one.request_key == again.request_key
    assert (one.key, one.next_state_key) == (other.key, other.next_state_key)
    assert one.request_key != other.request_key


def test_chain_ignores_the_tool_loop_and_the_system_prompt():
    result = {"role": "tool", "content": "3 passed"}
    messages = [{"role": "system", "content": "Monday"}, {"role": "user", "content": "Fix it"}, result]
    loop, first = read_request({"messages": messages}), anonymous("Fix it")
    assert (loop.key, loop.state_key, loop.next_state_key) == (first.key, first.state_key, first.next_state_key)


def test_conversations_that_begin_alike_part_with_the_answers():
    one, other = anonymous("Fix it", "The lock.", "Go on"), anonymous("Fix it", "The queue.", "Go on")
    assert one.next_state_key != other.next_state_key


def test_summary_without_a_session_finds_the_state_of_the_last_turn():
    asked = anonymous("Fix it", "Fixed.", "CRITICAL: Respond with TEXT ONLY. Sum up.")
    assert asked.background == "summary"
    assert asked.next_state_key == anonymous("Fix it").next_state_key


def test_nothing_to_find_again_has_no_keys():
    turn = read_request({"messages": []})
    assert (turn.key, turn.request_key, turn.state_key, turn.next_state_key) == ("", "", "", "")


HEADERS = [
    "x-pointsman-session",
    "x-claude-code-session-id",
    "session-id",
    "thread-id",
    "x-session-id",
    "x-session-affinity",
]


@pytest.mark.parametrize("i", range(len(HEADERS)))
def test_session_headers_in_order_and_any_case(i):
    headers = {name.title(): name for name in HEADERS[i:]}
    assert read_request(BODY, headers).session_id == HEADERS[i]


def test_callers_session_comes_first():
    assert read_request(BODY, {"x-session-id": "a"}, session_id="b").session_id == "b"


@pytest.mark.parametrize(
    ("fields", "session"),
    [
        ({"metadata": {"user_id": '{"device_id":"d","session_id":"json"}'}}, "json"),
        ({"metadata": {"user_id": "user_ab_account_cd_session_old"}}, "old"),
        ({"metadata": {"user_id": "user_ab_account__session_old"}}, "old"),
        ({"metadata": {"session_id": "named"}}, "named"),
        ({"prompt_cache_key": "cache"}, "cache"),
        ({"client_metadata": {"session_id": "client"}}, "client"),
        ({"prompt_cache_key": "cache", "client_metadata": {"session_id": "client"}}, "cache"),
        ({"metadata": {"user_id": "somebody"}}, None),
        ({"metadata": {"user_id": "{not json"}}, None),
        ({"metadata": {"user_id": '["list"]'}}, None),
        ({"metadata": {"user_id": '{"session_id":7}'}}, None),
        ({"metadata": "text", "prompt_cache_key": "  "}, None),
    ],
)
def test_session_in_the_body(fields, session):
    assert read_request({**BODY, **fields}).session_id == session


def test_header_comes_before_the_body():
    assert read_request({**BODY, "prompt_cache_key": "cache"}, {"session_id": "header"}).session_id == "header"


def test_long_session_names_are_hashed():
    one, other = (read_request(BODY, session_id="s" * 500 + end).session_id for end in "ab")
    assert len(one) < 80
    assert one != other


@pytest.mark.parametrize("session", ["a\0b", "a\ud800b"], ids=["nul", "surrogate"])
def test_session_names_can_be_stored(session):
    stored = read_request(BODY, session_id=session).session_id
    assert "\0" not in stored
    assert stored.encode()


def test_body_is_not_changed():
    before = copy.deepcopy(BODY)
    read_request(BODY)
    assert before == BODY


DIGEST = {
    "prompt": "<system-reminder>x</system-reminder>Test it",
    "context": [
        {"role": "user", "text": "Fix it"},
        {"role": "tool", "text": "out"},
        {"role": "assistant", "text": "y" * 900},
    ],
    "context_tokens": 90_000,
    "session_id": "s",
}


def test_digest_is_a_turn():
    turn = read_digest(DIGEST)
    assert (turn.prompt, turn.kind, turn.context_tokens, turn.session_id) == ("Test it", Kind.TASK, 90_000, "s")
    assert [(m.role, len(m.text)) for m in turn.context] == [("user", 6), ("assistant", 600)]
    assert turn.state_key == turn.next_state_key == "s"


def test_digest_key_tells_the_same_words_apart_by_what_stood_before():
    assert read_digest(DIGEST).key == read_digest(dict(DIGEST)).key
    assert read_digest(DIGEST).key != read_digest({**DIGEST, "context": []}).key


@pytest.mark.parametrize(("n_chars", "is_own"), [(199, False), (200, True)])
def test_digest_without_a_session_is_a_persons_own_once_enough_was_said(n_chars, is_own):
    context = [{"role": "user", "text": "x" * 600}, {"role": "assistant", "text": "y" * n_chars}]
    assert bool(read_digest({"prompt": "Test it", "context": context}).state_key) is is_own


def test_digest_reads_headers():
    turn = read_digest({"prompt": "List callers"}, {"X-Claude-Code-Session-Id": "s", "X-Claude-Code-Agent-Id": "a"})
    assert (turn.kind, turn.state_key) == (Kind.SUBAGENT, "s/a")


def test_digest_estimates_its_own_size():
    assert read_digest({"prompt": "x" * 350, "context_tokens": -4}).context_tokens == 100


@pytest.mark.parametrize("digest", [None, 3, [], "text", {}, {"prompt": None}, {"prompt": ["a"]}, {"prompt": "  "}])
def test_digest_without_a_prompt_has_a_reason(digest):
    turn = read_digest(digest)
    assert turn.prompt == ""
    assert turn.reason
