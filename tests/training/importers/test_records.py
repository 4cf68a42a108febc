"""Decisions and feedback come back as turns, from a real store of either database and from a file of records."""

import json
from dataclasses import replace
from uuid import uuid4

import pytest

from pointsman.classifier.assessment import Decision, Kind, Message
from pointsman.classifier.errors import InputError
from pointsman.classifier.records import DecisionRecord, FeedbackRecord
from pointsman.serving.migrations import migrate
from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store
from pointsman.training.importers.run import ImportConfig, import_turns
from tests.fakes import asked, assessed
from tests.serving.postgres import running_postgres

from . import logs


def decided(prompt, n, *, minute, step=0, text=True, **fields):
    turn = replace(asked(prompt, n, step=step, **fields), context=(Message("assistant", "Which lamp?"),))
    decision = Decision(
        model="careful",
        provider="anthropic",
        fallbacks=(),
        decision_id=uuid4().hex,
        kind=turn.kind,
        assessment=assessed("debugging"),
        context_tokens=1000,
        expected_cost=(),
        reasons=(),
        sticky=False,
        model_version="fake-1",
        policy_version="p-1",
        session_id=turn.session_id,
        turn_key=turn.key,
    )
    record = DecisionRecord.of(turn, decision, created_at=f"2026-11-01T10:{minute:02d}:00.000000Z")
    return record.with_text(turn) if text else record


def judged(decision, outcome="corrected", **fields):
    return FeedbackRecord(
        feedback_id=uuid4().hex,
        decision_id=decision.decision_id,
        created_at="2026-11-01T11:00:00.000000Z",
        outcome=outcome,
        **fields,
    )


@pytest.fixture
def records():
    first = decided("Light the lamp", 1, minute=1)
    loop = decided("Light the lamp", 1, minute=2, step=1, kind=Kind.TOOL_LOOP)
    second = decided("Still dark", 2, minute=3)
    feedback = judged(first, labels={"category": "feature"}, cost_usd=0.25)
    return [first, loop, second], [feedback]


def stored(url, records):
    store = Store(url)
    migrate(store.engine)
    store.append(*records)
    store.close()
    return url


def rows_from(tmp_path, source, **options):
    output = tmp_path / "turns.jsonl"
    import_turns(ImportConfig((str(source),), output, **options))
    return [json.loads(line) for line in output.read_text().splitlines()]


def check(rows):
    assert [row["prompt"] for row in rows] == ["Light the lamp", "Still dark"]
    assert (rows[0]["outcome"], rows[0]["category"], rows[0]["usage"]["cost_usd"]) == ("corrected", "feature", 0.25)
    assert rows[0]["usage"]["n_messages"] == 2
    assert rows[0]["next"]["says_wrong"] is False
    assert rows[1]["assessed"]["category"] == "debugging"
    assert "category" not in rows[1]


def test_sqlite_store_is_imported(tmp_path, records):
    check(rows_from(tmp_path, stored(f"sqlite:///{tmp_path}/records.sqlite", records)))


def test_store_is_recognised_as_a_file(tmp_path, records):
    stored(f"sqlite:///{tmp_path}/records.sqlite", records)
    check(rows_from(tmp_path, tmp_path / "records.sqlite"))


@pytest.mark.postgres
def test_postgresql_store_is_imported(tmp_path, records):
    with running_postgres() as url:
        stored(load_settings(database_url=url).database_url, records)
        check(rows_from(tmp_path, url))


@pytest.mark.postgres
def test_password_of_a_store_is_not_on_disk(tmp_path, records):
    with running_postgres() as url:
        stored(load_settings(database_url=url).database_url, records)
        check(rows_from(tmp_path, f"{url}{'&' if '?' in url else '?'}password=S3cret"))
        written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert [name for name, data in written.items() if b"S3cret" in data] == []
        summary = import_turns(ImportConfig((url,), tmp_path / "turns.jsonl"))
        assert (summary.n_sources, summary.n_unchanged, summary.n_new_turns) == (1, 1, 0)


def test_file_of_records_is_imported(tmp_path, records):
    rows = [record.to_json() for part in records for record in part]
    check(rows_from(tmp_path, logs.write_lines(tmp_path / "records.jsonl", rows)))


def test_later_feedback_reaches_its_turn(tmp_path, records):
    decisions, _ = records
    url = stored(f"sqlite:///{tmp_path}/records.sqlite", (decisions, []))
    assert [row["outcome"] for row in rows_from(tmp_path, url)] == [None, None]
    stored(url, ([], [judged(decisions[2], "success")]))
    assert [row["outcome"] for row in rows_from(tmp_path, url)] == [None, "success"]


def test_unnamed_sessions_are_linked_by_their_keys(tmp_path):
    decisions = [decided(f"Step {n}", n, minute=n, session=None) for n in (1, 2)]
    rows = rows_from(tmp_path, stored(f"sqlite:///{tmp_path}/records.sqlite", (decisions, [])))
    assert [row["position"] for row in rows] == [0, 1]


def test_decisions_without_text_keep_their_outcome(tmp_path):
    decision = decided("Light the lamp", 1, minute=1, text=False)
    url = stored(f"sqlite:///{tmp_path}/records.sqlite", ([decision], [judged(decision)]))
    [row] = rows_from(tmp_path, url, keeps_text=False)
    assert (row["outcome"], row["assessed"]["risk"]) == ("corrected", "medium")


def test_store_without_tables_is_refused(tmp_path):
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(InputError, match="the store cannot be read"):
        rows_from(tmp_path, f"sqlite:///{tmp_path}/empty.sqlite")


def test_url_of_no_database_is_refused(tmp_path):
    with pytest.raises(InputError, match="found a database URL of 'gopher'"):
        rows_from(tmp_path, "gopher://x/y")


def test_misspelt_store_is_refused_and_not_made(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.sqlite: no such file; expected the SQLite store"):
        rows_from(tmp_path, f"sqlite:///{tmp_path}/nowhere.sqlite")
    assert not (tmp_path / "nowhere.sqlite").exists()
