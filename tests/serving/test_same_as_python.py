"""Over HTTP and in Python the same request gets the same decision, and its row is enough to make it again."""

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pointsman.classifier.answers import decision_answer
from pointsman.classifier.policy import Policy, choose
from pointsman.classifier.records import DecisionRecord
from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings

from .clients import CLAUDE_HEADERS, RACE, TYPO, claude_body
from .conftest import wait_until_ready
from .fakes import fake_router

REQUESTS = sorted((Path(__file__).parents[1] / "data" / "requests").glob("*.json"))


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """An app that keeps prompts, and a router of the same making."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'records.sqlite'}"
    with TestClient(create_app(load_settings(database_url=url, store_text=True), fake_router())) as client:
        wait_until_ready(client)
        yield client, fake_router()


def without_time(answer):
    return json.loads(json.dumps({**answer, "latency_ms": 0}))


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_real_request_gets_one_decision_both_ways(asked, path):
    client, router = asked
    request = json.loads(path.read_text())
    decision = router.decide(request["body"], request["headers"], path=request["path"])
    response = client.post(f"/v1/decide{request['path']}", json=request["body"], headers=request["headers"])
    assert without_time(response.json()) == without_time(decision_answer(decision))


@pytest.mark.parametrize("path", REQUESTS, ids=lambda path: path.stem)
def test_real_request_is_read_alike_raw_and_in_an_envelope(asked, path):
    client, router = asked
    request = json.loads(path.read_text())
    envelope = {"request": request["body"], "headers": request["headers"], "path": request["path"]}
    answer = client.post("/v1/decide", json=envelope).json()
    row = client.get(f"/v1/decisions/{answer['decision_id']}").json()
    turn = router.read(request["body"], request["headers"], path=request["path"])
    assert (row["prompt"], row["kind"], row["background"]) == (turn.prompt, turn.kind, turn.background)
    assert (row["session_id"], row["turn_key"]) == (turn.session_id, turn.key)


def test_session_goes_the_same_way_both_ways(asked):
    client, router = asked
    session = [
        claude_body(RACE),
        claude_body(RACE, tool_results=1),
        claude_body(RACE, "yes, go on"),
        claude_body(RACE, "yes, go on", TYPO),
        claude_body(RACE, "yes, go on", TYPO, tool_results=2),
    ]
    for body in session:
        decision = router.decide(body, CLAUDE_HEADERS)
        answer = client.post("/v1/decide/v1/messages", json=body, headers=CLAUDE_HEADERS).json()
        assert without_time(answer) == without_time(decision_answer(decision))


@pytest.mark.parametrize("policy", ["frugal", "balanced", "careful"])
@pytest.mark.parametrize("prompt", [RACE, TYPO])
def test_row_is_enough_to_decide_again(client, router, prompt, policy):
    envelope = {"request": claude_body(prompt), "policy": policy, "models": ["claude-opus-4-5", "qwen3-coder-plus"]}
    answer = client.post("/v1/decide", json=envelope).json()
    row = DecisionRecord.from_json(client.get(f"/v1/decisions/{answer['decision_id']}").json())
    assert row.prompt is None
    again = choose(
        row.to_turn(), row.assessment, None, router.catalog, Policy.load(row.policy), models=row.allowed, now=0.0
    )
    assert (again.model, list(again.reasons)) == (answer["model"], answer["reasons"])
    assert again.expected_cost == row.expected_cost


def test_request_sent_again_after_a_restart_is_one_row(settings, assessor):
    answers = []
    for _ in range(2):
        with TestClient(create_app(settings, fake_router(assessor))) as client:
            wait_until_ready(client)
            answers.append(client.post("/v1/decide", json=claude_body(RACE), headers=CLAUDE_HEADERS).json())
    assert answers[0]["decision_id"] == answers[1]["decision_id"]
    assert answers[0]["model"] == answers[1]["model"]
