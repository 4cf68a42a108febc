"""Pure figures of merit. numpy only; checked against scikit-learn and hand-computed cases in the tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def accuracy(truth: IntArray, predicted: IntArray) -> float:
    """Return the share of rows predicted right, in [0, 1]."""
    return float(np.mean(truth == predicted)) if len(truth) else float("nan")


def confusion_matrix(truth: IntArray, predicted: IntArray, n_labels: int) -> IntArray:
    """Count rows by (true label, predicted label); shape (n_labels, n_labels)."""
    matrix = np.zeros((n_labels, n_labels), dtype=np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    return matrix


@dataclass(frozen=True, slots=True)
class LabelScore:
    """Precision, recall and F1 of one label; 0 where nothing was predicted or nothing was there."""

    precision: float
    recall: float
    f1: float
    n_rows: int


def label_scores(truth: IntArray, predicted: IntArray, n_labels: int) -> list[LabelScore]:
    """Score each label."""
    matrix = confusion_matrix(truth, predicted, n_labels)
    scores = precision_recall_f1(matrix)
    return [
        LabelScore(float(p), float(r), float(f), int(n)) for (p, r, f), n in zip(scores.T, matrix.sum(1), strict=True)
    ]


def precision_recall_f1(matrices: IntArray) -> FloatArray:
    """Return precision, recall and F1 of each label; 0 where nothing was predicted or nothing was there.

    Parameters
    ----------
    matrices : int array, shape (..., n_labels, n_labels)
        Confusion matrices, true label first.

    Returns
    -------
    float array, shape (..., 3, n_labels)
    """
    hits = np.diagonal(matrices, axis1=-2, axis2=-1).astype(float)
    n_true, n_predicted = matrices.sum(-1), matrices.sum(-2)
    recall = np.divide(hits, n_true, out=np.zeros_like(hits), where=n_true > 0)
    precision = np.divide(hits, n_predicted, out=np.zeros_like(hits), where=n_predicted > 0)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(hits), where=total > 0)
    return np.stack([precision, recall, f1], axis=-2)


def macro_f1(truth: IntArray, predicted: IntArray, n_labels: int, *, min_rows: int = 1) -> float:
    """Return the mean F1 over labels with at least `min_rows` true rows; NaN when there is none."""
    scores = [score.f1 for score in label_scores(truth, predicted, n_labels) if score.n_rows >= min_rows]
    return float(np.mean(scores)) if scores else float("nan")


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows whose confidence lies in [low, high): how sure the model was, and how often it was right."""

    low: float
    high: float
    n_rows: int
    confidence: float
    accuracy: float


def reliability(truth: IntArray, probabilities: FloatArray, *, n_bins: int = 10) -> list[ReliabilityBin]:
    """Return the reliability table: one row per bin of confidence that holds any text.

    Parameters
    ----------
    truth : int array, shape (n_texts,)
        Index of the true label.
    probabilities : float array, shape (n_texts, n_labels)
        Calibrated; rows sum to 1.
    n_bins : int
        Bins of equal width over the confidence; the last one includes 1.
    """
    if not len(truth):
        return []
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    return [
        ReliabilityBin(
            low=float(b / n_bins),
            high=float((b + 1) / n_bins),
            n_rows=int((bins == b).sum()),
            confidence=float(confidence[bins == b].mean()),
            accuracy=float(right[bins == b].mean()),
        )
        for b in np.unique(bins)
    ]


def expected_calibration_error(truth: IntArray, probabilities: FloatArray, *, n_bins: int = 10) -> float:
    """Return the mean gap of confidence and accuracy, weighted by bin.

    Parameters
    ----------
    truth : int array, shape (n_texts,)
        Index of the true label.
    probabilities : float array, shape (n_texts, n_labels)
        Calibrated; rows sum to 1.
    n_bins : int
        Bins of equal width over the confidence.

    References
    ----------
    Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning".
    """
    if not len(truth):
        return float("nan")
    gaps = [b.n_rows * abs(b.confidence - b.accuracy) for b in reliability(truth, probabilities, n_bins=n_bins)]
    return float(np.sum(gaps) / len(truth))


