"""What every router in a comparison is reduced to, whoever made it: a score per turn, a cut, perhaps a category."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from pointsman.classifier.labels import CATEGORIES

from .datasets import Example
from .evaluate import MIN_ROWS, CareReport, Draws, Intervals, measure_care, truth_of
from .metrics import accuracy, macro_f1

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contender:
    """One router's answers to the measured turns.

    Attributes
    ----------
    score : float array, shape (n_texts,)
        Higher goes to the careful model first.
    careful : bool array, shape (n_texts,), or None
        Whether the router's strongest models take the turn at its own default split; None when it has none.
    categories : sequence of str, or None
        In our labels; None when its classes do not map to them.
    ms_per_call : float or None
        Mean time of one call in its own process, loading left out.
    """

    name: str
    kind: Literal["bundle", "ablation", "baseline", "peer"]
    note: str
    score: FloatArray
    careful: BoolArray | None = None
    categories: Sequence[str] | None = None
    ms_per_call: float | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A router that was not measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class OwnSplit:
    """A router at its own default split: the share of turns it sends to its strongest models, and what it catches.

    `informedness` is the share of turns needing care that it catches minus the share of the others that it sends along:
    0 is chance, 1 is perfect.
    """

    share: float
    recall: float
    high_risk_recall: float
    informedness: float


@dataclass(frozen=True, slots=True)
class Standing:
    """One router, measured."""

    name: str
    kind: str
    note: str
    care: CareReport
    own_split: OwnSplit | None
    category_accuracy: float | None
    category_accuracy_interval: Intervals | None
    category_macro_f1: float | None
    ms_per_call: float | None


def measure(contender: Contender, examples: Sequence[Example], draws: Draws) -> Standing:
    """Measure one router against the labels."""
    accuracy_value, interval, f1 = _category(contender, examples, draws)
    return Standing(
        name=contender.name,
        kind=contender.kind,
        note=contender.note,
        care=measure_care(contender.score, examples, draws),
        own_split=own_split(contender.careful, examples) if contender.careful is not None else None,
        category_accuracy=accuracy_value,
        category_accuracy_interval=interval,
        category_macro_f1=f1,
        ms_per_call=contender.ms_per_call,
    )


def _category(
    contender: Contender, examples: Sequence[Example], draws: Draws
) -> tuple[float | None, Intervals | None, float | None]:
    if contender.categories is None:
        return None, None, None
    truth = truth_of("category", examples)
    predicted = np.array([CATEGORIES.index(category) for category in contender.categories], dtype=np.int64)

    def right(rows: npt.NDArray[np.int64]) -> float:
        return accuracy(truth[rows], predicted[rows])

    f1 = macro_f1(truth, predicted, len(CATEGORIES), min_rows=MIN_ROWS)
    return accuracy(truth, predicted), draws.intervals(right), f1


def own_split(careful: BoolArray, examples: Sequence[Example]) -> OwnSplit:
    """Measure a router where it cuts itself."""
    care = np.array([example.needs_care for example in examples])
    high = np.array([example.labels["risk"] == "high" for example in examples])
    share_of = partial(_mean_where, careful)
    return OwnSplit(
        share=float(careful.mean()),
        recall=share_of(care),
        high_risk_recall=share_of(high),
        informedness=share_of(care) - share_of(~care),
    )


def _mean_where(values: BoolArray, where: BoolArray) -> float:
    return float(values[where].mean()) if where.any() else float("nan")


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Order routers by the AUC of their care score, best first; the undefined last."""
    return sorted(standings, key=lambda s: -s.care.auc if np.isfinite(s.care.auc) else np.inf)
