"""Measure a bundle on labelled turns. What ships is what is measured: the int8 graph through the runtime's own code.

Every figure comes with two 95 % bootstrap intervals. The one by group draws whole repositories or authors and is the
honest one, since turns of one group resemble each other; the one by row takes turns for independent and is narrower.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pointsman.classifier.assessment import Assessment
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.labels import HEADS, Head

from .datasets import Example
from .metrics import (
    CostRiskPoint,
    ReliabilityBin,
    accuracy,
    auc,
    bootstrap_interval,
    calibration_error_by_chance,
    confusion_matrix,
    cost_risk_curve,
    expected_calibration_error,
    precision_recall_f1,
    recall_at_share,
    reliability,
    resample,
)

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Interval = tuple[float, float]

#: A label counts in the macro-F1 with at least this many rows.
MIN_ROWS: Final = 10
SHARES: Final = (0.2, 0.3, 0.4, 0.5)
#: Price of a cheap model over that of a careful one, for the cost axis of the curve. The default catalogue's pair is
#: cheaper still; a tenth flatters no one.
PRICE_RATIO: Final = 0.1


@dataclass(frozen=True, slots=True)
class Intervals:
    """95 % bootstrap intervals of one figure."""

    by_group: Interval
    by_row: Interval


@dataclass(frozen=True, slots=True)
class Draws:
    """Bootstrap draws of row indices, shared by every figure so that they are comparable."""

    by_group: Sequence[IntArray]
    by_row: Sequence[IntArray]

    @classmethod
    def of(cls, examples: Sequence[Example], n_draws: int, *, seed: int = 0) -> "Draws":
        return cls(
            by_group=resample([example.group for example in examples], n_draws, seed=seed),
            by_row=resample([str(row) for row in range(len(examples))], n_draws, seed=seed),
        )

    def intervals(self, statistic: Callable[[IntArray], float]) -> Intervals:
        """Return both intervals of a figure, computed anew on the rows of each draw."""
        by_group, by_row = (
            bootstrap_interval([statistic(rows) for rows in draws]) for draws in (self.by_group, self.by_row)
        )
        return Intervals(by_group, by_row)


@dataclass(frozen=True, slots=True)
class LabelReport:
    """One label of a head; 0 where nothing was predicted or nothing was there."""

    n_rows: int
    precision: float
    recall: float
    f1: float
    precision_interval: Intervals
    recall_interval: Intervals
    f1_interval: Intervals


@dataclass(frozen=True, slots=True)
class HeadReport:
    """One head on one split.

    `macro_f1` is over labels with at least `MIN_ROWS` rows, `macro_f1_all` over all that occur. `ece_by_chance` is
    where the calibration error of a perfectly calibrated head lies on as many rows. `confusion` counts rows by (true
    label, predicted label), in label order.
    """

    accuracy: float
    accuracy_interval: Intervals
    macro_f1: float
    macro_f1_interval: Intervals
    macro_f1_all: float
    macro_f1_all_interval: Intervals
    ece: float
    ece_interval: Intervals
    ece_by_chance: Interval
    reliability: list[ReliabilityBin]
    labels: dict[str, LabelReport]
    confusion: list[list[int]]


@dataclass(frozen=True, slots=True)
class CareReport:
    """The choice between a careful and a cheap model.

    `recall` is the share of turns that need care among the given share of turns with the highest care score;
    `high_risk_missed` the share of high-risk turns outside it.
    """

    n_needs_care: int
    n_high_risk: int
    auc: float
    auc_interval: Intervals
    recall: dict[str, float]
    recall_interval: dict[str, Intervals]
    high_risk_missed: dict[str, float]
    high_risk_missed_interval: dict[str, Intervals]
    curve: list[CostRiskPoint]


@dataclass(frozen=True, slots=True)
class Report:
    """A bundle on a set of labelled turns."""

    model_version: str
    n_rows: int
    n_groups: int
    heads: dict[Head, HeadReport]
    care: CareReport


def assess_examples(assessor: Assessor, examples: Sequence[Example]) -> list[Assessment]:
    """Assess examples in order and one at a time, since that is how requests are served.

    The int8 graph scales activations over the whole batch, so a text's neighbours move its probabilities. On the stakes
    set (330 turns, minilm-1, 2026-11-22) batches of 16 gave 7 % of turns another category than they get alone.
    """
    return [assessor.assess_texts([example.text])[0] for example in examples]


def evaluate(assessor: Assessor, examples: Sequence[Example], *, n_bootstrap: int = 1000, seed: int = 0) -> Report:
    """Measure a bundle on labelled turns it was not trained on."""
    draws = Draws.of(examples, n_bootstrap, seed=seed)
    return report_of(assessor.version, assess_examples(assessor, examples), examples, draws)


def report_of(version: str, assessments: Sequence[Assessment], examples: Sequence[Example], draws: Draws) -> Report:
    """Measure assessments against the labels of the turns they belong to."""
    return Report(
        model_version=version,
        n_rows=len(examples),
        n_groups=len({example.group for example in examples}),
        heads={head: measure_head(head, probabilities_of(head, assessments), examples, draws) for head in HEADS},
        care=measure_care(np.array([assessment.care_probability for assessment in assessments]), examples, draws),
    )


def probabilities_of(head: Head, assessments: Sequence[Assessment]) -> FloatArray:
    """Collect the probabilities of one head; shape (n_texts, n_labels)."""
    return np.array([getattr(assessment, head).probabilities for assessment in assessments], dtype=np.float64)


def truth_of(head: Head, examples: Sequence[Example]) -> IntArray:
    """Collect the index of the true label of one head; shape (n_texts,)."""
    return np.array([HEADS[head].index(example.labels[head]) for example in examples], dtype=np.int64)


def measure_head(head: Head, probabilities: FloatArray, examples: Sequence[Example], draws: Draws) -> HeadReport:
    """Measure one head's calibrated probabilities, shape (n_texts, n_labels)."""
    labels = HEADS[head]
    truth, predicted = truth_of(head, examples), probabilities.argmax(axis=1)
    confusion = confusion_matrix(truth, predicted, len(labels))
    scores = _Scores(truth, predicted, confusion, draws)
    frequent, present = confusion.sum(1) >= MIN_ROWS, confusion.sum(1) > 0
    return HeadReport(
        accuracy=accuracy(truth, predicted),
        accuracy_interval=draws.intervals(lambda rows: accuracy(truth[rows], predicted[rows])),
        macro_f1=scores.macro_f1(frequent),
        macro_f1_interval=scores.macro_f1_interval(frequent),
        macro_f1_all=scores.macro_f1(present),
        macro_f1_all_interval=scores.macro_f1_interval(present),
        ece=expected_calibration_error(truth, probabilities),
        ece_interval=draws.intervals(lambda rows: expected_calibration_error(truth[rows], probabilities[rows])),
        ece_by_chance=calibration_error_by_chance(probabilities),
        reliability=reliability(truth, probabilities),
        labels={label: scores.label(index) for index, label in enumerate(labels)},
        confusion=confusion.tolist(),
    )


