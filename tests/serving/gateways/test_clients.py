"""What both clients promise, against the real service and against everything that a service should not do."""

import io
import logging
from contextlib import ExitStack

import httpx
import pytest

from pointsman.serving.client import Client, Failure

from ..clients import CAREFUL, RACE, TYPO, claude_body, environment_body, title_body
from .javascript import JavaScriptClient, Node, RefusedError
from .relay import BAD_MOODS

SECRET = "sk-hunter2-correct-horse"
CREDENTIALS = {"Authorization": f"Bearer {SECRET}", "x-api-key": SECRET, "Cookie": f"a={SECRET}"}
SAFE = "the-safe-one"
DEADLINE_MS = 150


@pytest.fixture(scope="module")
def node():
    node = Node()
    yield node
    node.close()


@pytest.fixture(params=["python", "javascript"])
def make(request, relay):
    """Make a client in either language; what it logged is in `logged`."""
    # Generous, so that only tests of the deadline meet it.
    usual = {"url": relay.url, "safe_model": SAFE, "deadline_ms": 20_000}
    with ExitStack() as opened:
        if request.param == "python":
            yield lambda **options: opened.enter_context(PythonClient(**usual | options))
        else:
            node = request.getfixturevalue("node")
            yield lambda **options: JavaScriptClient(node, **usual | options)


@pytest.fixture
def client(make):
    return make()


@pytest.fixture
def hasty(make):
    return make(deadline_ms=DEADLINE_MS)


class PythonClient(Client):
    """The Python client, with its log at hand."""

    def __init__(self, url, **options):
        super().__init__(url, **options)
        self._log = io.StringIO()
        self._handler = logging.StreamHandler(self._log)
        logging.getLogger("pointsman.serving").addHandler(self._handler)

    @property
    def logged(self):
        return self._log.getvalue()

    def close(self):
        logging.getLogger("pointsman.serving").removeHandler(self._handler)
        super().close()


def test_client_gives_the_model_of_the_decision(client, headers):
    choice = client.decide(claude_body(RACE), headers)
    assert choice.model in CAREFUL
    assert (choice.failure, choice.kept) == (None, False)
    assert choice.decision["category"]["label"] == "debugging"
    assert client.counts == {"decided": 1}


@pytest.mark.parametrize("body", [claude_body(TYPO), httpx.Request("POST", "/", json=claude_body(TYPO)).content])
def test_body_goes_as_mapping_and_as_it_came(client, body, headers):
    assert (
        client.decide(body, headers, path="/v1/messages").decision["session_id"] == headers["x-claude-code-session-id"]
    )


def test_models_restrict_the_choice_and_translate_it(make, headers):
    names = {"claude-opus-4-5": "strong-group", "qwen3-coder-plus": "cheap-group"}
    client = make(models=names)
    choices = [client.decide(claude_body(prompt), headers) for prompt in (TYPO, RACE)]
    assert [choice.model for choice in choices] == ["cheap-group", "strong-group"]
    assert choices[1].decision["model"] == "claude-opus-4-5"


def test_policy_is_passed_on(make, headers):
    client = make(policy="careful")
    assert client.decide(claude_body(TYPO), headers).decision["policy_version"].startswith("careful")


def test_path_tells_token_counts_from_turns(client, headers):
    choice = client.decide(claude_body(RACE), headers, path="/v1/messages/count_tokens?beta=true")
    assert choice.decision["kind"] == "background"


WRONG = {
    "dead": Failure.UNREACHABLE,
    "html": Failure.GARBAGE,
    "noise": Failure.UNREACHABLE,
    "error": Failure.STATUS,
    "nameless": Failure.GARBAGE,
    "endless": Failure.GARBAGE,
}
LATE = ("hanging", "slow", "dripping")


def test_every_mood_is_tried():
    assert {*WRONG, *LATE} == set(BAD_MOODS)


