"""Logits to calibrated probabilities. numpy only."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .errors import CalibrationError

FloatArray = npt.NDArray[np.floating]


def apply_temperature(logits: FloatArray, temperature: float) -> npt.NDArray[np.float64]:
    """Turn raw scores into calibrated probabilities.

    One positive divisor cannot reorder a row: accuracy stays, only confidence moves.

    Parameters
    ----------
    logits : float array, shape (n_texts, n_labels)
        Unbounded scores in label order.
    temperature : float
        No unit, finite, > 0. Above 1 softens, below 1 sharpens, 1 is plain softmax.

    Returns
    -------
    float array, shape (n_texts, n_labels)
        Non-negative; each row sums to 1 within 1e-6.

    Raises
    ------
    CalibrationError
        The temperature is not a finite positive number.

    References
    ----------
    Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.

    Examples
    --------
    >>> apply_temperature(np.array([[0.0, 0.0]]), temperature=2.0)
    array([[0.5, 0.5]])
    """
    if not (math.isfinite(temperature) and temperature > 0):
        msg = f"temperature must be finite and > 0, got {temperature}. Fit it again: pointsman train."
        raise CalibrationError(msg)
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    weights = np.exp(scaled)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def calibrated(logits: Sequence[float], temperature: float) -> tuple[float, ...]:
    """Turn the scores of one text into calibrated probabilities, as `apply_temperature` does for many.

    For a dozen figures, array operations cost a multiple of the arithmetic, and more where a run of the graph has just
    emptied the processor's caches.

    Parameters
    ----------
    logits : sequence of float, shape (n_labels,)
        Unbounded scores in label order.
    temperature : float
        Of a bundle, which has checked it: finite and > 0.

    Examples
    --------
    >>> calibrated([0.0, 0.0], temperature=2.0)
    (0.5, 0.5)
    """
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    total = sum(weights)
    return tuple([weight / total for weight in weights])
