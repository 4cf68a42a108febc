"""The record store: append-only `decisions` and `feedback` over SQLAlchemy, SQLite or PostgreSQL.

Plain blocking calls: one writer thread (`recorder.py`) does all writing, so SQLite never sees two writers of
ours and an async driver would buy nothing. Nothing here updates or deletes a row; `privacy.py` deletes. The `record`
column is the truth; the other columns repeat parts of it for queries.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from sqlalchemy.pool import ConnectionPoolEntry

from pointsman.classifier.labels import HEADS
from pointsman.classifier.records import DecisionRecord, FeedbackRecord

from .errors import (
    DecisionNotFoundError,
    FeedbackConflictError,
    RecordRejectedError,
    ServingError,
    StoreUnavailableError,
)
from .private_files import make_private

METADATA: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)
JSON_TYPE: Final = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

# created_at is ISO text of fixed width (records.utc_now): the same order and the same text in both databases.
DECISIONS: Final = sa.Table(
    "decisions",
    METADATA,
    sa.Column("decision_id", sa.Text, primary_key=True),
    sa.Column("created_at", sa.Text, nullable=False, index=True),
    sa.Column("session_id", sa.Text, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("category", sa.Text),
    sa.Column("risk", sa.Text),
    sa.Column("scope", sa.Text),
    sa.Column("turn", sa.Text),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("project", sa.Text),
    sa.Column("record", JSON_TYPE, nullable=False),
    # The newest of one kind are found without looking at the rest.
    *(sa.Index(f"ix_decisions_{name}", name, "created_at") for name in ("category", "risk", "model", "project")),
)
FEEDBACK: Final = sa.Table(
    "feedback",
    METADATA,
    sa.Column("feedback_id", sa.Text, primary_key=True),
    sa.Column("decision_id", sa.Text, sa.ForeignKey(DECISIONS.c.decision_id), nullable=False, index=True),
    sa.Column("created_at", sa.Text, nullable=False, index=True),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("record", JSON_TYPE, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that was not written, and why."""

    record: DecisionRecord | FeedbackRecord
    error: ServingError


@dataclass(slots=True)
class Written:
    """What one transaction did."""

    n_decisions: int = 0
    n_feedback: int = 0
    refused: list[Refused] = field(default_factory=list)


class Store:
    """Reads and appends records. Every method blocks, and raises `StoreUnavailableError` when the database does."""

    def __init__(self, database_url: str, *, timeout_s: float | None = None) -> None:
        """Nothing is connected to yet. A server that does not answer a statement in time counts as away."""
        self.engine = _create_engine(database_url, timeout_s)

    def append(self, decisions: Sequence[DecisionRecord], feedback: Sequence[FeedbackRecord]) -> Written:
        """Commit all records in one transaction; a decision already there is left as it is."""
        written = Written()
        try:
            with writing(self.engine).begin() as connection:
                if decisions:
                    _insert_new(connection, DECISIONS, [_decision_row(record) for record in decisions])
                    written.n_decisions = len(decisions)
                for record in feedback:
                    error = _append_feedback(connection, record)
                    if error is None:
                        written.n_feedback += 1
                    else:
                        written.refused.append(Refused(record, error))
        except SQLAlchemyError as exc:
            raise failure_of(exc) from exc
        return written

    def decision(self, decision_id: str) -> DecisionRecord:
        """Return one decision, or raise `DecisionNotFoundError`."""
        query = sa.select(DECISIONS.c.record).where(DECISIONS.c.decision_id == clean(decision_id))
        try:
            with self.engine.connect() as connection:
                row = connection.execute(query).scalar_one_or_none()
        except SQLAlchemyError as exc:
            raise failure_of(exc) from exc
        if row is None:
            raise DecisionNotFoundError
        return DecisionRecord.from_json(row)

    def last_of_session(self, session_id: str) -> str | None:
        """Return the id of a session's last decision."""
        query = (
            sa.select(DECISIONS.c.decision_id)
            .where(DECISIONS.c.session_id == clean(session_id))
            .order_by(DECISIONS.c.created_at.desc())
            .limit(1)
        )
        try:
            with self.engine.connect() as connection:
                return connection.execute(query).scalar_one_or_none()
        except SQLAlchemyError as exc:
            raise failure_of(exc) from exc

    def feedback_of(self, decision_id: str) -> list[FeedbackRecord]:
        """Return the feedback on one decision, oldest first."""
        query = (
            sa.select(FEEDBACK.c.record)
            .where(FEEDBACK.c.decision_id == clean(decision_id))
            .order_by(FEEDBACK.c.created_at, FEEDBACK.c.feedback_id)
        )
        try:
            with self.engine.connect() as connection:
                return [FeedbackRecord.from_json(row) for row in connection.execute(query).scalars()]
        except SQLAlchemyError as exc:
            raise failure_of(exc) from exc

    def check(self) -> None:
        """Raise `StoreUnavailableError` unless the tables can be read."""
        try:
            with self.engine.connect() as connection:
                connection.execute(sa.select(DECISIONS.c.decision_id).limit(1)).first()
        except SQLAlchemyError as exc:
            raise failure_of(exc) from exc

    def close(self) -> None:
        self.engine.dispose()


