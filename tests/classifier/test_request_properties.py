"""Whatever is sent, reading gives a usable turn."""

import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointsman.classifier import request
from pointsman.classifier.assessment import CAPABILITIES, Kind, Turn
from pointsman.classifier.request import read_digest, read_request

FILES = sorted((Path(__file__).parents[1] / "data" / "requests").glob("*.json"))
REQUESTS = [json.loads(file.read_text(encoding="utf-8")) for file in FILES]
REASONS = {value for name, value in vars(request).items() if name.isupper() and isinstance(value, str)}

seeded = settings(derandomize=True, deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))

# Words that mean something to the reader turn up far more often than chance would have it.
WORDS = [
    "messages",
    "input",
    "system",
    "instructions",
    "tools",
    "role",
    "type",
    "content",
    "text",
    "user",
    "assistant",
    "developer",
    "tool",
    "tool_result",
    "tool_use",
    "image",
    "document",
    "source",
    "base64",
    "data",
    "input_text",
    "function_call",
    "function_call_output",
    "output",
    "metadata",
    "user_id",
    "session_id",
    "prompt_cache_key",
    "thinking",
    "adaptive",
    "output_config",
    "format",
    "json_schema",
    "schema",
    "properties",
    "title",
    "max_tokens",
    "prompt",
    "context",
]
TEXTS = [
    "<system-reminder>",
    "</system-reminder>",
    "<system-reminder>a</system-reminder> b",
    "<command-name>/x</command-name>",
    "<command-args></command-args>",
    "<local-command-stdout>",
    "[Request interrupted by user]",
    "This session is being continued from a previous conversation",
    "# AGENTS.md instructions for /x",
    "Fix it",
    '"',
]
anything = st.text(st.characters(exclude_categories=()), max_size=8)
strings = st.one_of(st.sampled_from(WORDS), st.sampled_from(TEXTS), anything)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), strings)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(strings, inner, max_size=5)),
    max_leaves=25,
)
blocks = st.fixed_dictionaries({}, optional={"type": st.sampled_from(WORDS), "text": values, "content": values})
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"])},
    optional={
        "content": st.one_of(strings, st.lists(blocks, max_size=4), values),
        "tool_calls": values,
        "type": values,
    },
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "messages": st.lists(st.one_of(messages, values), max_size=6),
        "input": st.one_of(strings, st.lists(st.one_of(messages, values), max_size=6)),
        **{name: values for name in ("system", "tools", "metadata", "max_tokens", "thinking", "output_config", "text")},
    },
)


def check(turn: Turn) -> None:
    """What every turn promises to those who read it."""
    assert isinstance(turn, Turn)
    strings = [turn.prompt, turn.key, turn.state_key, turn.next_state_key, turn.session_id, turn.agent_id]
    strings += [turn.client_model, turn.reason, *(message.text for message in turn.context)]
    assert all(isinstance(text.encode(), bytes) for text in strings if text is not None)
    assert len(turn.context) <= 4
    assert all(message.role in ("user", "assistant") and 0 < len(message.text) <= 600 for message in turn.context)
    assert turn.context_tokens >= 0
    assert turn.needs <= set(CAPABILITIES)
    assert (turn.background is None) == (turn.kind is not Kind.BACKGROUND)
    assert turn.prompt or turn.reason or turn.background
    assert bool(turn.key) == bool(turn.next_state_key)
    assert turn.key or not turn.state_key
    assert turn.reason is None or turn.reason in REASONS or re.match(r"the body is [\w ;]+", turn.reason)


@seeded
@given(st.one_of(values, bodies))
def test_any_json_is_read(body):
    check(read_request(body))
    check(read_request(json.dumps(body)))


@seeded
@given(st.binary(max_size=200))
def test_any_bytes_are_read(body):
    check(read_request(body))
    check(read_request(b'{"messages": [{"role": "user", "content": "' + body + b'"}]}'))


@seeded
@given(bodies, st.dictionaries(strings, values, max_size=3), anything)
def test_any_headers_and_path_are_read(body, headers, path):
    check(read_request(body, headers, path=path))


@seeded
@given(
    st.one_of(
        values, st.fixed_dictionaries({"prompt": strings}, optional={"context": st.lists(values), "session_id": values})
    )
)
def test_any_digest_is_read(digest):
    check(read_digest(digest))


def places(value):
    """Every container of a JSON value with each of its keys."""
    found = []
    pending = [value]
    while pending:
        value = pending.pop()
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        found += [(value, key) for key in keys]
        pending += [value[key] for key in keys if isinstance(value[key], dict | list)]
    return found


@seeded
@given(st.data())
def test_damaged_requests_are_read(data):
    sent = copy.deepcopy(data.draw(st.sampled_from(REQUESTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(sent["body"]) or [(sent, "path")]))
        if data.draw(st.booleans()):
            container[key] = data.draw(values)
        else:
            del container[key]
        sent.setdefault("path", None)
    check(read_request(sent["body"], sent["headers"], path=sent["path"]))


@pytest.mark.parametrize("sent", REQUESTS, ids=[file.stem for file in FILES])
def test_stored_requests_keep_the_promises(sent):
    check(read_request(sent["body"], sent["headers"], path=sent["path"]))


@seeded
@given(st.text(min_size=1, max_size=40).filter(lambda text: text.strip()), st.integers(0, 5))
def test_key_does_not_depend_on_the_tool_loop(prompt, n_results):
    messages = [{"role": "user", "content": prompt}]
    loop = [{"role": "assistant", "tool_calls": [{"id": "c"}]}, {"role": "tool", "content": "ok"}] * n_results
    first, later = read_request({"messages": messages}), read_request({"messages": messages + loop})
    assert (first.key, first.prompt) == (later.key, later.prompt)