@pytest.mark.parametrize("mood", WRONG)
def test_wrong_answer_costs_the_safe_model_and_is_counted_and_logged(relay, client, mood, headers):
    relay.turn(mood)
    choice = client.decide(claude_body(RACE), headers)
    assert (choice.model, choice.decision, choice.failure) == (SAFE, None, WRONG[mood])
    assert client.counts == {WRONG[mood]: 1}
    assert f"no decision ({choice.failure}" in client.logged
    assert f"so {SAFE} takes the request" in client.logged


@pytest.mark.parametrize("mood", LATE)
def test_late_answer_costs_the_safe_model_and_is_counted_and_logged(relay, hasty, mood, headers):
    # Each comes only after the test has gone: to get here at all is to have met the deadline.
    relay.turn(mood)
    choice = hasty.decide(claude_body(RACE), headers)
    assert (choice.model, choice.failure) == (SAFE, Failure.TIMEOUT)
    assert hasty.counts == {Failure.TIMEOUT: 1}
    assert "no decision (timeout" in hasty.logged


def test_service_that_comes_back_is_asked_again(relay, client):
    moods = ["passing", "dead", "passing", "error", "passing"]
    failures = []
    for mood in moods:
        relay.turn(mood)
        failures.append(client.decide(claude_body(RACE)).failure)
    assert failures == [None, Failure.UNREACHABLE, None, Failure.STATUS, None]


def test_model_that_is_not_configured_counts_as_no_answer(make):
    choice = make(models=["no-such-model"]).decide(claude_body(RACE))
    assert (choice.model, choice.failure) == (SAFE, Failure.UNKNOWN_MODEL)


def test_tool_loop_keeps_its_model_when_the_service_dies(relay, client, headers):
    first = client.decide(claude_body(TYPO), headers)
    relay.turn("dead")
    loop = client.decide(claude_body(TYPO, tool_results=1), headers)
    turn = client.decide(claude_body(TYPO, RACE), headers)
    assert (loop.model, loop.kept) == (first.model, True)
    assert (turn.model, turn.kept) == (SAFE, False)


def test_tool_loop_keeps_the_safe_model_when_the_service_comes_back(relay, client, headers):
    relay.turn("dead")
    first = client.decide(claude_body(TYPO), headers)
    relay.turn("passing")
    loop = client.decide(claude_body(TYPO, tool_results=1), headers)
    turn = client.decide(claude_body(TYPO, "and the one in the guide"), headers)
    assert [first.model, loop.model, loop.kept] == [SAFE, SAFE, True]
    assert turn.model != SAFE


def test_title_between_does_not_change_what_the_loop_keeps(relay, client, headers):
    first = client.decide(claude_body(RACE), headers)
    title = client.decide(title_body(RACE), headers)
    relay.turn("dead")
    loop = client.decide(claude_body(RACE, tool_results=1), headers)
    assert title.model != first.model
    assert loop.model == first.model


def test_title_that_nobody_decides_does_not_change_it_either(relay, client, headers):
    first = client.decide(claude_body(TYPO), headers)
    relay.turn("dead")
    title = client.decide(title_body(TYPO), headers)
    loop = client.decide(claude_body(TYPO, tool_results=1), headers)
    assert (title.model, loop.model) == (SAFE, first.model)


SESSIONS = {
    "long header": ({"session-id": "s" * 300}, {}),
    "padded header": ({"x-session-id": " \x1f padded\x85 "}, {}),
    "user of today": ({}, {"metadata": {"user_id": '{"session_id": "of-the-user"}'}}),
    "user of before": ({}, {"metadata": {"user_id": "user_1_account__session_of-the-user"}}),
    "long name in the body": ({}, {"prompt_cache_key": "é😀" * 150}),
    "client's metadata": ({}, {"client_metadata": {"session_id": "of-the-client"}}),
}


@pytest.mark.parametrize(("named", "fields"), SESSIONS.values(), ids=SESSIONS)
def test_session_is_known_again_by_every_name_it_may_have(relay, client, named, fields):
    first = client.decide(claude_body(TYPO, **fields), named)
    relay.turn("dead")
    loop = client.decide(claude_body(TYPO, tool_results=1, **fields), named)
    assert (first.failure, loop.model, loop.kept) == (None, first.model, True)