def writing(engine: Engine) -> Engine:
    """Return the engine for a transaction that writes.

    SQLite takes the write lock at once: a read lock cannot become one when another process wrote meanwhile.
    """
    return engine.execution_options(sqlite_begin="IMMEDIATE")


def _create_engine(database_url: str, timeout_s: float | None) -> Engine:
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite":
        return _postgres_engine(url, timeout_s)
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreUnavailableError(f"the database's folder {folder} cannot be made: {exc.strerror}.") from exc
    engine = sa.create_engine(url, json_serializer=_json)
    sa.event.listen(engine, "do_connect", _make_private)
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _make_private(_dialect: Any, _entry: ConnectionPoolEntry, arguments: Sequence[Any], options: Any) -> None:
    """Make a database that is not there yet for this account alone; SQLite makes the files beside it likewise."""
    if options.get("uri"):
        return
    # Where it cannot be made, SQLite says why.
    with suppress(OSError):
        make_private(arguments[0])


def _postgres_engine(url: URL, timeout_s: float | None) -> Engine:
    # pre_ping: a connection that the server closed overnight is replaced, not reported. Whoever waits for a connection
    # waits for other statements to end.
    waits = {} if timeout_s is None else {"pool_timeout": timeout_s}
    engine = sa.create_engine(
        url, pool_pre_ping=True, pool_size=4, connect_args={"connect_timeout": 5}, json_serializer=_json, **waits
    )
    if timeout_s is not None:
        # Imported here: with SQLite the driver need not be there.
        from .postgres import bounded_connection

        bounded = bounded_connection(timeout_s)
        sa.event.listen(engine, "do_connect", lambda _dialect, _entry, args, options: bounded.connect(*args, **options))
    return engine


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a number beyond 64 bits
        return json.dumps(value)


def _configure_sqlite(connection: Any, _entry: ConnectionPoolEntry) -> None:
    # The driver's own BEGIN comes too late (not before DDL); ours is sent in `_begin_sqlite`.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: feedback is acknowledged once it is on the disk, not only in the WAL's cache.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    # What is deleted is overwritten with zeros.
    cursor.execute("PRAGMA secure_delete=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('sqlite_begin', 'DEFERRED')}")


def _insert_new(connection: Connection, table: sa.Table, rows: list[dict[str, Any]]) -> int:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    return connection.execute(insert(table).on_conflict_do_nothing(), rows).rowcount


def _append_feedback(connection: Connection, record: FeedbackRecord) -> ServingError | None:
    known = sa.select(DECISIONS.c.decision_id).where(DECISIONS.c.decision_id == clean(record.decision_id))
    if connection.execute(known).first() is None:
        return DecisionNotFoundError()
    row = _feedback_row(record)
    if _insert_new(connection, FEEDBACK, [row]) == 1:
        return None
    there = connection.execute(
        sa.select(FEEDBACK.c.record).where(FEEDBACK.c.feedback_id == row["feedback_id"])
    ).scalar_one()
    same = there | {"created_at": None} == row["record"] | {"created_at": None}
    return None if same else FeedbackConflictError()


def _decision_row(record: DecisionRecord) -> dict[str, Any]:
    row = _clean_row(record.to_json())
    columns = {name: row[name] for name in DECISIONS.c.keys() if name in row}  # noqa: SIM118 - a collection, not a dict
    for head in HEADS:
        columns[head] = None if record.assessment is None else getattr(record.assessment, head).label
    return columns | {"record": row}


def _feedback_row(record: FeedbackRecord) -> dict[str, Any]:
    row = _clean_row(record.to_json())
    return {name: row[name] for name in ("feedback_id", "decision_id", "created_at", "outcome")} | {"record": row}


def _clean_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as `clean` does. Nearly all are clean, and writing one as JSON says so in a tenth of the time."""
    try:
        is_clean = rb"\u0000" not in orjson.dumps(row)
    except TypeError:  # a lone surrogate, or a number beyond 64 bits
        is_clean = False
    return row if is_clean else dict(clean(row))


def clean(value: Any) -> Any:
    """Replace what PostgreSQL's text cannot hold (NUL) and UTF-8 cannot encode (lone surrogates)."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {clean(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value


def failure_of(exc: SQLAlchemyError) -> Exception:
    """Tell a database that is away from a row that it will never take."""
    # The driver's text may quote a row: only its type goes on.
    name = type(getattr(exc, "orig", None) or exc).__name__
    is_row = isinstance(exc, DataError | IntegrityError) or (
        isinstance(exc, StatementError) and not isinstance(exc, DBAPIError)
    )
    if is_row:
        return RecordRejectedError(name)
    return StoreUnavailableError(f"The record store failed ({name}). Check the database, then retry.")