def calibration_error_by_chance(
    probabilities: FloatArray, *, n_draws: int = 2000, n_bins: int = 10, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the calibration error that a perfectly calibrated classifier has on as many texts.

    The error of a finite set is never 0: an error inside this interval is no sign of bad calibration.

    Parameters
    ----------
    probabilities : float array, shape (n_texts, n_labels)
        Taken for true: in each draw every text is right with the probability of its confidence.
    n_draws, n_bins, seed : int
        Bins as of `expected_calibration_error`.

    References
    ----------
    Broecker and Smith 2007, "Increasing the Reliability of Reliability Diagrams" (consistency resampling).
    """
    if not len(probabilities):
        return float("nan"), float("nan")
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    member = np.eye(n_bins)[bins]  # (n_texts, n_bins)
    right = np.random.default_rng(seed).random((n_draws, len(confidence))) < confidence
    errors = np.abs((right - confidence) @ member).sum(axis=1) / len(confidence)  # (n_draws,)
    low, high = np.quantile(errors, [0.025, 0.975])
    return float(low), float(high)


def negative_log_likelihood(truth: IntArray, probabilities: FloatArray) -> float:
    """Return the mean negative log probability of the true label, in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12)).mean())


def auc(positive: BoolArray, score: FloatArray) -> float:
    """Return the area under the ROC curve: how often a positive row outranks a negative one, ties half."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    ranks = _mean_ranks(score)
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _mean_ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], dtype=np.float64)


def recall_at_share(positive: BoolArray, score: FloatArray, share: float) -> float:
    """Return the recall of positives when the `share` of rows with the highest score is taken.

    Rows that tie at the border are taken in part: the result is the mean over all their orders, so a constant score
    has a recall of `share`, however the rows are sorted.
    """
    n_taken = round(share * len(score))
    if not positive.any():
        return float("nan")
    if not n_taken:
        return 0.0
    border = np.sort(score)[::-1][n_taken - 1]
    above, tied = score > border, score == border
    part = (n_taken - above.sum()) / tied.sum()
    return float((positive[above].sum() + part * positive[tied].sum()) / positive.sum())


@dataclass(frozen=True, slots=True)
class CostRiskPoint:
    """One place to cut: what it costs, and what slips through.

    `share` of turns goes to the careful model. `cost` is the spending relative to sending every turn there. `missed`
    and `high_risk_missed` are the shares of turns needing care, and of high-risk turns, that the cheap model gets.
    """

    share: float
    cost: float
    missed: float
    high_risk_missed: float


def cost_risk_curve(
    needs_care: BoolArray, high_risk: BoolArray, score: FloatArray, *, price_ratio: float, n_steps: int = 20
) -> list[CostRiskPoint]:
    """Trace what a router misses against what it spends, from all cheap to all careful.

    Parameters
    ----------
    needs_care, high_risk : bool array, shape (n_texts,)
        What the turns are.
    score : float array, shape (n_texts,)
        Higher goes to the careful model first.
    price_ratio : float
        Price of the cheap model over that of the careful one, in [0, 1]; turns are taken to be of equal size.
    n_steps : int
        Steps of equal width over the share.
    """
    shares = [step / n_steps for step in range(n_steps + 1)]
    return [
        CostRiskPoint(
            share=share,
            cost=share + (1 - share) * price_ratio,
            missed=1 - recall_at_share(needs_care, score, share),
            high_risk_missed=1 - recall_at_share(high_risk, score, share),
        )
        for share in shares
    ]


def resample(groups: Sequence[str], n_draws: int, *, seed: int = 0) -> list[IntArray]:
    """Draw groups with replacement and return the rows of each draw.

    Rows of one group (a repository, an author) resemble each other. Drawing single rows takes them for independent and
    gives intervals that are too narrow; drawing whole groups does not. Give every row a group of its own to draw rows.

    Parameters
    ----------
    groups : sequence of str, length n_texts
        The group of each row.
    n_draws : int
        How many times to draw.
    seed : int
        The same seed gives the same draws.

    Returns
    -------
    list of int array
        Row indices, one array per draw; as many groups as there are, so lengths differ.
    """
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    rows = [np.array(indices, dtype=np.int64) for indices in members.values()]
    if not rows:
        return []
    draws = np.random.default_rng(seed).integers(0, len(rows), (n_draws, len(rows)))
    return [np.concatenate([rows[i] for i in draw]) for draw in draws]


def bootstrap_interval(statistic: Sequence[float] | FloatArray, *, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of bootstrap replicates, NaN left out."""
    values = np.asarray([value for value in statistic if np.isfinite(value)])
    if not len(values):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def sign_test(n_worse: int, n_better: int) -> float:
    """Return the chance of so many changes for the worse, or more, if each change goes either way alike.

    Examples
    --------
    >>> sign_test(3, 0)
    0.125
    """
    n = n_worse + n_better
    return sum(math.comb(n, k) for k in range(n_worse, n + 1)) / (1 << n)
