"""Both databases keep what they are given, once, and say when they cannot."""

import sqlite3
import subprocess
import sys
from dataclasses import replace

import pytest
import sqlalchemy as sa

from pointsman.serving.errors import (
    DecisionNotFoundError,
    FeedbackConflictError,
    RecordRejectedError,
    StoreUnavailableError,
)
from pointsman.serving.migrations import migrate
from pointsman.serving.store import DECISIONS, FEEDBACK, Store

from .rows import decision_row, feedback_row

_COUNT = "SELECT count(*) FROM decisions"


def count(store, table):
    with store.engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_sqlite_files_are_for_their_account_alone(tmp_path):
    path = tmp_path / "records.sqlite"
    store = Store(f"sqlite:///{path}")
    migrate(store.engine)
    store.append([decision_row()], [])
    with store.engine.connect() as reader:
        reader.execute(sa.select(DECISIONS.c.decision_id)).all()
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    store.close()
    assert modes == dict.fromkeys(["records.sqlite", "records.sqlite-wal", "records.sqlite-shm"], 0o600)


def test_database_opened_twice_is_not_thought_abandoned(tmp_path):
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    writer, reader = Store(url), Store(url)
    migrate(writer.engine)
    writer.append([decision_row()], [])
    count(reader, DECISIONS)
    # Whoever closes a database last empties its log and throws it away; another process cannot be that one here.
    look = [
        sys.executable,
        "-c",
        f"import sqlite3; print(*sqlite3.connect({url[10:]!r}).execute('{_COUNT}').fetchone())",
    ]
    seen = [subprocess.run(look, capture_output=True, text=True, check=True).stdout]
    writer.append([decision_row()], [])
    seen.append(subprocess.run(look, capture_output=True, text=True, check=True).stdout)
    for store in (writer, reader):
        store.close()
    assert seen == ["1\n", "2\n"]


def test_decision_comes_back_equal(store):
    row = decision_row()
    store.append([row], [])
    assert store.decision(row.decision_id) == row


def test_same_decision_makes_one_row(store):
    row = decision_row()
    store.append([row, row], [])
    store.append([row, decision_row()], [])
    assert count(store, DECISIONS) == 2


def test_first_row_of_a_decision_stays(store):
    row = decision_row()
    store.append([row], [])
    store.append([replace(row, model="other")], [])
    assert store.decision(row.decision_id).model == "careful"


def test_labels_stand_in_columns_for_queries(store):
    store.append([decision_row()], [])
    with store.engine.connect() as connection:
        row = connection.execute(sa.select(DECISIONS)).mappings().one()
    assert (row["category"], row["risk"], row["scope"], row["turn"]) == ("debugging", "high", "multi", "new")


def test_unassessed_decision_has_no_labels(store):
    store.append([decision_row(assessment=None)], [])
    with store.engine.connect() as connection:
        assert connection.execute(sa.select(DECISIONS.c.risk)).scalar_one() is None


def test_unknown_decision_is_not_found(store):
    with pytest.raises(DecisionNotFoundError, match="No decision has this id"):
        store.decision("none")


def test_feedback_comes_back_in_order(store):
    row = decision_row()
    given = [
        feedback_row(row.decision_id, outcome="failure", labels={"risk": "low"}, cost_usd=0.5),
        feedback_row(row.decision_id),
    ]
    store.append([row], given)
    assert store.feedback_of(row.decision_id) == given


def test_feedback_sent_again_is_kept_once(store):
    row = decision_row()
    given = feedback_row(row.decision_id)
    store.append([row], [given])
    again = store.append([], [replace(given, created_at="2030-01-01T00:00:00.000000Z")])
    assert again.refused == []
    assert count(store, FEEDBACK) == 1


def test_feedback_id_taken_by_other_feedback_is_refused(store):
    row = decision_row()
    given = feedback_row(row.decision_id)
    written = store.append([row], [given, replace(given, outcome="failure")])
    assert [type(refused.error) for refused in written.refused] == [FeedbackConflictError]


def test_feedback_on_an_unknown_decision_is_refused_and_the_rest_is_kept(store):
    row = decision_row()
    written = store.append([row], [feedback_row("none"), feedback_row(row.decision_id)])
    assert [type(refused.error) for refused in written.refused] == [DecisionNotFoundError]
    assert count(store, FEEDBACK) == 1


def test_number_beyond_64_bits_is_stored(store):
    row = decision_row(max_output_tokens=2**70)
    store.append([row], [])
    assert store.decision(row.decision_id).max_output_tokens == 2**70


@pytest.mark.parametrize("text", ["nul \0 byte", "lone \ud800 surrogate", "日本語 🚀", "'; DROP TABLE decisions; --"])
def test_odd_text_is_kept_as_well_as_the_database_can(store, text):
    row = decision_row(session_id=text, prompt=text)
    store.append([row], [])
    kept = store.decision(row.decision_id)
    assert kept.session_id == kept.prompt
    assert store.decision(row.decision_id).decision_id == row.decision_id


def test_record_that_no_database_takes_is_told_from_one_that_is_away(store):
    with pytest.raises(RecordRejectedError, match="cannot hold this record"):
        store.append([decision_row(model=None)], [])


def test_failed_transaction_leaves_nothing(store):
    with pytest.raises(RecordRejectedError):
        store.append([decision_row(), decision_row(model=None)], [])
    assert count(store, DECISIONS) == 0


def test_check_passes_on_a_migrated_database(store):
    store.check()


def test_check_fails_without_tables(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    with pytest.raises(StoreUnavailableError, match="OperationalError"):
        store.check()
    store.close()


def test_sqlite_writes_ahead_and_to_the_disk(sqlite_url):
    store = Store(sqlite_url)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    store.close()


def test_sqlite_folder_is_made(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'a' / 'b' / 'records.sqlite'}")
    migrate(store.engine)
    store.check()
    store.close()


def test_locked_sqlite_is_away_not_broken(sqlite_url):
    store = Store(sqlite_url + "?timeout=0.1")
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError, match=r"OperationalError.*then retry"):
        store.append([decision_row()], [])
    other.rollback()
    store.append([decision_row()], [])
    other.close()
    store.close()


@pytest.mark.postgres
def test_postgres_that_is_away_is_said_so(tmp_path):
    store = Store(f"postgresql+psycopg://postgres@/none?host={tmp_path}")
    with pytest.raises(StoreUnavailableError, match="OperationalError"):
        store.check()
    store.close()
