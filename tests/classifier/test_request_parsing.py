"""Bodies as bytes: what is read, and what is said about those that cannot be."""

import gzip
import json

import pytest

from pointsman.classifier.request import NO_MESSAGES, NO_OBJECT, parse_body, read_request

GOOD = b'{"messages": [{"role": "user", "content": "Rename the flag"}]}'


@pytest.mark.parametrize(
    "body",
    [
        GOOD,
        bytearray(GOOD),
        memoryview(GOOD),
        memoryview(GOOD + b" " + GOOD)[: len(GOOD)],
        GOOD.decode(),
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        GOOD[:-1] + b', "temperature": NaN}',
        GOOD[:-1] + b', "extra": "\\ud800"}',
        GOOD[:-1] + b', "extra": "\xff"}',
        GOOD[:-1] + b', "extra": ' + b"9" * 4_000 + b"}",
        GOOD[:-1] + b', "extra": ' + b"[" * 500 + b"]" * 500 + b"}",
    ],
    ids=[
        "bytes",
        "bytearray",
        "memoryview",
        "slice",
        "str",
        "mark",
        "utf-16",
        "nan",
        "surrogate",
        "bad byte",
        "huge number",
        "nested",
    ],
)
def test_body_that_is_read(body):
    turn = read_request(body)
    assert (turn.prompt, turn.reason) == ("Rename the flag", None)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        ("  \n", "the body is empty"),
        (b"private words", "the body is not JSON (at character 0)"),
        (b'{"messages": [{"role": "user", "content": "private', "the body is not JSON (at character 42)"),
        (gzip.compress(b"private"), "the body is compressed; decode it before asking"),
        (b"\x28\xb5\x2f\xfdprivate", "the body is compressed; decode it before asking"),
        (b"[" * 100_000, "the body is nested too deeply"),
        (b'{"a":' * 100_000, "the body is nested too deeply"),
        (b"NaN" + b"9" * 5_000, "the body is not JSON (at character 3)"),
        (b"[NaN, " + b"9" * 5_000 + b"]", "the body is not JSON that Python reads"),
        (b'"private"', NO_OBJECT),
        (b"[]", NO_OBJECT),
        (b"{}", NO_MESSAGES),
        (b'{"messages": {"private": 1}}', NO_MESSAGES),
        (b'{"prompt": "private", "input": 3}', NO_MESSAGES),
    ],
)
def test_body_that_cannot_be_read_gives_a_reason(body, reason):
    turn = read_request(body, {"x-session-id": "s"})
    assert (turn.prompt, turn.reason, turn.session_id) == ("", reason, "s")


@pytest.mark.parametrize("body", [None, 3, [], object(), {1, 2}, 2.5])
def test_things_that_are_no_body(body):
    assert read_request(body).reason == NO_OBJECT


@pytest.mark.parametrize("headers", [None, {}, [], "text", {"x-session-id": 3}, {3: "x"}, {"x-session-id": ["s"]}])
def test_odd_headers_are_ignored(headers):
    assert read_request(GOOD, headers).session_id is None


@pytest.mark.parametrize("path", [None, "", "?", "no path", 3, "/v1/messages"])
def test_odd_paths_are_ignored(path):
    assert read_request(GOOD, path=path).prompt == "Rename the flag"


def test_lone_surrogates_do_not_reach_a_store():
    body = {"model": "m\ud800", "messages": [{"role": "user", "content": "Rename \ud83d the flag\0"}]}
    turn = read_request(json.dumps(body))
    assert turn.prompt.encode()
    assert turn.client_model.encode()
    assert "\0" not in turn.prompt


def test_nesting_of_a_parsed_body_does_not_matter():
    deep: object = "end"
    for _ in range(20_000):
        deep = [{"type": "tool_result", "content": deep}]
    turn = read_request({"messages": [{"role": "user", "content": "Go"}, {"role": "user", "content": deep}]})
    assert turn.prompt == "Go"


def test_parse_body_returns_value_or_reason():
    assert parse_body(b"[1]") == ([1], None)
    assert parse_body(b"[1") == (None, "the body is not JSON (at character 2)")


ANTHROPIC = [
    {"role": "user", "content": "Fix it"},
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "a" * 400}, {"type": "tool_use", "input": {"cmd": "ls"}}],
    },
    {"role": "user", "content": [{"type": "tool_result", "content": "b" * 4_000}]},
]
CHAT = [
    {"role": "user", "content": "Fix it"},
    {"role": "assistant", "content": "a" * 400, "tool_calls": [{"function": {"name": "sh", "arguments": "{}"}}]},
    {"role": "tool", "content": "b" * 4_000},
]
RESPONSES = [
    {"role": "user", "content": "Fix it"},
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a" * 400}]},
    {"type": "function_call", "name": "sh", "arguments": "{}"},
    {"type": "function_call_output", "output": "b" * 4_000},
]


@pytest.mark.parametrize(
    "body", [{"messages": ANTHROPIC}, {"messages": CHAT}, {"input": RESPONSES}], ids=["anthropic", "chat", "responses"]
)
def test_output_so_far_is_what_models_wrote_since_the_prompt(body):
    # 400 letters are about 100 tokens, a call some more; the tool's thousand tokens are no output.
    assert 80 < read_request(body).output_tokens < 200


def test_first_request_of_a_turn_has_put_out_nothing():
    before = [{"role": "user", "content": "Fix it"}, {"role": "assistant", "content": "a" * 400}]
    turn = read_request({"messages": [*before, {"role": "user", "content": "Test it"}]})
    assert turn.output_tokens == 0


@pytest.mark.parametrize("kind", [{}, [], {"a": 1}, 5, None], ids=repr)
def test_entry_whose_type_is_no_text_is_passed_over(kind):
    turn = read_request({"input": [{"type": kind}, {"role": "user", "content": "fix it"}]})
    assert turn.prompt == "fix it"
