"""Where keys are kept: one row per key, digest only. Every change writes its audit row in the same transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.records import utc_now

from .audit import Act, write_act
from .errors import KeyNotFoundError
from .keys import ApiKey, Role, make_key
from .store import METADATA, Store, failure_of, writing

API_KEYS: Final = sa.Table(
    "api_keys",
    METADATA,
    sa.Column("key_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", sa.Text),
    sa.Column("revoked_at", sa.Text),
    sa.Column("replaces", sa.Text),
    sa.Column("rate", sa.Text),
)


def read_keys(store: Store) -> list[ApiKey]:
    """Return every key, oldest first, ended ones too."""
    try:
        with store.engine.connect() as connection:
            return _select(connection, sa.true())
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc


def create_key(
    store: Store,
    name: str,
    roles: list[Role],
    *,
    actor: str,
    expires_at: str | None = None,
    rate: str | None = None,
) -> tuple[str, ApiKey]:
    """Keep a new key; the text is returned this once."""
    text, key = make_key(name, roles, created_by=actor, expires_at=expires_at, rate=rate)
    details = {"name": name, "roles": sorted(roles), "expires_at": expires_at, "rate": rate}
    try:
        with writing(store.engine).begin() as connection:
            connection.execute(sa.insert(API_KEYS), _row(key))
            write_act(connection, Act(actor, "keys.create", key.key_id, details))
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
    return text, key


def rotate_key(store: Store, name_or_id: str, *, actor: str, grace: timedelta) -> tuple[str, ApiKey, ApiKey]:
    """Keep a new key with the name, roles and rate of an old one, which ends after the grace.

    Returns
    -------
    (str, ApiKey, ApiKey)
        The new key's text, what is kept of it, and the old key.

    Raises
    ------
    KeyNotFoundError
        No active key, or several, are called so.
    """
    ends = format_time(datetime.now(UTC) + grace)
    try:
        with writing(store.engine).begin() as connection:
            old = _one_active(connection, name_or_id)
            text, new = make_key(
                old.name, old.roles, created_by=actor, expires_at=old.expires_at, replaces=old.key_id, rate=old.rate
            )
            connection.execute(sa.insert(API_KEYS), _row(new))
            # An end that was set before is not put off.
            old_ends = min(ends, old.expires_at or ends)
            connection.execute(sa.update(API_KEYS).where(API_KEYS.c.key_id == old.key_id).values(expires_at=old_ends))
            write_act(connection, Act(actor, "keys.rotate", old.key_id, {"by": new.key_id, "old_ends": old_ends}))
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
    return text, new, old


def revoke_key(store: Store, name_or_id: str, *, actor: str) -> ApiKey:
    """End a key now.

    Raises
    ------
    KeyNotFoundError
        No active key, or several, are called so.
    """
    try:
        with writing(store.engine).begin() as connection:
            key = _one_active(connection, name_or_id)
            connection.execute(sa.update(API_KEYS).where(API_KEYS.c.key_id == key.key_id).values(revoked_at=utc_now()))
            write_act(connection, Act(actor, "keys.revoke", key.key_id, {"name": key.name}))
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
    return key


def format_time(moment: datetime) -> str:
    """Return a time as rows hold it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _one_active(connection: Connection, name_or_id: str) -> ApiKey:
    named = sa.or_(API_KEYS.c.key_id == name_or_id, API_KEYS.c.name == name_or_id)
    now = utc_now()
    found = [key for key in _select(connection, named) if key.is_active(now)]
    if len(found) != 1:
        raise KeyNotFoundError(name_or_id, [key.key_id for key in found])
    return found[0]


def _select(connection: Connection, which: sa.ColumnElement[bool]) -> list[ApiKey]:
    query = sa.select(API_KEYS).where(which).order_by(API_KEYS.c.created_at, API_KEYS.c.key_id)
    return [_key(row) for row in connection.execute(query).mappings()]


def _row(key: ApiKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in API_KEYS.c.keys()} | {"roles": ",".join(sorted(key.roles))}  # noqa: SIM118


def _key(row: sa.RowMapping) -> ApiKey:
    # Roles that this version does not know give no right; they stay as they are.
    roles = cast("frozenset[Role]", frozenset(row["roles"].split(",")))
    return ApiKey(**{**row, "roles": roles})