class _Scores:
    """Precision, recall and F1 of the labels of one head, on all rows and on every draw."""

    def __init__(self, truth: IntArray, predicted: IntArray, confusion: IntArray, draws: Draws) -> None:
        n_labels = len(confusion)
        self._n_rows = confusion.sum(1)
        self._all = precision_recall_f1(confusion)  # (3, n_labels)
        matrices = {
            name: np.array([confusion_matrix(truth[rows], predicted[rows], n_labels) for rows in drawn])
            for name, drawn in (("by_group", draws.by_group), ("by_row", draws.by_row))
        }
        # A label that a draw lacks has no score there, rather than 0.
        self._drawn = {
            name: np.where(stack.sum(-1)[:, None, :] > 0, precision_recall_f1(stack), np.nan)
            for name, stack in matrices.items()
        }  # each (n_draws, 3, n_labels)

    def label(self, index: int) -> LabelReport:
        precision, recall, f1 = self._all[:, index].tolist()
        intervals = [
            Intervals(**{name: bootstrap_interval(drawn[:, row, index]) for name, drawn in self._drawn.items()})
            for row in range(3)
        ]
        return LabelReport(int(self._n_rows[index]), precision, recall, f1, *intervals)

    def macro_f1(self, counted: BoolArray) -> float:
        return float(self._all[2, counted].mean()) if counted.any() else float("nan")

    def macro_f1_interval(self, counted: BoolArray) -> Intervals:
        return Intervals(
            **{name: bootstrap_interval(_row_means(drawn[:, 2, counted])) for name, drawn in self._drawn.items()}
        )


def _row_means(values: FloatArray) -> FloatArray:
    """Return the mean of each row without its NaN; NaN for a row of nothing else."""
    n_values = np.isfinite(values).sum(axis=1)
    means = np.full(len(values), np.nan)
    np.divide(np.nansum(values, axis=1), n_values, out=means, where=n_values > 0)
    return means


