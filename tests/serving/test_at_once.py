"""Requests at the same time: slow inference blocks nobody, and everybody is answered."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pointsman.classifier.errors import InferenceError
from pointsman.serving.settings import load_settings
from pointsman.serving.telemetry import SAFE_DEFAULTS

from .clients import CLAUDE_HEADERS, RACE, TYPO, claude_body, title_body


@pytest.fixture
def settings(sqlite_url):
    return load_settings(database_url=sqlite_url, max_queued_decisions=2, max_queued_classifies=3, decide_timeout_s=8)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(16) as pool:
        yield pool


@pytest.fixture
def ask(server):
    """Ask a body at the path Claude Code uses."""

    def ask(body, headers=None):
        response = server.http.post("/v1/decide/v1/messages?beta=true", json=body, headers=headers)
        assert response.status_code == 200
        return response.json()

    return ask


def close(assessor):
    assessor.gate.clear()
    assessor.entered.clear()


def counted(server, name, **labels):
    wanted = ",".join(f'{label}="{value}"' for label, value in labels.items())
    for line in server.http.get("/metrics").text.splitlines():
        if line.startswith(f"{name}{{{wanted}}}"):
            return float(line.split()[-1])
    return 0.0


def test_tool_loop_and_title_are_answered_while_an_inference_is_slow(assessor, ask, threads):
    first = ask(claude_body(RACE), CLAUDE_HEADERS)
    close(assessor)
    slow = threads.submit(ask, claude_body(TYPO))
    assert assessor.entered.wait(5)
    loop = ask(claude_body(RACE, tool_results=1), CLAUDE_HEADERS)
    title = ask(title_body(TYPO))
    assert not slow.done()
    assert (loop["kind"], loop["model"]) == ("tool_loop", first["model"])
    assert title["kind"] == "background"
    assessor.gate.set()
    assert slow.result(10)["category"]["label"] == "docs"


def test_large_tool_loop_is_answered_while_an_inference_is_slow(assessor, ask, threads):
    system = [{"type": "text", "text": "word " * 100_000}]
    first = ask(claude_body(RACE, system=system), CLAUDE_HEADERS)
    close(assessor)
    slow = threads.submit(ask, claude_body(TYPO))
    assert assessor.entered.wait(5)
    assert ask(claude_body(RACE, tool_results=1, system=system), CLAUDE_HEADERS)["model"] == first["model"]
    assessor.gate.set()
    slow.result(10)


def test_health_and_catalogue_are_answered_while_an_inference_is_slow(server, assessor, ask, threads):
    close(assessor)
    slow = threads.submit(ask, claude_body(RACE))
    assert assessor.entered.wait(5)
    for path in ("/healthz", "/readyz", "/info", "/v1/models", "/metrics"):
        assert server.http.get(path).status_code == 200
    assessor.gate.set()
    slow.result(10)


def test_same_request_at_once_is_inferred_once_and_gets_one_decision(assessor, ask, threads):
    close(assessor)
    answers = [threads.submit(ask, claude_body(RACE), CLAUDE_HEADERS) for _ in range(7)]
    assert assessor.entered.wait(5)
    time.sleep(0.1)  # for the others to come in; without it the test proves less, never fails
    assessor.gate.set()
    assert len({answer.result(10)["decision_id"] for answer in answers}) == 1
    assert assessor.n_calls == 1


def test_beyond_the_queue_the_safe_default_comes_at_once(server, assessor, ask, threads):
    close(assessor)
    waiting = [threads.submit(ask, claude_body(f"{RACE} {n}")) for n in range(2)]
    assert assessor.entered.wait(5)
    until_waiting(server, 2)
    answer = ask(claude_body(f"{RACE} once more"))
    assert (answer["category"], answer["model"]) == (None, "claude-opus-5-5")
    assert "too many requests in wait" in answer["reasons"][0]
    assert counted(server, SAFE_DEFAULTS, cause="overloaded") == 1
    assessor.gate.set()
    assert all(slow.result(10)["category"] for slow in waiting)


def test_turn_begun_under_load_keeps_its_model(server, assessor, ask, threads):
    close(assessor)
    waiting = [threads.submit(ask, claude_body(f"{RACE} {n}")) for n in range(2)]
    until_waiting(server, 2)
    first = ask(claude_body(TYPO), CLAUDE_HEADERS)
    assessor.gate.set()
    [slow.result(10) for slow in waiting]
    retried = ask(claude_body(TYPO), CLAUDE_HEADERS)
    loop = ask(claude_body(TYPO, tool_results=1), CLAUDE_HEADERS)
    assert first["category"] is None
    assert retried["decision_id"] == first["decision_id"]
    assert loop["model"] == first["model"]


def test_classify_beyond_the_queue_is_told_to_come_again(server, assessor, threads):
    close(assessor)
    waiting = [threads.submit(server.http.post, "/v1/classify", json={"inputs": [{"prompt": RACE}]}) for _ in range(3)]
    until_waiting(server, 3)
    response = server.http.post("/v1/classify", json={"inputs": [{"prompt": RACE}]})
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert response.json()["error"]["code"] == "overloaded"
    assessor.gate.set()
    assert [slow.result(10).status_code for slow in waiting] == [200, 200, 200]


class TestDeadline:
    @pytest.fixture
    def settings(self, sqlite_url):
        return load_settings(database_url=sqlite_url, decide_timeout_s=0.2)

    def test_late_inference_gives_the_safe_default_in_time(self, server, assessor, ask):
        close(assessor)
        started = time.monotonic()
        answer = ask(claude_body(RACE))
        assert time.monotonic() - started < 2
        assert "did not answer in time" in answer["reasons"][0]
        assert counted(server, SAFE_DEFAULTS, cause="timeout") == 1

    def test_late_inference_does_not_change_what_was_answered(self, assessor, ask):
        close(assessor)
        first = ask(claude_body(TYPO), CLAUDE_HEADERS)
        assessor.gate.set()
        eventually(lambda: assessor.n_calls == 1)
        retried = ask(claude_body(TYPO), CLAUDE_HEADERS)
        assert (retried["decision_id"], retried["model"]) == (first["decision_id"], first["model"])
        assert ask(claude_body(TYPO, tool_results=1), CLAUDE_HEADERS)["model"] == first["model"]


def test_failed_inference_gives_the_safe_default(server, assessor, ask):
    assessor.error = InferenceError("the runtime failed")
    answer = ask(claude_body(RACE))
    assert "classifier failed" in answer["reasons"][0]
    assert counted(server, SAFE_DEFAULTS, cause="inference_failed") == 1
    assessor.error = None
    assert ask(claude_body(f"{RACE} again"))["category"]["label"] == "debugging"


def test_failed_inference_of_classify_is_500(server, assessor):
    assessor.error = InferenceError("the runtime failed")
    response = server.http.post("/v1/classify", json={"inputs": [{"prompt": RACE}]})
    assert (response.status_code, response.json()["error"]["code"]) == (500, "inference_failed")


def until_waiting(server, n):
    eventually(lambda: f"pointsman_inferences_waiting {float(n)}" in server.http.get("/metrics").text)


def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
