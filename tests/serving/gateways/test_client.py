"""The Python clients against the real service, and against everything that a service should not do."""

import asyncio
import logging
import threading

import httpx
import pytest

from pointsman.serving.client import AsyncClient, Client, Failure

from ..clients import CAREFUL, RACE, TYPO, claude_body, title_body
from .relay import BAD_MOODS

SECRET = "sk-hunter2-correct-horse"
CREDENTIALS = {"Authorization": f"Bearer {SECRET}", "x-api-key": SECRET, "Cookie": f"a={SECRET}"}
SAFE = "the-safe-one"
DEADLINE_MS = 150


@pytest.fixture
def client(relay):
    # Generous, so that only tests of the deadline meet it.
    with Client(relay.url, safe_model=SAFE, deadline_ms=10_000) as client:
        yield client


@pytest.fixture
def hasty(relay):
    with Client(relay.url, safe_model=SAFE, deadline_ms=DEADLINE_MS) as client:
        yield client


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


def test_models_restrict_the_choice_and_translate_it(relay):
    names = {"claude-opus-4-5": "strong-group", "qwen3-coder-plus": "cheap-group"}
    with Client(relay.url, safe_model=SAFE, models=names, deadline_ms=10_000) as client:
        choices = [client.decide(claude_body(prompt)) for prompt in (RACE, TYPO)]
    assert [choice.model for choice in choices] == ["strong-group", "cheap-group"]
    assert choices[0].decision["model"] == "claude-opus-4-5"


def test_policy_is_passed_on(relay):
    with Client(relay.url, safe_model=SAFE, policy="careful", deadline_ms=10_000) as client:
        assert client.decide(claude_body(TYPO)).decision["policy_version"].startswith("careful")


def test_path_tells_token_counts_from_turns(client, headers):
    choice = client.decide(claude_body(RACE), headers, path="/v1/messages/count_tokens?beta=true")
    assert choice.decision["kind"] == "background"


def test_async_client_answers_many_at_once(relay):
    async def ask():
        async with AsyncClient(relay.url, safe_model=SAFE, deadline_ms=20_000) as client:
            return await asyncio.gather(*(client.decide({"prompt": f"{RACE} {n}"}) for n in range(20)))

    assert {choice.failure for choice in asyncio.run(ask())} == {None}


def test_threads_may_share_a_client(client):
    choices = []
    threads = [threading.Thread(target=lambda: choices.append(client.decide({"prompt": TYPO}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.counts == {"decided": 8}
    assert len({choice.model for choice in choices}) == 1


CAUSES = {
    "dead": Failure.UNREACHABLE,
    "hanging": Failure.TIMEOUT,
    "slow": Failure.TIMEOUT,
    "html": Failure.GARBAGE,
    "noise": Failure.UNREACHABLE,
    "error": Failure.STATUS,
    "nameless": Failure.GARBAGE,
    "dripping": Failure.TIMEOUT,
    "endless": Failure.GARBAGE,
}


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_without_an_answer_the_safe_model_is_taken_counted_and_logged(relay, hasty, mood, caplog, headers):
    relay.turn(mood)
    with caplog.at_level(logging.WARNING):
        choice = hasty.decide(claude_body(RACE), headers)
    assert (choice.model, choice.decision) == (SAFE, None)
    # What never ends may be cut by its size or by the deadline, whichever comes first.
    assert choice.failure in ({Failure.GARBAGE, Failure.TIMEOUT} if mood == "endless" else {CAUSES[mood]})
    assert hasty.counts == {choice.failure: 1}
    assert f"no decision ({choice.failure}" in caplog.text
    assert f"so {SAFE} takes the request" in caplog.text


def test_service_that_comes_back_is_asked_again(relay, client):
    moods = ["passing", "dead", "passing", "error", "passing"]
    failures = []
    for mood in moods:
        relay.turn(mood)
        failures.append(client.decide(claude_body(RACE)).failure)
    assert failures == [None, Failure.UNREACHABLE, None, Failure.STATUS, None]


def test_model_that_is_not_configured_counts_as_no_answer(relay):
    with Client(relay.url, safe_model=SAFE, models=["no-such-model"], deadline_ms=10_000) as client:
        choice = client.decide(claude_body(RACE))
    assert (choice.model, choice.failure) == (SAFE, Failure.UNKNOWN_MODEL)


def test_body_that_cannot_be_sent_costs_the_safe_model_only(client):
    choice = client.decide({"messages": [{"role": "user", "content": "\ud800"}], 1: 2})
    assert (choice.model, choice.failure) == (SAFE, Failure.ERROR)


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


def test_subagent_is_not_taken_for_its_parent(relay, client, headers):
    client.decide(claude_body(TYPO), headers)
    relay.turn("dead")
    agent = headers | {"x-claude-code-agent-id": "a1"}
    assert client.decide(claude_body(TYPO, tool_results=1), agent).model == SAFE


def test_credentials_are_neither_sent_nor_logged(relay, hasty, caplog, monkeypatch, tmp_path, headers):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with caplog.at_level(logging.DEBUG):
        hasty.decide(claude_body(RACE), headers | CREDENTIALS)
        relay.turn("hanging")
        hasty.decide(claude_body(RACE), headers | CREDENTIALS)
    assert headers["x-claude-code-session-id"].encode() in relay.received
    assert SECRET.encode() not in relay.received
    assert b"authorization" not in bytes(relay.received).lower()
    assert SECRET not in caplog.text


def test_proxies_of_the_environment_are_not_used(relay, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Client(relay.url, safe_model=SAFE, deadline_ms=10_000) as client:
        assert client.decide({"prompt": TYPO}).failure is None


def test_feedback_is_stored_under_its_decision(client, service, headers):
    choice = client.decide(claude_body(RACE), headers)
    feedback_id = client.feedback(choice.decision_id, "success", cost_usd=0.5)
    row = service.http.get(f"/v1/decisions/{choice.decision_id}").json()
    assert [given["feedback_id"] for given in row["feedback"]] == [feedback_id]


def test_feedback_that_is_refused_is_not_hidden(client):
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        client.feedback("no-such-decision", "success")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"safe_model": ""}, "safe_model must be a model's name"),
        ({"safe_model": SAFE, "models": "claude-opus-5-5"}, "models a mapping or a list of names"),
        ({"safe_model": SAFE, "deadline_ms": 0}, "deadline_ms must be > 0, got 0; 250 is the default"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        Client(**options)
