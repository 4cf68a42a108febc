"""Two bundles on the same turns: every figure of both, and the difference with its noise.

Differences are paired: each bootstrap draw takes the same groups for both, so what is hard for both cancels out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pointsman.classifier.assessor import Assessor
from pointsman.classifier.labels import HEADS, Head

from .config import ContestConfig
from .datasets import Example
from .evaluate import assess_examples, probabilities_of, truth_of
from .metrics import bootstrap_interval, expected_calibration_error, recall_at_share, resample

Rows = npt.NDArray[np.int64]
Statistic = Callable[["Side", Rows], float]


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both bundles. `rise` is challenger minus champion, with the 95 % interval of the paired bootstrap.

    `p_rise` and `p_fall` are the shares of draws in which it rises and falls.
    """

    champion: float
    challenger: float
    interval: tuple[float, float]
    p_rise: float
    p_fall: float
    n_rows: int

    @property
    def rise(self) -> float:
        return self.challenger - self.champion

    def shown(self) -> str:
        """Return the figure for people."""
        low, high = self.interval
        return f"{self.champion:.3f} -> {self.challenger:.3f} ({self.rise:+.3f}; {low:+.3f} to {high:+.3f})"


@dataclass(frozen=True, slots=True)
class SetFigures:
    """Both bundles on one set of turns: figures by name, and per label, language and time."""

    n_rows: int
    n_groups: int
    figures: dict[str, Difference]
    recall: dict[str, Difference]
    languages: dict[str, Difference]
    days: dict[str, Difference]


@dataclass(frozen=True)
class Side:
    """What one bundle says of the turns of one set."""

    examples: Sequence[Example]
    probabilities: Mapping[Head, npt.NDArray[np.float64]]
    care: npt.NDArray[np.float64]
    threshold: float | None = None

    @classmethod
    def of(cls, assessor: Assessor, examples: Sequence[Example]) -> "Side":
        assessments = assess_examples(assessor, examples)
        bound = assessor.risk_bound
        return cls(
            examples,
            {head: probabilities_of(head, assessments) for head in HEADS},
            np.array([assessment.care_probability for assessment in assessments]),
            None if bound is None else bound.threshold,
        )

    @cached_property
    def truth(self) -> dict[Head, Rows]:
        return {head: truth_of(head, self.examples) for head in HEADS}

    @cached_property
    def right(self) -> dict[Head, npt.NDArray[np.bool_]]:
        return {head: self.probabilities[head].argmax(axis=1) == self.truth[head] for head in HEADS}

    @cached_property
    def loss(self) -> npt.NDArray[np.float64]:
        """Log loss of each row, mean over the heads."""
        rows = np.arange(len(self.examples))
        true = np.stack([self.probabilities[head][rows, self.truth[head]] for head in HEADS])
        return np.asarray(-np.log(np.maximum(true, 1e-12)).mean(axis=0), dtype=np.float64)

    @cached_property
    def needs_care(self) -> npt.NDArray[np.bool_]:
        return np.array([example.needs_care for example in self.examples], dtype=np.bool_)

    @cached_property
    def is_high_risk(self) -> npt.NDArray[np.bool_]:
        return np.array([example.labels["risk"] == "high" for example in self.examples], dtype=np.bool_)


def compare(champion: Side, challenger: Side, config: ContestConfig, *, days: Sequence[str] = ()) -> SetFigures:
    """Return every figure of two sides of one set."""
    examples = champion.examples
    groups = [example.group for example in examples]
    draws = resample(groups, config.n_draws, seed=config.seed)

    def differ(statistic: Statistic, within: npt.NDArray[np.bool_] | None = None) -> Difference:
        return difference(champion, challenger, statistic, draws, within)

    def of(select: Callable[[Example], bool]) -> npt.NDArray[np.bool_]:
        return np.array([select(example) for example in examples], dtype=np.bool_)

    figures = {"log loss": differ(lambda side, rows: float(side.loss[rows].mean()))}
    for head in HEADS:
        figures[f"{head} accuracy"] = differ(_accuracy(head))
    for head in ("category", "risk"):
        figures[f"{head} calibration error"] = differ(_calibration_error(head))
    for share in config.care_shares:
        figures[f"needs care, missed at {share:.0%}"] = differ(_missed(share))
    if champion.threshold is not None and challenger.threshold is not None:
        figures["needs care, missed at the risk bound"] = differ(_missed_at_bound, champion.needs_care)
    figures["high risk, missed at 50%"] = differ(_high_risk_missed)
    recall = {
        f"{head} {label}": differ(_accuracy(head), chosen)
        for head in ("category", "risk")
        for label in HEADS[head]
        if (chosen := of(lambda example, h=head, known=label: example.labels[h] == known)).sum() >= config.min_rows  # type: ignore[misc]
    }
    languages = {
        lang: differ(_accuracy("category"), chosen)
        for lang in sorted({example.lang for example in examples})
        if (chosen := of(lambda example, known=lang: example.lang == known)).sum() >= config.min_rows  # type: ignore[misc]
    }
    by_day = {day: differ(_accuracy("category"), np.array(days) == day) for day in sorted(set(days))} if days else {}
    return SetFigures(len(examples), len(set(groups)), figures, recall, languages, by_day)


def difference(
    champion: Side,
    challenger: Side,
    statistic: Statistic,
    draws: Sequence[Rows],
    within: npt.NDArray[np.bool_] | None = None,
) -> Difference:
    """Compare one figure, over all rows or those `within`; every draw takes the same rows for both."""
    chosen = np.ones(len(champion.examples), dtype=np.bool_) if within is None else within
    everything = np.flatnonzero(chosen)
    rises = []
    for drawn in draws:
        rows = drawn[chosen[drawn]]
        if len(rows):
            rises.append(statistic(challenger, rows) - statistic(champion, rows))
    known = np.array([rise for rise in rises if np.isfinite(rise)])
    return Difference(
        champion=statistic(champion, everything),
        challenger=statistic(challenger, everything),
        interval=bootstrap_interval(known),
        p_rise=float((known > 0).mean()) if len(known) else float("nan"),
        p_fall=float((known < 0).mean()) if len(known) else float("nan"),
        n_rows=len(everything),
    )


def _accuracy(head: str) -> Statistic:
    return lambda side, rows: float(side.right[head][rows].mean())  # type: ignore[index]  # a head's name


def _calibration_error(head: str) -> Statistic:
    return lambda side, rows: expected_calibration_error(
        side.truth[head][rows],  # type: ignore[index]
        side.probabilities[head][rows],  # type: ignore[index]
    )


def _missed(share: float) -> Statistic:
    return lambda side, rows: 1 - recall_at_share(side.needs_care[rows], side.care[rows], share)


def _missed_at_bound(side: Side, rows: Rows) -> float:
    return float((side.care[rows] <= (side.threshold or 0.0)).mean())


def _high_risk_missed(side: Side, rows: Rows) -> float:
    return 1 - recall_at_share(side.is_high_risk[rows], side.care[rows], 0.5)