def test_thread_of_codex_is_a_subagent_of_its_session(relay, client):
    parent = {"session-id": "codex-1", "thread-id": "codex-1"}
    client.decide(claude_body(TYPO), parent)
    relay.turn("dead")
    assert client.decide(claude_body(TYPO, tool_results=1), parent).kept
    assert not client.decide(claude_body(TYPO, tool_results=1), parent | {"thread-id": "codex-2"}).kept


def test_model_that_lacks_the_shape_of_the_body_is_avoided(make, headers):
    client = make(models={"claude-opus-5-5": "strong-group", "qwen3-coder-plus": "cheap-group"}, policy="frugal")
    choice = client.decide(environment_body(TYPO), headers)
    excluded = [(item["model"], item["code"]) for item in choice.decision["excluded"]]
    assert (choice.model, excluded) == ("strong-group", [("qwen3-coder-plus", "capability")])


def test_what_the_caller_has_to_rewrite_is_named(make, headers):
    client = make(models={"claude-opus-5-5": "strong-group", "qwen3-coder-plus": "cheap-group"}, policy="frugal")
    choice = client.decide(claude_body(TYPO, thinking={"type": "adaptive"}), headers)
    assert choice.model == "cheap-group"
    assert "drop_capability" in choice.decision["codes"]
    assert "The gateway must drop or rewrite thinking_adaptive for qwen3-coder-plus." in choice.decision["reasons"]


def test_subagent_is_not_taken_for_its_parent(relay, client, headers):
    client.decide(claude_body(TYPO), headers)
    relay.turn("dead")
    agent = headers | {"x-claude-code-agent-id": "a1"}
    assert client.decide(claude_body(TYPO, tool_results=1), agent).model == SAFE


def test_credentials_are_neither_sent_nor_logged(relay, hasty, headers):
    hasty.decide(claude_body(RACE), headers | CREDENTIALS)
    relay.turn("hanging")
    hasty.decide(claude_body(RACE), headers | CREDENTIALS)
    assert headers["x-claude-code-session-id"].encode() in relay.received
    assert SECRET.encode() not in relay.received
    assert b"authorization" not in bytes(relay.received).lower()
    assert SECRET not in hasty.logged


def test_key_of_the_service_is_sent_with_every_question(relay, make, headers):
    client = make(key="psm_000_own")
    choice = client.decide(claude_body(RACE), headers | {"x-pointsman-key": "psm_111_of_the_caller"})
    client.feedback(choice.decision_id, "success")
    assert bytes(relay.received).lower().count(b"x-pointsman-key: psm_000_own\r\n") == 2
    assert b"psm_111" not in relay.received


def test_no_key_is_sent_where_none_is_given(relay, client):
    client.decide(claude_body(RACE))
    assert b"x-pointsman-key" not in bytes(relay.received).lower()


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("feedback", 403)])
def test_service_that_refuses_the_key_is_said_once_with_what_to_do(guarded, make, role, status):
    client = make(url=guarded.wire.url, key=guarded.keys[role] if role else None)
    assert [client.decide(claude_body(TYPO)).failure for _ in range(2)] == ["status"] * 2
    assert client.logged.count(f"Pointsman answers {status}: it decides only for an API key") == 1
    assert client.logged.count("no decision (status") == 2
    assert "psm_" not in client.logged


def test_feedback_is_stored_under_its_decision(client, service, headers):
    choice = client.decide(claude_body(RACE), headers)
    feedback_id = client.feedback(choice.decision_id, "success", cost_usd=0.5)
    row = service.http.get(f"/v1/decisions/{choice.decision_id}").json()
    assert [given["feedback_id"] for given in row["feedback"]] == [feedback_id]


def test_feedback_that_is_refused_is_not_hidden(client):
    with pytest.raises((httpx.HTTPStatusError, RefusedError), match="404"):
        client.feedback("no-such-decision", "success")
