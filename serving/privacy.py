"""What persons may ask for: their records back, and their records gone. Here alone are records deleted.

Each act writes its audit row in the same transaction, with a digest in place of the session's name: the log proves
what was done to whoever knows the name, and tells it to nobody else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.identity import bounded_id

from .audit import Act, write_act
from .console.reviews import REVIEWS
from .store import DECISIONS, FEEDBACK, Store, failure_of, writing

# One transaction's worth: the writer of new records waits for no longer than this takes.
_BATCH_SIZE: Final = 2_000


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many rows are gone."""

    n_decisions: int
    n_feedback: int


def export_session(store: Store, session_id: str, *, actor: str) -> list[dict[str, Any]]:
    """Return every record of a session as it is stored, oldest first, each decision before its feedback."""
    try:
        with writing(store.engine).begin() as connection:
            rows = list(_records_of(connection, stored_name(session_id)))
            write_act(connection, Act(actor, "export", subject_of(session_id), {"n_records": len(rows)}))
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
    return rows


def forget_session(store: Store, session_id: str, *, actor: str) -> Deleted:
    """Delete every decision of a session, its subagents' too, and the feedback on them."""
    of_session = sa.select(DECISIONS.c.decision_id).where(DECISIONS.c.session_id == stored_name(session_id))
    try:
        with writing(store.engine).begin() as connection:
            deleted = _delete(connection, of_session)
            write_act(connection, Act(actor, "forget", subject_of(session_id), asdict(deleted)))
        erase_leftovers(store)
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
    return deleted


def delete_older(store: Store, before: str, *, actor: str) -> Deleted:
    """Delete decisions made before a time, and the feedback on them, in batches."""
    oldest = (
        sa.select(DECISIONS.c.decision_id)
        .where(DECISIONS.c.created_at < before)
        .order_by(DECISIONS.c.created_at)
        .limit(_BATCH_SIZE)
    )
    n_decisions = n_feedback = 0
    try:
        while True:
            with writing(store.engine).begin() as connection:
                deleted = _delete(connection, oldest)
                if deleted.n_decisions:
                    write_act(connection, Act(actor, "retention", f"before {before}", asdict(deleted)))
            n_decisions, n_feedback = n_decisions + deleted.n_decisions, n_feedback + deleted.n_feedback
            if deleted.n_decisions < _BATCH_SIZE:
                break
        if n_decisions:
            erase_leftovers(store)
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
    return Deleted(n_decisions, n_feedback)


def erase_leftovers(store: Store) -> None:
    """Empty SQLite's write-ahead log, which holds copies of what was deleted, unless a reader is in it just now.

    The pages themselves are overwritten as they are freed (`secure_delete`). PostgreSQL does both in its own time.
    """
    if store.engine.dialect.name != "sqlite":
        return
    connection = store.engine.raw_connection()
    try:
        # Straight to the driver: within a transaction there is nothing to empty.
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    finally:
        connection.close()


def stored_name(session_id: str) -> str:
    """Return a session's name as records hold it: a long one is stored as its hash."""
    return bounded_id(session_id) or ""


def subject_of(session_id: str) -> str:
    """Return how the audit log calls a session."""
    return f"session sha256:{sha256(stored_name(session_id).encode()).hexdigest()}"


def _delete(connection: Connection, which: sa.Select[tuple[str]]) -> Deleted:
    ids = list(connection.execute(which).scalars())
    n_feedback = n_decisions = 0
    # In parts: databases bound the number of values in one statement.
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        connection.execute(sa.delete(REVIEWS).where(REVIEWS.c.decision_id.in_(part)))
        n_feedback += connection.execute(sa.delete(FEEDBACK).where(FEEDBACK.c.decision_id.in_(part))).rowcount
        n_decisions += connection.execute(sa.delete(DECISIONS).where(DECISIONS.c.decision_id.in_(part))).rowcount
    return Deleted(n_decisions, n_feedback)


def _records_of(connection: Connection, session_id: str) -> Iterator[dict[str, Any]]:
    mine = DECISIONS.c.session_id == session_id
    judged = (
        sa.select(FEEDBACK.c.decision_id, FEEDBACK.c.record)
        .join(DECISIONS, DECISIONS.c.decision_id == FEEDBACK.c.decision_id)
        .where(mine)
        .order_by(FEEDBACK.c.created_at, FEEDBACK.c.feedback_id)
    )
    feedback: dict[str, list[dict[str, Any]]] = {}
    for decision_id, record in connection.execute(judged):
        feedback.setdefault(decision_id, []).append(record)
    labelled = (
        sa.select(REVIEWS)
        .join(DECISIONS, DECISIONS.c.decision_id == REVIEWS.c.decision_id)
        .where(mine)
        .order_by(REVIEWS.c.created_at)
    )
    reviews: dict[str, list[dict[str, Any]]] = {}
    for row in connection.execute(labelled).mappings():
        reviews.setdefault(row["decision_id"], []).append({"record": "review", **row})
    decided = (
        sa.select(DECISIONS.c.decision_id, DECISIONS.c.record)
        .where(mine)
        .order_by(DECISIONS.c.created_at, DECISIONS.c.decision_id)
    )
    for decision_id, record in connection.execute(decided):
        yield record
        yield from feedback.get(decision_id, [])
        yield from reviews.get(decision_id, [])
