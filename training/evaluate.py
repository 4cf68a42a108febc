"""Measure a bundle on labelled turns. What ships is what is measured: the int8 graph through the runtime's own code."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pointsman.classifier.assessment import Assessment
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.labels import HEADS, Head

from .datasets import Example
from .metrics import (
    LabelScore,
    accuracy,
    auc,
    bootstrap_interval,
    expected_calibration_error,
    label_scores,
    macro_f1,
    recall_at_share,
)

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]

#: A label counts in the macro-F1 with at least this many rows.
MIN_ROWS: Final = 10
SHARES: Final = (0.2, 0.3, 0.4, 0.5)


@dataclass(frozen=True, slots=True)
class HeadReport:
    """One head on one split; intervals are 95 % bootstrap over rows."""

    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    ece: float
    labels: dict[str, LabelScore]


@dataclass(frozen=True, slots=True)
class CareReport:
    """The choice between a careful and a cheap model.

    `recall` is the share of turns that need care among the given share of turns with the highest care score;
    `high_risk_missed` the share of high-risk turns outside it.
    """

    n_needs_care: int
    n_high_risk: int
    auc: float
    auc_interval: Interval
    recall: dict[str, float]
    high_risk_missed: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """A bundle on a set of labelled turns."""

    model_version: str
    n_rows: int
    n_groups: int
    heads: dict[Head, HeadReport]
    care: CareReport


def care_score(assessment: Assessment) -> float:
    """Return the probability that a turn needs care, heads taken as independent."""
    risk, category, scope = assessment.risk, assessment.category, assessment.scope
    hard = category.of("debugging") + category.of("security") + category.of("migration")
    return risk.of("high") + risk.of("medium") * (1 - (1 - hard) * (1 - scope.of("repo")))


def assess_examples(assessor: Assessor, examples: Sequence[Example], *, size: int = 16) -> list[Assessment]:
    """Assess examples in batches of like length, in order."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt) + 200 * len(examples[i].context))
    results: dict[int, Assessment] = {}
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        results.update(zip(chosen, assessor.assess_texts([examples[i].text for i in chosen]), strict=True))
    return [results[i] for i in range(len(examples))]


def evaluate(assessor: Assessor, examples: Sequence[Example], *, n_bootstrap: int = 1000, seed: int = 0) -> Report:
    """Measure a bundle on labelled turns it was not trained on."""
    assessments = assess_examples(assessor, examples)
    draws = np.random.default_rng(seed).integers(0, len(examples), (n_bootstrap, len(examples)))
    return Report(
        model_version=assessor.version,
        n_rows=len(examples),
        n_groups=len({example.group for example in examples}),
        heads={head: _head_report(head, assessments, examples, draws) for head in HEADS},
        care=_care_report(assessments, examples, draws),
    )


def _head_report(
    head: Head, assessments: Sequence[Assessment], examples: Sequence[Example], draws: npt.NDArray[np.int64]
) -> HeadReport:
    labels = HEADS[head]
    truth = np.array([labels.index(example.labels[head]) for example in examples], dtype=np.int64)
    probabilities = np.array([getattr(assessment, head).probabilities for assessment in assessments])
    predicted = probabilities.argmax(axis=1)

    def f1(rows: npt.NDArray[np.int64]) -> float:
        return macro_f1(truth[rows], predicted[rows], len(labels), min_rows=MIN_ROWS)

    return HeadReport(
        accuracy=accuracy(truth, predicted),
        accuracy_interval=_interval(lambda rows: accuracy(truth[rows], predicted[rows]), draws),
        macro_f1=macro_f1(truth, predicted, len(labels), min_rows=MIN_ROWS),
        macro_f1_interval=_interval(f1, draws),
        ece=expected_calibration_error(truth, probabilities),
        labels=dict(zip(labels, label_scores(truth, predicted, len(labels)), strict=True)),
    )


def _care_report(
    assessments: Sequence[Assessment], examples: Sequence[Example], draws: npt.NDArray[np.int64]
) -> CareReport:
    score: FloatArray = np.array([care_score(assessment) for assessment in assessments])
    care = np.array([example.needs_care for example in examples])
    high = np.array([example.labels["risk"] == "high" for example in examples])
    return CareReport(
        n_needs_care=int(care.sum()),
        n_high_risk=int(high.sum()),
        auc=auc(care, score),
        auc_interval=_interval(lambda rows: auc(care[rows], score[rows]), draws),
        recall={f"{share:.0%}": recall_at_share(care, score, share) for share in SHARES},
        high_risk_missed={f"{share:.0%}": 1 - recall_at_share(high, score, share) for share in SHARES},
    )


def _interval(statistic: Callable[[npt.NDArray[np.int64]], float], draws: npt.NDArray[np.int64]) -> Interval:
    return bootstrap_interval([statistic(rows) for rows in draws])


def render(report: Report) -> str:
    """Lay a report out as a plain table."""
    lines = [
        f"model {report.model_version} on {report.n_rows} turns of {report.n_groups} groups",
        "",
        f"{'head':<10}{'accuracy':>10}{'95 %':>16}{'macro-F1':>11}{'95 %':>16}{'ECE':>8}",
    ]
    for head, result in report.heads.items():
        lines.append(
            f"{head:<10}{result.accuracy:>10.3f}{_show(result.accuracy_interval):>16}"
            f"{result.macro_f1:>11.3f}{_show(result.macro_f1_interval):>16}{result.ece:>8.3f}"
        )
    care = report.care
    lines += [
        "",
        f"careful or cheap: {care.n_needs_care} turns need care, {care.n_high_risk} are high risk; "
        f"AUC {care.auc:.3f} ({_show(care.auc_interval)})",
        f"{'share sent to the careful model':<34}" + "".join(f"{share:>8}" for share in care.recall),
        f"{'turns needing care that it gets':<34}" + "".join(f"{value:>8.3f}" for value in care.recall.values()),
        f"{'high-risk turns that it misses':<34}"
        + "".join(f"{value:>8.3f}" for value in care.high_risk_missed.values()),
        "",
        f"{'category':<16}{'rows':>6}{'precision':>11}{'recall':>8}{'F1':>7}",
    ]
    for label, score in report.heads["category"].labels.items():
        lines.append(f"{label:<16}{score.n_rows:>6}{score.precision:>11.3f}{score.recall:>8.3f}{score.f1:>7.3f}")
    return "\n".join(lines)


def _show(interval: Interval) -> str:
    return f"{interval[0]:.3f}-{interval[1]:.3f}"


def to_json(report: Report) -> dict[str, Any]:
    """Return the report as JSON values; NaN becomes null."""
    return dict(_plain(asdict(report)))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
