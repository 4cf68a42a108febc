"""Feedback is there once it is acknowledged, once, and only on decisions that were made."""

import threading
from concurrent.futures import Future

import pytest

from pointsman.serving.recorder import Recorder
from pointsman.serving.settings import load_settings

from .clients import RACE
from .rows import decision_row


@pytest.fixture
def settings(database_url):
    return load_settings(database_url=database_url)


@pytest.fixture
def decision_id(client):
    return client.post("/v1/decide", json={"prompt": RACE}).json()["decision_id"]


def give(client, decision_id, /, headers=None, **fields):
    body = {"decision_id": decision_id, "outcome": "success", **fields}
    return client.post("/v1/feedback", json=body, headers=headers)


def kept(client, decision_id):
    return client.get(f"/v1/decisions/{decision_id}").json()["feedback"]


def test_feedback_right_after_the_decision_is_kept(client, decision_id):
    labels = {"risk": "high", "category": "debugging"}
    response = give(client, decision_id, outcome="corrected", labels=labels, cost_usd=0.25, source="review")
    assert response.status_code == 201
    assert response.json()["decision_id"] == decision_id
    (row,) = kept(client, decision_id)
    assert (row["outcome"], row["labels"], row["cost_usd"], row["source"]) == ("corrected", labels, 0.25, "review")
    assert row["feedback_id"] == response.json()["feedback_id"]


class TestStoringText:
    @pytest.fixture
    def settings(self, sqlite_url):
        return load_settings(database_url=sqlite_url, store_text=True)

    def test_comment_and_prompt_are_kept(self, client, decision_id):
        give(client, decision_id, comment="my secret")
        assert kept(client, decision_id)[0]["comment"] == "my secret"
        assert client.get(f"/v1/decisions/{decision_id}").json()["prompt"] == RACE


@pytest.mark.parametrize(
    "name", [{"headers": {"idempotency-key": "k-1"}}, {"feedback_id": "k-1"}], ids=["header", "body"]
)
def test_feedback_sent_again_is_kept_once(client, decision_id, name):
    first, again = give(client, decision_id, **name), give(client, decision_id, **name)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json() == {"feedback_id": "k-1", "decision_id": decision_id}
    assert len(kept(client, decision_id)) == 1


def test_other_feedback_under_the_same_id_is_409(client, decision_id):
    give(client, decision_id, feedback_id="k-1")
    response = give(client, decision_id, feedback_id="k-1", outcome="failure")
    assert (response.status_code, response.json()["error"]["code"]) == (409, "feedback_conflict")


def test_unknown_decision_is_404(client):
    response = give(client, "nobody")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "decision_not_found")


class TestRules:
    """What holds before any database is asked: one kind of it will do."""

    @pytest.fixture
    def settings(self, sqlite_url):
        return load_settings(database_url=sqlite_url)

    @pytest.mark.parametrize("outcome", ["success", "failure", "corrected", "escalated", "abandoned"])
    def test_every_outcome_is_taken(self, client, decision_id, outcome):
        assert give(client, decision_id, outcome=outcome).status_code == 201

    def test_comment_is_not_kept_unless_text_is_stored(self, client, decision_id):
        give(client, decision_id, comment="my secret")
        assert kept(client, decision_id)[0]["comment"] is None

    def test_id_that_is_too_long_is_422(self, client, decision_id):
        response = give(client, decision_id, headers={"idempotency-key": "k" * 257})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")
        assert "257 characters; expected at most 256" in response.text

    def test_two_ids_that_differ_are_422(self, client, decision_id):
        response = give(client, decision_id, feedback_id="a", headers={"idempotency-key": "b"})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            (
                {"outcome": "great"},
                "outcome: Input should be 'success', 'failure', 'corrected', 'escalated' or 'abandoned'",
            ),
            ({"labels": {"risk": "extreme"}}, "labels.risk is not one of low, medium, high"),
            ({"labels": {"mood": "low"}}, "Input should be 'category', 'risk', 'scope' or 'turn'"),
            ({"cost_usd": -1}, "cost_usd: Input should be greater than or equal to 0"),
            ({"cost_usd": "lots"}, "cost_usd: Input should be a valid number"),
            ({"comment": "x" * 10_001}, "comment: String should have at most 10000 characters"),
            ({"decision_id": ""}, "decision_id: String should have at least 1 character"),
            ({"verdict": "good"}, "verdict: Extra inputs are not permitted"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_it_is_told_what_was_expected(self, client, decision_id, fields, message):
        response = give(client, decision_id, **fields)
        assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")
        assert message in response.json()["error"]["message"]


class TestSlowStore:
    @pytest.fixture
    def settings(self, sqlite_url):
        return load_settings(database_url=sqlite_url, store_timeout_s=0.1)

    def test_store_that_does_not_commit_is_503(self, client, decision_id, monkeypatch):
        monkeypatch.setattr(Recorder, "submit_feedback", lambda *_: Future())
        response = give(client, decision_id)
        assert (response.status_code, response.json()["error"]["code"]) == (503, "store_unavailable")
        assert response.headers["retry-after"] == "1"


def test_feedback_waits_for_a_decision_that_another_replica_is_about_to_write(client):
    row, store = decision_row(), client.app.state.services.store
    late = threading.Timer(0.2, store.append, [[row], []])
    late.start()
    body = {"decision_id": row.decision_id, "outcome": "success"}
    assert client.post("/v1/feedback", json=body).status_code == 201
    late.join()
