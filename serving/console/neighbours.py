"""The labelled turns that read most like a prompt: out of this service's own store, where it keeps text.

The bundle ships weights and no texts, so its training examples cannot be shown.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from pointsman.classifier.labels import HEADS
from pointsman.classifier.records import DecisionRecord
from pointsman.serving.store import DECISIONS, FEEDBACK, Store

from .decisions import fetch
from .reviews import REVIEWS

#: Newest labelled turns that are compared: each costs one run of the model, once.
MAX_TURNS: Final = 128
N_SHOWN: Final = 5
_N_KEPT: Final = 512


class Labelled(NamedTuple):
    """A stored turn and the labels that people gave it."""

    record: DecisionRecord
    labels: dict[str, str]
    by: str


class Neighbour(NamedTuple):
    """A labelled turn and how alike it reads, as the cosine of two embeddings."""

    turn: Labelled
    likeness: float


class Embeddings:
    """Embeddings of stored turns, kept so that each is worked out once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, npt.NDArray[np.float32]] = OrderedDict()
        self._version = ""

    def missing(self, turns: list[Labelled], version: str) -> list[Labelled]:
        """Return the turns whose embedding is not known yet; another model knows none."""
        if version != self._version:
            self._kept.clear()
            self._version = version
        return [turn for turn in turns if turn.record.decision_id not in self._kept]

    def keep(self, turns: list[Labelled], vectors: npt.NDArray[np.float32]) -> None:
        """Keep embeddings; the oldest go."""
        for turn, vector in zip(turns, vectors, strict=True):
            self._kept[turn.record.decision_id] = vector
        while len(self._kept) > _N_KEPT:
            self._kept.popitem(last=False)

    def nearest(self, turns: list[Labelled], vector: npt.NDArray[np.float32]) -> list[Neighbour]:
        """Return the turns that read most like a text, the likest first."""
        found = [
            Neighbour(turn, float(self._kept[turn.record.decision_id] @ vector))
            for turn in turns
            if turn.record.decision_id in self._kept
        ]
        return sorted(found, key=lambda neighbour: -neighbour.likeness)[:N_SHOWN]


def labelled_turns(store: Store) -> list[Labelled]:
    """Return the newest turns with stored text that people labelled, in a review or with feedback."""
    turns: dict[str, Labelled] = {}
    for record, labels, by in (*_reviewed(store), *_corrected(store)):
        decided = DecisionRecord.from_json(record)
        if decided.prompt and labels and decided.decision_id not in turns:
            turns[decided.decision_id] = Labelled(decided, labels, by)
    return list(turns.values())[:MAX_TURNS]


def _reviewed(store: Store) -> list[tuple[Any, dict[str, str], str]]:
    given = [REVIEWS.c[head] for head in HEADS]
    query = (
        sa.select(DECISIONS.c.record, REVIEWS.c.reviewer, *given)
        .join(DECISIONS, DECISIONS.c.decision_id == REVIEWS.c.decision_id)
        .where(REVIEWS.c.category.is_not(None))
        .order_by(REVIEWS.c.created_at.desc())
        .limit(MAX_TURNS)
    )
    rows = fetch(store, query)
    return [
        (record, {head: label for head, label in zip(HEADS, labels, strict=True) if label}, reviewer)
        for record, reviewer, *labels in rows
    ]


def _corrected(store: Store) -> list[tuple[Any, dict[str, str], str]]:
    query = (
        sa.select(DECISIONS.c.record, FEEDBACK.c.record["labels"])
        .join(DECISIONS, DECISIONS.c.decision_id == FEEDBACK.c.decision_id)
        .where(FEEDBACK.c.record["labels"]["category"].as_string().is_not(None))
        .order_by(FEEDBACK.c.created_at.desc())
        .limit(MAX_TURNS)
    )
    return [(record, dict(labels), "feedback") for record, labels in fetch(store, query)]
