"""Where text is stored, it is masked and bounded before it is in a file, a table or an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pointsman.classifier.text import MAX_PROMPT_CHARS
from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings
from pointsman.serving.stored_text import TextKeeper, shortened

from .clients import RACE
from .conftest import wait_until_ready
from .rows import decision_row, feedback_row
from .test_privacy import PLANTED, everything_stored

# A card number and a key without its armour are no secrets by their form; the masker does not know them.
MASKED = [secret for secret in PLANTED if not secret.startswith(("4111", "MIIE"))]


@pytest.fixture(scope="module")
def keeper():
    return TextKeeper()


@pytest.mark.parametrize("away", [False, True], ids=["in the database", "in the spool"])
def test_planted_secrets_are_masked_where_text_is_stored(sqlite_url, router, tmp_path, away, monkeypatch):
    settings = load_settings(database_url=sqlite_url, store_text=True, spool=tmp_path / "spool.sqlite")
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        if away:
            store = client.app.state.services.store
            monkeypatch.setattr(store, "append", lambda *_: store.close() or _away())
        for number, secret in enumerate(MASKED):
            context = [{"role": "user", "text": f"the old one was {secret}"}]
            body = {"prompt": f"{RACE} in job {number} with {secret}", "context": context, "session_id": f"s{number}"}
            asked = client.post("/v1/decide", json=body).json()
            judged = {"decision_id": asked["decision_id"], "outcome": "failure", "comment": f"it printed {secret}"}
            client.post("/v1/feedback", json=judged)
            shown = client.get(f"/v1/decisions/{asked['decision_id']}").text
            assert secret not in shown
    rows, raw = everything_stored(settings, tmp_path)
    everything = rows + raw.decode("latin-1")
    assert "in job 3 with" in everything
    assert "<secret>" in everything
    assert [secret for secret in MASKED if secret in everything] == []


def _away():
    from pointsman.serving.errors import StoreUnavailableError

    raise StoreUnavailableError("away")


def test_record_without_text_stays_as_it_is(keeper):
    row, given_feedback = decision_row(prompt=None, context=None), feedback_row("d-1")
    assert keeper.decision(row) is row
    assert keeper.feedback(given_feedback) is given_feedback


def test_masking_that_fails_costs_the_text_and_not_the_record(sqlite_url, router, monkeypatch):
    def fail(*_):
        raise ValueError(RACE)

    monkeypatch.setattr(TextKeeper, "decision", fail)
    settings = load_settings(database_url=sqlite_url, store_text=True)
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        decision_id = client.post("/v1/decide", json={"prompt": RACE}).json()["decision_id"]
        row = client.get(f"/v1/decisions/{decision_id}").json()
    assert (row["prompt"], row["decision_id"]) == (None, decision_id)


@given(text=st.text(st.sampled_from("ab \n"), max_size=80), max_chars=st.integers(12, 60))
def test_shortened_text_is_bounded_and_made_of_whole_words(text, max_chars):
    kept = shortened(text, max_chars)
    assert len(kept) <= max(max_chars, len(text) if len(text) <= max_chars else 0)
    assert set(kept.replace("…", " ").split()) <= set(text.split())


def test_huge_prompt_is_stored_as_the_model_reads_it(keeper):
    row = keeper.decision(decision_row(prompt="word " * 1_000_000, context=()))
    assert len(row.prompt) <= MAX_PROMPT_CHARS
    assert row.prompt.startswith("word word")
