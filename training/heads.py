"""scikit-learn heads on the frozen embedding: one logistic regression per head.

They are what a nightly refit replaces; merged into the ONNX graph as one matrix.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from pointsman.classifier.calibration import apply_temperature
from pointsman.classifier.labels import HEADS, Head

from .config import HeadsConfig
from .datasets import Example
from .metrics import negative_log_likelihood

FloatArray = npt.NDArray[np.float32]
#: Added to the bias of a label that training rows lack: it stays improbable.
_RARER_THAN_SEEN: Final = -5.0


@dataclass(frozen=True, slots=True)
class LinearHead:
    """One head as plain arrays: weights (n_labels, n_dimensions), bias (n_labels,), in label order.

    `estimator` is what scikit-learn fitted, kept for the tracking run only; None where training rows have one label.
    """

    weights: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    inverse_regularisation: float
    estimator: LogisticRegression | None = field(default=None, repr=False, compare=False)

    def shifted(self, shift: npt.NDArray[np.float64]) -> "LinearHead":
        """Return the head with `shift` (n_labels,) added to its logits."""
        return replace(self, bias=self.bias + shift)

    def logits(self, embedding: FloatArray) -> npt.NDArray[np.float64]:
        return np.asarray(embedding, dtype=np.float64) @ self.weights.T + self.bias


def label_ids(examples: Sequence[Example], head: Head) -> npt.NDArray[np.int64]:
    """Return the label index of each example for one head."""
    labels = HEADS[head]
    return np.array([labels.index(example.labels[head]) for example in examples], dtype=np.int64)


def fit_heads(
    embedding: FloatArray,
    examples: Sequence[Example],
    config: HeadsConfig,
    *,
    validation: tuple[FloatArray, Sequence[Example]],
) -> dict[Head, LinearHead]:
    """Fit one head per task on training embeddings.

    The regularisation is chosen by log likelihood on the validation rows, which must come from other groups than
    the encoder saw: on rows the encoder was tuned on, every setting looks perfect.
    """
    # Thousands of small products: on a busy machine BLAS threads wait for each other for minutes, one takes seconds.
    with threadpool_limits(1, user_api="blas"):
        return {head: _fit_head(head, embedding, examples, config, validation) for head in HEADS}


def _fit_head(
    head: Head,
    embedding: FloatArray,
    examples: Sequence[Example],
    config: HeadsConfig,
    validation: tuple[FloatArray, Sequence[Example]],
) -> LinearHead:
    truth = label_ids(examples, head)
    weights = np.array([example.certainty for example in examples])
    fitted = [_fit(head, (embedding, truth, weights), c, config) for c in config.inverse_regularisation]
    of_validation = label_ids(validation[1], head)
    return min(fitted, key=lambda one: _loss(one, validation[0], of_validation))


Rows = tuple[FloatArray, npt.NDArray[np.int64], npt.NDArray[np.float64]]


def _loss(head: LinearHead, embedding: FloatArray, truth: npt.NDArray[np.int64]) -> float:
    """Return the log loss at the best temperature: confidence is calibrated later, only order counts here."""
    logits = head.logits(embedding)
    return min(negative_log_likelihood(truth, apply_temperature(logits, t)) for t in np.geomspace(0.5, 4, 13))


def _fit(head: Head, rows: Rows, inverse_regularisation: float, config: HeadsConfig) -> LinearHead:
    embedding, truth, weights = rows
    n_labels, n_dimensions = len(HEADS[head]), embedding.shape[1]
    present = np.unique(truth)
    coefficients = np.zeros((n_labels, n_dimensions))
    if len(present) == 1:  # nothing to tell apart, which scikit-learn refuses
        bias = np.full(n_labels, _RARER_THAN_SEEN)
        bias[present] = 0.0
        return LinearHead(coefficients, bias, inverse_regularisation)
    model = LogisticRegression(C=inverse_regularisation, max_iter=2000, random_state=config.seed)
    model.fit(embedding, truth, sample_weight=weights)
    fitted, intercept = model.coef_, model.intercept_
    if len(present) == 2:
        # Of two labels scikit-learn keeps one row, the log odds of the second; halves of it are the same to a softmax.
        fitted = np.vstack([-fitted, fitted]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    bias = np.full(n_labels, float(intercept.min()) + _RARER_THAN_SEEN)
    coefficients[model.classes_] = fitted
    bias[model.classes_] = intercept
    return LinearHead(coefficients, bias, inverse_regularisation, model)
