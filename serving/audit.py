"""The audit log: what operators did, one row each, never changed. The database itself refuses changes to it.

Rows are written in the transaction of what they tell of. They hold ids and counts, no secrets and no text of persons.
"""

import getpass
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.records import utc_now

from .store import JSON_TYPE, METADATA, Store, failure_of

AUDIT: Final = sa.Table(
    "audit",
    METADATA,
    sa.Column("audit_id", sa.Integer, primary_key=True),
    sa.Column("created_at", sa.Text, nullable=False, index=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("details", JSON_TYPE, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that an operator did."""

    actor: str
    action: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)
    created_at: str = field(default_factory=utc_now)


def write_act(connection: Connection, act: Act) -> None:
    """Add a row, within the caller's transaction."""
    row = {name: getattr(act, name) for name in ("actor", "action", "subject", "created_at")}
    connection.execute(sa.insert(AUDIT), row | {"details": dict(act.details)})


def read_acts(store: Store, *, most: int | None = None) -> list[Act]:
    """Return what was done, oldest first; the newest `most` of it."""
    columns = (AUDIT.c.actor, AUDIT.c.action, AUDIT.c.subject, AUDIT.c.details, AUDIT.c.created_at)
    query = sa.select(*columns).order_by(AUDIT.c.audit_id.desc()).limit(most)
    try:
        with store.engine.connect() as connection:
            return [Act(*row) for row in connection.execute(query)][::-1]
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc


def this_operator() -> str:
    """Return who runs this process: the account and the machine."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):
        account = "unknown"
    return f"{account}@{socket.gethostname()}"
