"""How right the classifier is: as its bundle's manifest says, and on the turns that reviewers labelled here.

A manifest is measured on rows that were put aside; reviewed turns are this service's own, and chosen: the queue asks
first about those that the classifier is unsure of, so figures on them are lower than on all turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from pointsman.classifier.assessment import Assessment
from pointsman.classifier.labels import HEADS
from pointsman.classifier.records import assessment_from_json
from pointsman.serving.store import DECISIONS, Store

from .decisions import fetch
from .reviews import REVIEWS

_MAX_TURNS: Final = 5_000
_N_BINS: Final = 10


class Bin(NamedTuple):
    """Turns of like confidence: how sure the model was, and how often it was right."""

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True, slots=True)
class HeadFigures:
    """One head: figures with their intervals where there are any, and what is drawn.

    Attributes
    ----------
    confusion : list of list of int
        Rows are what people said, columns what the model said, in label order; empty where it is not known.
    """

    head: str
    n: int
    accuracy: float | None
    macro_f1: float | None
    ece: float | None
    intervals: Mapping[str, Sequence[float]]
    labels: Mapping[str, Mapping[str, Any]]
    bins: tuple[Bin, ...] = ()
    confusion: Sequence[Sequence[int]] = ()


def of_manifest(metrics: Mapping[str, Any]) -> list[HeadFigures]:
    """Return the figures of a bundle's manifest; none where it was never evaluated."""
    evaluation = metrics.get("evaluation") or {}
    found = []
    for head in HEADS:
        values = (evaluation.get("heads") or {}).get(head)
        if not values:
            continue
        intervals = {
            name: (values.get(f"{name}_interval") or {}).get("by_group") or ()
            for name in ("accuracy", "macro_f1", "ece")
        }
        n_rows = int(evaluation.get("n_rows") or 0)
        bins = tuple(
            Bin(confidence, accuracy, round(share * n_rows))
            for share, confidence, accuracy in values.get("reliability") or ()
        )
        found.append(
            HeadFigures(
                head,
                n_rows,
                values.get("accuracy"),
                values.get("macro_f1"),
                values.get("ece"),
                intervals,
                values.get("labels") or {},
                bins,
                _matrix(values.get("confusion") or (), len(HEADS[head])),
            )
        )
    return found


def _matrix(cells: Sequence[Sequence[int]], n_labels: int) -> Sequence[Sequence[int]]:
    """Fill a matrix from its cells [row, column, turns]; empty for none, as in bundles that keep no tables."""
    matrix = [[0] * n_labels for _ in range(n_labels)] if cells else []
    for row, column, n in cells:
        matrix[row][column] = n
    return matrix


def reviewed_turns(store: Store, model_version: str) -> list[tuple[Assessment, dict[str, str]]]:
    """Return what a model thought of the newest reviewed turns, and what each of their reviewers said."""
    labels = [REVIEWS.c[head] for head in HEADS]
    query = (
        sa.select(DECISIONS.c.record["assessment"], *labels)
        .join(REVIEWS, REVIEWS.c.decision_id == DECISIONS.c.decision_id)
        .where(REVIEWS.c.category.is_not(None), DECISIONS.c.model_version == model_version)
        .order_by(REVIEWS.c.created_at.desc())
        .limit(_MAX_TURNS)
    )
    rows = fetch(store, query)
    return [(assessment_from_json(found), dict(zip(HEADS, said, strict=True))) for found, *said in rows if found]


def of_reviews(turns: Sequence[tuple[Assessment, Mapping[str, str]]]) -> list[HeadFigures]:
    """Measure reviewed turns; nothing without any."""
    return [_measured(head, names, turns) for head, names in HEADS.items()] if turns else []


def _measured(head: str, names: Sequence[str], turns: Sequence[tuple[Assessment, Mapping[str, str]]]) -> HeadFigures:
    confusion = [[0] * len(names) for _ in names]
    binned: list[list[tuple[float, bool]]] = [[] for _ in range(_N_BINS)]
    for assessment, said in turns:
        result = getattr(assessment, head)
        confusion[names.index(said[head])][names.index(result.label)] += 1
        place = min(_N_BINS - 1, int(result.probability * _N_BINS))
        binned[place].append((result.probability, result.label == said[head]))
    bins = tuple(
        Bin(sum(sure for sure, _ in rows) / len(rows), sum(right for _, right in rows) / len(rows), len(rows))
        for rows in binned
        if rows
    )
    n = len(turns)
    right = sum(confusion[place][place] for place in range(len(names)))
    ece = sum(found.n * abs(found.confidence - found.accuracy) for found in bins) / n
    return HeadFigures(head, n, right / n, None, ece, {}, {}, bins, confusion)
