"""`pointsman replay --records`: what the service recorded, on both databases, decided again without the model."""

import json
from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient

from pointsman.classifier.commands import main
from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings

from .clients import CLAUDE_HEADERS, RACE, TYPO, claude_body
from .conftest import wait_until_ready
from .rows import decision_row


@pytest.fixture
def replay(capsys, database_url):
    def run(*argv):
        status = main(["replay", "--records", database_url, *map(str, argv)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def served(database_url, router, assessor):
    """The service over the database; records are written when it stops."""

    @contextmanager
    def serving():
        with TestClient(create_app(load_settings(database_url=database_url), router)) as client:
            wait_until_ready(client)
            yield client

    return serving


def answer(replay, *argv):
    status, out, err = replay("--json", *argv)
    assert status == 0, err
    return json.loads(out)


def test_what_was_served_is_replayed_as_it_was(served, replay):
    with served() as client:
        for prompt in (RACE, TYPO):
            client.post("/v1/decide/v1/messages", json=claude_body(prompt), headers=CLAUDE_HEADERS)
    rows = {row["name"]: row for row in answer(replay, "--policy", "balanced")["rows"]}
    assert rows["balanced"]["n_turns"] == 2
    assert rows["as logged"]["spend_usd"] == rows["balanced"]["spend_usd"] > 0


def test_another_policy_changes_a_turn_and_says_why(served, replay, tmp_path):
    with served() as client:
        client.post("/v1/decide", json={"prompt": TYPO, "session_id": "s"})
    path = tmp_path / "anxious.yaml"
    path.write_text("extends: balanced\nscale: 1000\n")
    [change] = answer(replay, "--policy", path)["changes"]["anxious"]["turns"]
    assert (change["model_before"], change["model"]) == ("claude-haiku-5-5", "claude-opus-5-5")
    assert "claude-opus-5-5" in " ".join(change["reasons"])


def test_feedback_corrects_what_a_turn_is_counted_as(served, replay):
    with served() as client:
        decision = client.post("/v1/decide", json={"prompt": TYPO, "session_id": "s"}).json()
        before = {"decision_id": decision["decision_id"], "outcome": "failure", "labels": {"risk": "high"}}
        assert client.post("/v1/feedback", json=before).status_code == 201
    rows = {row["name"]: row for row in answer(replay, "--policy", "frugal")["rows"]}
    assert rows["all-cheap"]["high_missed"] == 1


def test_days_limit_what_is_read(store, replay):
    store.append([decision_row(created_at=f"2026-11-{day}T10:00:00.000000Z", turn_key=day) for day in ("20", "21")], [])
    found = answer(replay, "--policy", "frugal", "--since", "2026-11-21", "--until", "2026-11-22")
    assert found["rows"][0]["n_turns"] == 1
    assert "2026-11-21 to 2026-11-21" in found["log"]


def test_database_without_turns_is_one_line(store, replay):
    status, _, err = replay("--policy", "frugal")
    assert status == 2
    assert "found no turn that was weighed" in err


def test_misspelt_path_makes_no_file(capsys, tmp_path):
    path = tmp_path / "gone.sqlite"
    assert main(["replay", "--policy", "frugal", "--records", f"sqlite:///{path}"]) == 2
    assert "no such file; expected the records" in capsys.readouterr().err
    assert not path.exists()


def test_wrong_day_is_one_line(capsys, sqlite_url):
    assert main(["replay", "--policy", "frugal", "--records", sqlite_url, "--since", "last week"]) == 2
    assert "--since 'last week': expected a day" in capsys.readouterr().err


def test_url_of_another_database_is_one_line_without_its_password(capsys):
    assert main(["replay", "--policy", "frugal", "--records", "mysql://me:hush@host/db"]) == 2
    err = capsys.readouterr().err
    assert "expected sqlite or postgresql" in err
    assert "hush" not in err


def test_configured_store_is_read_when_no_url_is_given(capsys, monkeypatch, store, database_url):
    store.append([decision_row()], [])
    monkeypatch.setenv("POINTSMAN_DATABASE_URL", database_url)
    assert main(["replay", "--policy", "frugal", "--records"]) == 0
    assert "1 turns in 1 requests" in capsys.readouterr().out
