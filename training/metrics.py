"""Pure figures of merit. numpy only; checked against scikit-learn and hand-computed cases in the tests."""

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
    hits = np.diag(matrix).astype(float)
    n_true, n_predicted = matrix.sum(1), matrix.sum(0)
    recall = np.divide(hits, n_true, out=np.zeros_like(hits), where=n_true > 0)
    precision = np.divide(hits, n_predicted, out=np.zeros_like(hits), where=n_predicted > 0)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(hits), where=total > 0)
    return [
        LabelScore(float(p), float(r), float(f), int(n))
        for p, r, f, n in zip(precision, recall, f1, n_true, strict=True)
    ]


def macro_f1(truth: IntArray, predicted: IntArray, n_labels: int, *, min_rows: int = 1) -> float:
    """Return the mean F1 over labels with at least `min_rows` true rows; NaN when there is none."""
    scores = [score.f1 for score in label_scores(truth, predicted, n_labels) if score.n_rows >= min_rows]
    return float(np.mean(scores)) if scores else float("nan")


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
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = [(bins == b).mean() * abs(confidence[bins == b].mean() - right[bins == b].mean()) for b in np.unique(bins)]
    return float(np.sum(gaps))


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
    """Return the recall of positives when the `share` of rows with the highest score is taken."""
    n_taken = round(share * len(score))
    taken = np.argsort(-score, kind="stable")[:n_taken]
    return float(positive[taken].sum() / positive.sum()) if positive.any() else float("nan")


def bootstrap_interval(statistic: Sequence[float], *, level: float = 0.95) -> tuple[float, float]:
    """Return the central interval of bootstrap replicates, NaN left out."""
    values = np.asarray([value for value in statistic if np.isfinite(value)])
    if not len(values):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
