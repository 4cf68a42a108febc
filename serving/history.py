"""What the record store knows of the past, as the learning and the budgets need it: light rows, summed in SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.drift import SeenSignals, signals_of
from pointsman.classifier.labels import HEADS
from pointsman.classifier.limits import Caller
from pointsman.classifier.outcomes import Judged, SeenLoad, SeenTurn
from pointsman.classifier.records import DecisionRecord, FeedbackRecord
from pointsman.classifier.request import MAX_COUNT

from .store import DECISIONS, FEEDBACK, Store, failure_of

#: Newest turns that outcomes are counted over: beyond this the posteriors hardly move, and a look costs time.
MAX_TURNS: Final = 20_000
_RECORD: Final = DECISIONS.c.record
_BEGINS: Final = sa.and_(DECISIONS.c.kind.in_(("task", "subagent")), DECISIONS.c.category.is_not(None))


class Spent(NamedTuple):
    """What one caller has spent."""

    caller: Caller
    usd: float


def seen_turns(store: Store, since: str) -> list[SeenTurn]:
    """Return the newest turns decided since a time."""
    query = (
        sa.select(
            DECISIONS.c.decision_id,
            DECISIONS.c.created_at,
            # Without a session the key may be another person's, too.
            sa.case((sa.func.coalesce(_text("session_id"), "") != "", _text("next_state_key")), else_=""),
            DECISIONS.c.model,
            DECISIONS.c.category,
            _RECORD["assessment"]["turn"]["correct"].as_float(),
        )
        .where(_BEGINS, DECISIONS.c.created_at >= since)
        .order_by(DECISIONS.c.created_at.desc())
        .limit(MAX_TURNS)
    )
    return [SeenTurn(*row) for row in _rows(store, query)]


def judgements(store: Store, since: str) -> list[Judged]:
    """Return the newest feedback since a time: of as many turns as are looked at, and more."""
    query = (
        sa.select(
            FEEDBACK.c.decision_id,
            FEEDBACK.c.created_at,
            FEEDBACK.c.outcome,
            FEEDBACK.c.record["labels"]["category"].as_string(),
        )
        .where(FEEDBACK.c.created_at >= since)
        .order_by(FEEDBACK.c.created_at.desc())
        .limit(2 * MAX_TURNS)
    )
    return [Judged(*row) for row in _rows(store, query)]


def seen_loads(store: Store, since: str) -> list[SeenLoad]:
    """Return what whole turns sent since a time: their requests, how far their context grew, and what they put out."""
    tokens = _RECORD["context_tokens"].as_integer()
    # A gateway that asks once a turn tells nothing of the requests after it: sessions without a tool loop are left out.
    looping = sa.select(_text("next_state_key")).where(DECISIONS.c.kind == "tool_loop", DECISIONS.c.created_at >= since)
    query = (
        sa.select(
            sa.func.min(DECISIONS.c.category),
            sa.func.min(DECISIONS.c.scope),
            sa.func.count(),
            sa.func.max(tokens) - sa.func.min(tokens),
            sa.func.max(_RECORD["output_tokens"].as_integer()),
        )
        .where(DECISIONS.c.category.is_not(None), DECISIONS.c.created_at >= since, _text("turn_key") != "")
        .where(_text("next_state_key").in_(looping))
        # Of earlier releases: PostgreSQL fails the whole look on a larger integer, and no request has as many tokens.
        .where(_RECORD["context_tokens"].as_float() <= MAX_COUNT)
        .group_by(_text("turn_key"))
        # A turn whose beginning lies before `since` would look short.
        .having(sa.func.max(sa.case((_BEGINS, 1), else_=0)) == 1)
        .limit(MAX_TURNS)
    )
    return [SeenLoad(*row) for row in _rows(store, query)]


def seen_signals(store: Store, since: str) -> list[SeenSignals]:
    """Return the newest turns decided since a time, as drift is read from them; feedback says which failed."""
    judged = (
        sa.select(
            FEEDBACK.c.decision_id, sa.func.min(sa.case((FEEDBACK.c.outcome == "success", 0), else_=1)).label("bad")
        )
        .group_by(FEEDBACK.c.decision_id)
        .subquery()
    )
    query = (
        sa.select(
            DECISIONS.c.created_at,
            _RECORD["assessment"]["novelty"].as_float(),
            _RECORD["n_chars"].as_integer(),
            _text("script"),
            judged.c.bad,
            *(DECISIONS.c[head] for head in HEADS),
        )
        .select_from(DECISIONS.outerjoin(judged, judged.c.decision_id == DECISIONS.c.decision_id))
        .where(_BEGINS, DECISIONS.c.created_at >= since)
        .order_by(DECISIONS.c.created_at.desc())
        .limit(MAX_TURNS)
    )
    return [
        signals_of(
            created_at[:10],
            novelty=novelty,
            n_chars=n_chars,
            script=script,
            labels=dict(zip(HEADS, labels, strict=True)),
            failed=None if bad is None else bool(bad),
        )
        for created_at, novelty, n_chars, script, bad, *labels in _rows(store, query)
    ]


def spent_since(store: Store, since: str) -> list[Spent]:
    """Return what each caller's turns cost since a time: as reported with feedback, else as expected."""
    who = [_text(name) for name in ("project", "team", "key_id")]
    reported = (
        sa.select(FEEDBACK.c.decision_id, sa.func.max(FEEDBACK.c.record["cost_usd"].as_float()).label("usd"))
        .group_by(FEEDBACK.c.decision_id)
        .subquery()
    )
    usd = sa.func.coalesce(reported.c.usd, _RECORD["expected_spend_usd"].as_float(), 0.0)
    query = (
        sa.select(*who, sa.func.sum(usd))
        .select_from(DECISIONS.outerjoin(reported, reported.c.decision_id == DECISIONS.c.decision_id))
        .where(DECISIONS.c.created_at >= since)
        .group_by(*who)
    )
    rows = _rows(store, query)
    return [Spent(Caller(project, team, key_id), float(amount)) for project, team, key_id, amount in rows]


