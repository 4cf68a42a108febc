"""Labels that reviewers gave: one row per decision and reviewer, without labels where a turn was skipped.

A label is a person's judgement of stored text. It goes when its decision goes (`privacy.py`). Training reads the rows
with labels; of several reviewers of one turn each has a row.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.records import DecisionRecord, utc_now
from pointsman.serving.store import DECISIONS, METADATA, Store, failure_of, writing

REVIEWS: Final = sa.Table(
    "reviews",
    METADATA,
    sa.Column("decision_id", sa.Text, sa.ForeignKey("decisions.decision_id"), primary_key=True),
    sa.Column("reviewer", sa.Text, primary_key=True),
    sa.Column("created_at", sa.Text, nullable=False, index=True),
    sa.Column("category", sa.Text),
    sa.Column("risk", sa.Text),
    sa.Column("scope", sa.Text),
    sa.Column("turn", sa.Text),
)
#: Newest turns that the queue is made of.
MAX_POOL: Final = 500
#: Newest labels that agreement is counted over.
_MAX_LABELS: Final = 5_000
_RECORD: Final = DECISIONS.c.record
_OPEN: Final = sa.and_(
    DECISIONS.c.kind.in_(("task", "subagent")),
    DECISIONS.c.category.is_not(None),
    _RECORD["prompt"].as_string().is_not(None),
)


class Review(NamedTuple):
    """What one reviewer said of one turn; no labels where it was skipped."""

    decision_id: str
    reviewer: str
    created_at: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far reviewers agree on one head: of the pairs of labels, the share alike, and what chance leaves of it.

    `beyond_chance` is Scott's pi: 1 is full agreement, 0 as much as labels drawn at their own frequencies would have.
    """

    n_pairs: int
    share: float
    beyond_chance: float | None


def save_review(store: Store, decision_id: str, reviewer: str, labels: Mapping[str, str]) -> None:
    """Keep a reviewer's labels of all heads, or none for a turn that is skipped; what was said before is replaced.

    Raises
    ------
    InputError
        There is no such turn, or a label is missing or unknown.
    """
    if labels:
        wrong = [head for head, known in HEADS.items() if labels.get(head) not in known]
        if wrong:
            raise InputError(f"{', '.join(wrong)}: expected one of its labels. Choose one for each head, or skip.")
    given: dict[str, str | None] = {head: labels.get(head) for head in HEADS}
    row: dict[str, str | None] = {"decision_id": decision_id, "reviewer": reviewer, "created_at": utc_now(), **given}
    try:
        with writing(store.engine).begin() as connection:
            there = sa.select(DECISIONS.c.decision_id).where(DECISIONS.c.decision_id == decision_id, _OPEN)
            if connection.execute(there).first() is None:
                raise InputError("This turn is not there any more, or its text is not. Go on with the next one.")
            insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
            said: dict[str, str | None] = {"created_at": row["created_at"], **given}
            key = [REVIEWS.c.decision_id, REVIEWS.c.reviewer]
            connection.execute(insert(REVIEWS).values(row).on_conflict_do_update(index_elements=key, set_=said))
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc


def undo_review(store: Store, reviewer: str) -> str | None:
    """Take a reviewer's last row back; return the decision, None where there was none."""
    mine = sa.select(REVIEWS.c.decision_id).where(REVIEWS.c.reviewer == reviewer)
    try:
        with writing(store.engine).begin() as connection:
            last = connection.execute(mine.order_by(REVIEWS.c.created_at.desc()).limit(1)).scalar_one_or_none()
            if last is not None:
                here = sa.and_(REVIEWS.c.decision_id == last, REVIEWS.c.reviewer == reviewer)
                connection.execute(sa.delete(REVIEWS).where(here))
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
    return last


def open_turns(store: Store, reviewer: str) -> tuple[list[DecisionRecord], set[str]]:
    """Return the newest turns with text that a reviewer has not seen, and those of them that another labelled."""
    mine = sa.exists().where(REVIEWS.c.decision_id == DECISIONS.c.decision_id, REVIEWS.c.reviewer == reviewer)
    labelled = sa.exists().where(REVIEWS.c.decision_id == DECISIONS.c.decision_id, REVIEWS.c.category.is_not(None))
    query = (
        sa.select(_RECORD, labelled.correlate(DECISIONS))
        .where(_OPEN, ~mine)
        .order_by(DECISIONS.c.created_at.desc())
        .limit(MAX_POOL)
    )
    rows = _rows(store, query)
    records = [DecisionRecord.from_json(record) for record, _ in rows]
    return records, {record.decision_id for record, (_, is_second) in zip(records, rows, strict=True) if is_second}


def reviews_of(store: Store, decision_id: str) -> list[Review]:
    """Return what was said of one turn, skips left out."""
    return _reviews(store, REVIEWS.c.decision_id == decision_id)


def labelled_reviews(store: Store) -> list[Review]:
    """Return the newest labels, newest first."""
    return _reviews(store, sa.true())


def n_reviews(store: Store) -> dict[str, int]:
    """Return how many turns each reviewer labelled."""
    query = (
        sa.select(REVIEWS.c.reviewer, sa.func.count())
        .where(REVIEWS.c.category.is_not(None))
        .group_by(REVIEWS.c.reviewer)
        .order_by(REVIEWS.c.reviewer)
    )
    return {reviewer: n for reviewer, n in _rows(store, query)}


def agreement(reviews: Iterable[Review]) -> dict[str, Agreement]:
    """Return how far reviewers agree, per head, over every pair of labels of one turn."""
    pairs = [pair for given in by_turn(reviews).values() for pair in combinations(given, 2)]
    return {head: _agreement([(a.labels[head], b.labels[head]) for a, b in pairs]) for head in HEADS}


def disagreements(reviews: Iterable[Review]) -> dict[str, list[Review]]:
    """Return the turns whose reviewers differ, by decision."""
    return {
        decision_id: given
        for decision_id, given in by_turn(reviews).items()
        if any(len({review.labels[head] for review in given}) > 1 for head in HEADS)
    }


def by_turn(reviews: Iterable[Review]) -> dict[str, list[Review]]:
    """Return the reviews of turns that have several, by decision."""
    found: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        found[review.decision_id].append(review)
    return {decision_id: given for decision_id, given in found.items() if len(given) > 1}


def _agreement(pairs: list[tuple[str, str]]) -> Agreement:
    if not pairs:
        return Agreement(0, 0.0, None)
    share = sum(a == b for a, b in pairs) / len(pairs)
    counts = Counter(label for pair in pairs for label in pair)
    chance = sum((n / (2 * len(pairs))) ** 2 for n in counts.values())
    return Agreement(len(pairs), share, (share - chance) / (1 - chance) if chance < 1 else None)


def _reviews(store: Store, which: sa.ColumnElement[bool]) -> list[Review]:
    heads = [REVIEWS.c[head] for head in HEADS]
    query = (
        sa.select(REVIEWS.c.decision_id, REVIEWS.c.reviewer, REVIEWS.c.created_at, *heads)
        .where(which, REVIEWS.c.category.is_not(None))
        .order_by(REVIEWS.c.created_at.desc())
        .limit(_MAX_LABELS)
    )
    rows = _rows(store, query)
    return [_review(*row) for row in rows]


def _review(decision_id: str, reviewer: str, created_at: str, *labels: str) -> Review:
    return Review(decision_id, reviewer, created_at, {str(head): x for head, x in zip(HEADS, labels, strict=True)})


def _rows(store: Store, query: sa.Select[Any]) -> list[Any]:
    try:
        with store.engine.connect() as connection:
            return list(connection.execute(query))
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc
