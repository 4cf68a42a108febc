"""A session can be asked for: the model it is on, and why its turn went there."""

import time

import pytest

from .clients import CLAUDE_HEADERS, RACE, SESSION, TYPO, claude_body, title_body

URL = f"/v1/sessions/{SESSION}"


@pytest.fixture
def decide(client):
    """Ask for a decision and wait until it is recorded: all rows are written in order, by one thread."""

    def ask(body, **headers):
        sent = CLAUDE_HEADERS | headers
        answer = client.post("/v1/decide/v1/messages", json=body, headers=sent).json()
        deadline = time.monotonic() + 20
        while client.app.state.services.recorder.waiting(answer["decision_id"]):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return answer

    return ask


def test_session_says_its_model_and_why(client, decide):
    answer = decide(claude_body(RACE))
    session = client.get(URL).json()
    same = ("model", "provider", "effort", "decision_id", "reasons", "codes")
    assert {name: session[name] for name in same} == {name: answer[name] for name in same}
    assert (session["session_id"], session["category"]) == (SESSION, answer["category"]["label"])


def test_tool_loop_has_the_reasons_of_its_turn(client, decide):
    task = decide(claude_body(RACE))
    loop = decide(claude_body(RACE, tool_results=1))
    session = client.get(URL).json()
    assert session["decision_id"] == loop["decision_id"]
    assert session["reasons"] == task["reasons"] != loop["reasons"]


def test_newest_turn_counts(client, decide):
    decide(claude_body(RACE))
    newest = decide(claude_body(RACE, TYPO))
    assert client.get(URL).json()["decision_id"] == newest["decision_id"]


def test_titles_and_subagents_are_left_out(client, decide):
    task = decide(claude_body(RACE))
    decide(title_body(RACE))
    decide(claude_body(TYPO), **{"x-claude-code-agent-id": "a1"})
    assert client.get(URL).json()["decision_id"] == task["decision_id"]


def test_words_of_the_prompt_are_not_told(client, decide):
    decide(claude_body(RACE))
    assert "webhook" not in client.get(URL).text


@pytest.mark.parametrize("session_id", ["unknown", "a/b", "%00", "x" * 5_000, "%20"])
def test_session_without_decisions_is_not_found(client, session_id):
    answer = client.get(f"/v1/sessions/{session_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "session_not_found")


def test_long_name_of_a_session_is_found(client, decide):
    name = "s/" + "long" * 100
    answer = decide(claude_body(RACE), **{"x-claude-code-session-id": name})
    assert client.get(f"/v1/sessions/{name}").json()["decision_id"] == answer["decision_id"]