def measure_care(score: FloatArray, examples: Sequence[Example], draws: Draws) -> CareReport:
    """Measure any score for the choice of a careful model: the higher, the sooner a turn goes there."""
    care = np.array([example.needs_care for example in examples])
    high = np.array([example.labels["risk"] == "high" for example in examples])

    def caught(wanted: BoolArray, share: float, rows: IntArray) -> float:
        return recall_at_share(wanted[rows], score[rows], share)

    def missed(share: float, rows: IntArray) -> float:
        return 1 - caught(high, share, rows)

    everything = np.arange(len(examples))
    names = {_percent(share): share for share in SHARES}
    return CareReport(
        n_needs_care=int(care.sum()),
        n_high_risk=int(high.sum()),
        auc=auc(care, score),
        auc_interval=draws.intervals(lambda rows: auc(care[rows], score[rows])),
        recall={name: caught(care, share, everything) for name, share in names.items()},
        recall_interval={name: draws.intervals(partial(caught, care, share)) for name, share in names.items()},
        high_risk_missed={name: missed(share, everything) for name, share in names.items()},
        high_risk_missed_interval={name: draws.intervals(partial(missed, share)) for name, share in names.items()},
        curve=cost_risk_curve(care, high, score, price_ratio=PRICE_RATIO),
    )


def _percent(share: float) -> str:
    return f"{share:.0%}"


def render(report: Report) -> str:
    """Lay a report out as a plain table."""
    lines = [
        f"model {report.model_version} on {report.n_rows} turns of {report.n_groups} groups",
        "95 %: bootstrap over groups; a set of few groups gives wide intervals, and rightly",
        "",
        f"{'head':<10}{'accuracy':>10}{'95 %':>14}{'macro-F1':>11}{'95 %':>14}{'of all':>9}{'ECE':>8}{'by chance':>14}",
    ]
    for head, result in report.heads.items():
        lines.append(
            f"{head:<10}{result.accuracy:>10.3f}{_show(result.accuracy_interval):>14}"
            f"{result.macro_f1:>11.3f}{_show(result.macro_f1_interval):>14}{result.macro_f1_all:>9.3f}{result.ece:>8.3f}"
            f"{'{:.3f}-{:.3f}'.format(*result.ece_by_chance):>14}"
        )
    care = report.care
    lines += [
        f"macro-F1 over labels with at least {MIN_ROWS} rows, and over all that occur; "
        "ECE by chance: where it lies on so few rows when calibration is perfect",
        "",
        f"careful or cheap: {care.n_needs_care} turns need care, {care.n_high_risk} are high risk; "
        f"AUC {care.auc:.3f} ({_show(care.auc_interval)})",
        f"{'share sent to the careful model':<34}" + "".join(f"{share:>8}" for share in care.recall),
        f"{'turns needing care that it gets':<34}" + "".join(f"{value:>8.3f}" for value in care.recall.values()),
        f"{'high-risk turns that it misses':<34}"
        + "".join(f"{value:>8.3f}" for value in care.high_risk_missed.values()),
        "",
        f"{'category':<16}{'rows':>6}{'precision':>11}{'recall':>8}{'F1':>7}{'95 %':>14}",
    ]
    for label, score in report.heads["category"].labels.items():
        lines.append(
            f"{label:<16}{score.n_rows:>6}{score.precision:>11.3f}{score.recall:>8.3f}{score.f1:>7.3f}"
            f"{_show(score.f1_interval):>14}"
        )
    return "\n".join(lines)


def _show(intervals: Intervals) -> str:
    low, high = intervals.by_group
    return f"{low:.3f}-{high:.3f}"


def to_json(report: Report, *, complete: bool = False) -> dict[str, Any]:
    """Return the report as JSON values; NaN becomes null.

    As a bundle's manifest keeps them: the headline figures, and two tables per head in short, `confusion` as cells
    [row, column, turns] that hold any (rows are the true labels, in label order) and `reliability` as bins
    [share of turns, confidence, accuracy]. `complete` has both tables in full, intervals per label and the cost-risk
    curve.
    """
    values = dict(plain(asdict(report)))
    return values if complete else _headline(values)


def _headline(values: dict[str, Any]) -> dict[str, Any]:
    heads = {
        head: figures
        | {
            "confusion": _cells(figures["confusion"]),
            "reliability": _bins(figures["reliability"], values["n_rows"]),
            "labels": {
                label: {name: value for name, value in scores.items() if not name.endswith("_interval")}
                for label, scores in figures["labels"].items()
            },
        }
        for head, figures in values["heads"].items()
    }
    care = {name: value for name, value in values["care"].items() if name != "curve"}
    return values | {"heads": heads, "care": care}


def _cells(confusion: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the cells of a matrix that hold any, since most hold none."""
    return [[row, column, n] for row, counts in enumerate(confusion) for column, n in enumerate(counts) if n]


def _bins(rows: Sequence[Mapping[str, Any]], n_rows: int) -> list[list[float]]:
    """Return bins of like confidence; four digits are more than a plot shows."""
    return [[round(value, 4) for value in (row["n_rows"] / n_rows, row["confidence"], row["accuracy"])] for row in rows]


def plain(value: Any) -> Any:
    """Return nested figures as JSON values; NaN becomes null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