def decisions_between(store: Store, since: str, until: str, *, newest: int | None = None) -> Iterator[DecisionRecord]:
    """Return the records of decisions from a time on and before another, empty for no end; all, or the newest."""
    query = sa.select(_RECORD).order_by(DECISIONS.c.created_at.desc(), DECISIONS.c.decision_id).limit(newest)
    if since:
        query = query.where(DECISIONS.c.created_at >= since)
    if until:
        query = query.where(DECISIONS.c.created_at < until)
    return (DecisionRecord.from_json(row) for (row,) in _rows(store, query))


def feedback_since(store: Store, since: str) -> Iterator[FeedbackRecord]:
    """Return the records of feedback since a time, oldest first."""
    query = sa.select(FEEDBACK.c.record).where(FEEDBACK.c.created_at >= since).order_by(FEEDBACK.c.created_at)
    return (FeedbackRecord.from_json(row) for (row,) in _rows(store, query))


def last_of_session(store: Store, session_id: str, *, turn_key: str | None = None) -> DecisionRecord | None:
    """Return the last decision of a session's own conversation; of a turn, the one that began it."""
    kinds = ("task", "tool_loop") if turn_key is None else ("task",)
    query = (
        sa.select(_RECORD)
        .where(DECISIONS.c.session_id == session_id, DECISIONS.c.kind.in_(kinds), _text("agent_id").is_(None))
        .order_by(DECISIONS.c.created_at.desc())
        .limit(1)
    )
    if turn_key is not None:
        query = query.where(_text("turn_key") == turn_key)
    return next((DecisionRecord.from_json(row) for (row,) in _rows(store, query)), None)


def _text(name: str) -> Any:
    return _RECORD[name].as_string()


def _rows(store: Store, query: sa.Select[Any]) -> Iterator[Any]:
    try:
        with store.engine.connect() as connection:
            yield from connection.execute(query)
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
