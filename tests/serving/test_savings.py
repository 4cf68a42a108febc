"""`GET /v1/savings` and `pointsman savings` over what the service recorded."""

import json

import pytest

from pointsman.classifier.commands import main
from pointsman.serving.schemas import SavingsAnswer

from .clients import RACE, TYPO
from .rows import decision_row


@pytest.fixture
def decided(client):
    """Two turns in the store, one careful and one cheap, and feedback that waited for both."""
    for n, prompt in enumerate((RACE, TYPO)):
        last = client.post("/v1/decide", json={"prompt": prompt, "session_id": str(n)}).json()
    given = {"decision_id": last["decision_id"], "outcome": "success", "cost_usd": 0.5}
    assert client.post("/v1/feedback", json=given).status_code == 201
    return client


def test_savings_say_what_cheap_turns_spared(decided):
    total = decided.get("/v1/savings").json()["total"]
    assert (total["n_turns"], total["n_premium"]) == (2, 1)
    assert total["cheap_usd"] < total["spent_usd"] < total["premium_usd"]
    assert total["saved_usd"] == pytest.approx(total["premium_usd"] - total["spent_usd"])


def test_savings_are_split_by_day_and_category(decided):
    answer = decided.get("/v1/savings").json()
    assert set(answer["by_category"]) == {"debugging", "docs"}
    assert sum(day["n_turns"] for day in answer["by_day"].values()) == 2


def test_reported_costs_and_assumptions_stand_beside(decided):
    answer = decided.get("/v1/savings").json()
    assert (answer["reported"]["n_turns"], answer["reported"]["usd"]) == (1, 0.5)
    assert len(answer["assumptions"]) >= 4


def test_answer_has_the_described_shape(decided):
    SavingsAnswer.model_validate_json(decided.get("/v1/savings").content)


def test_days_limit_what_is_counted(decided):
    assert decided.get("/v1/savings?until=2020-01-01").json()["total"]["n_turns"] == 0
    assert decided.get("/v1/savings?since=2020-01-01").json()["total"]["n_turns"] == 2


def test_wrong_day_is_refused(client):
    answer = client.get("/v1/savings?since=yesterday")
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "invalid_input"


def test_empty_store_is_all_zero(client):
    answer = client.get("/v1/savings").json()
    assert answer["total"]["spent_usd"] == 0
    assert answer["by_day"] == {}


def test_newest_requests_are_looked_at_and_the_rest_is_said(decided, monkeypatch):
    monkeypatch.setattr("pointsman.serving.routes.savings.MAX_REQUESTS", 1)
    answer = decided.get("/v1/savings").json()
    assert answer["total"]["n_turns"] == 1
    assert "Only the newest 1 requests" in answer["assumptions"][0]


def test_endpoint_and_command_agree(capsys, decided, settings):
    answer = decided.get("/v1/savings").json()
    assert main(["savings", "--records", settings.database_url, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["total"] == pytest.approx(answer["total"])


def test_command_reads_either_database(capsys, store, database_url):
    store.append([decision_row(model="claude-opus-5-5", created_at="2026-11-20T10:00:00.000000Z")], [])
    assert main(["savings", "--records", database_url]) == 0
    out = capsys.readouterr().out
    assert "2026-11-20" in out
    assert "less spent on tokens" in out


def test_command_without_records_is_one_line(capsys):
    assert main(["savings"]) == 2
    assert "expected --records" in capsys.readouterr().err


def test_scenarios_need_no_records(capsys):
    assert main(["savings", "--scenarios", "--premium-share", "0.3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["premium_share"] == 0.3


def test_share_of_a_scenario_is_checked(capsys):
    assert main(["savings", "--scenarios", "--premium-share", "30"]) == 2
    assert "expected a share from 0 to 1" in capsys.readouterr().err
