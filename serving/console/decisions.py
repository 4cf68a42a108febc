"""Recorded decisions in pages: light rows found by an index, a page at a time, however many there are.

A place in the list is the time and the id of its last row, not a number of rows to skip: the hundredth page costs what
the first one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.records import DecisionRecord
from pointsman.serving.store import DECISIONS, Store, failure_of

PAGE_SIZE: Final = 50
#: Decisions that figures of the present are taken from.
N_RECENT: Final = 1_000
_RECORD: Final = DECISIONS.c.record


@dataclass(frozen=True, slots=True)
class Filter:
    """Which decisions are wanted; an empty field wants all."""

    category: str = ""
    risk: str = ""
    model: str = ""
    project: str = ""
    session: str = ""

    @classmethod
    def of(cls, values: Any) -> Filter:
        """Read a query's or a form's fields."""
        return cls(**{field.name: (values.get(field.name) or "").strip()[:256] for field in fields(cls)})

    def given(self) -> dict[str, str]:
        """Return the fields that want something."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name))}

    def where(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions."""
        return [_COLUMNS[name] == value for name, value in self.given().items()]

    def takes(self, row: Row) -> bool:
        """Say whether a row is wanted."""
        return all(getattr(row, name) == value for name, value in self.given().items())


_COLUMNS: Final = {
    "category": DECISIONS.c.category,
    "risk": DECISIONS.c.risk,
    "model": DECISIONS.c.model,
    "project": DECISIONS.c.project,
    "session": DECISIONS.c.session_id,
}


class Row(NamedTuple):
    """What the list shows of one decision."""

    decision_id: str
    created_at: str
    session: str | None
    kind: str
    model: str
    category: str | None
    risk: str | None
    scope: str | None
    turn: str | None
    project: str | None
    is_sticky: bool
    spend_usd: float | None
    latency_ms: float | None
    codes: Sequence[str]

    @property
    def is_safe_default(self) -> bool:
        """Whether nothing was weighed since something failed or could not be read."""
        return "safe_default" in self.codes

    @property
    def place(self) -> str:
        """Where the list goes on after this row."""
        return f"{self.created_at}~{self.decision_id}"


_ROW: Final = (
    DECISIONS.c.decision_id,
    DECISIONS.c.created_at,
    DECISIONS.c.session_id,
    DECISIONS.c.kind,
    DECISIONS.c.model,
    DECISIONS.c.category,
    DECISIONS.c.risk,
    DECISIONS.c.scope,
    DECISIONS.c.turn,
    DECISIONS.c.project,
    _RECORD["sticky"].as_boolean(),
    _RECORD["expected_spend_usd"].as_float(),
    _RECORD["latency_ms"]["total"].as_float(),
    _RECORD["codes"],
)


class Listed(NamedTuple):
    """One page, newest first; `next` is the place of the page after it, empty at the end."""

    rows: list[Row]
    next: str


def page_query(wanted: Filter, after: str = "") -> sa.Select[Any]:
    """Return the query for one page and one row more."""
    query = sa.select(*_ROW).where(*wanted.where())
    created_at, _, decision_id = after.partition("~")
    if created_at and decision_id:
        # Not "before, or the same time and a smaller id": databases answer an OR with two looks or a whole scan.
        query = query.where(
            DECISIONS.c.created_at <= created_at,
            sa.not_(sa.and_(DECISIONS.c.created_at == created_at, DECISIONS.c.decision_id >= decision_id)),
        )
    newest_first = (DECISIONS.c.created_at.desc(), DECISIONS.c.decision_id.desc())
    return query.order_by(*newest_first).limit(PAGE_SIZE + 1)


def list_decisions(store: Store, wanted: Filter, after: str = "") -> Listed:
    """Return a page of decisions."""
    rows = [_row(found) for found in fetch(store, page_query(wanted, after))]
    is_more = len(rows) > PAGE_SIZE
    return Listed(rows[:PAGE_SIZE], rows[PAGE_SIZE - 1].place if is_more else "")


def decisions_from(store: Store, since: str, *, most: int) -> list[Row]:
    """Return decisions from a time on, oldest first."""
    query = sa.select(*_ROW).where(DECISIONS.c.created_at >= since)
    return [_row(found) for found in fetch(store, query.order_by(DECISIONS.c.created_at).limit(most))]


def session_records(store: Store, session_id: str, *, most: int) -> list[DecisionRecord]:
    """Return the newest records of a session, oldest first."""
    query = sa.select(_RECORD).where(DECISIONS.c.session_id == session_id)
    found = fetch(store, query.order_by(DECISIONS.c.created_at.desc()).limit(most))
    return [DecisionRecord.from_json(record) for (record,) in found][::-1]


def has_decisions(store: Store) -> bool:
    """Say whether anything was ever decided."""
    return bool(fetch(store, sa.select(DECISIONS.c.decision_id).limit(1)))


class Recent(NamedTuple):
    """The newest decisions in figures."""

    n: int
    since: str
    p50_ms: float | None
    p95_ms: float | None
    n_safe_default: int


def recent_figures(store: Store) -> Recent:
    """Return how fast the newest decisions were, and how many were the safe default."""
    query = (
        sa.select(DECISIONS.c.created_at, _RECORD["latency_ms"]["total"].as_float(), _RECORD["codes"])
        .order_by(DECISIONS.c.created_at.desc())
        .limit(N_RECENT)
    )
    found = fetch(store, query)
    times = sorted(ms for _, ms, _ in found if ms is not None)
    n_safe = sum("safe_default" in (codes or ()) for _, _, codes in found)
    since = found[-1][0] if found else ""
    return Recent(len(found), since, _quantile(times, 0.5), _quantile(times, 0.95), n_safe)


def known_values(store: Store, column: str, *, most: int = 100) -> list[str]:
    """Return the values that a column holds, found one after another in its index."""
    here = _COLUMNS[column]
    first = sa.select(sa.func.min(here).label("value")).cte("known", recursive=True)
    # The next value is the least one above the last: as many looks into the index as there are values.
    after = sa.select(sa.func.min(here)).where(here > first.c.value).scalar_subquery()
    walk = first.union_all(sa.select(after).where(first.c.value.is_not(None)))
    query = sa.select(walk.c.value).where(walk.c.value.is_not(None)).limit(most)
    return [value for (value,) in fetch(store, query)]


def fetch(store: Store, query: sa.Select[Any]) -> list[Any]:
    """Return every row of a query."""
    try:
        with store.engine.connect() as connection:
            return list(connection.execute(query))
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc


def _row(found: Any) -> Row:
    *plain, codes = found
    return Row._make((*plain, codes or ()))


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
