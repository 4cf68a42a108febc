"""Fit temperatures, the risk bound and the novelty scale on groups that training did not see."""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.stats import beta

from pointsman.classifier.assessor import distance
from pointsman.classifier.bundle import NoveltyScale
from pointsman.classifier.calibration import apply_temperature
from pointsman.classifier.labels import CAREFUL_CATEGORIES, HEADS, Head
from pointsman.classifier.risk_bound import RiskBound

from .config import NoveltyConfig, RiskBoundConfig
from .metrics import negative_log_likelihood

FloatArray = npt.NDArray[np.float32]


def fit_temperature(logits: npt.NDArray[np.floating], truth: npt.NDArray[np.int64]) -> float:
    """Return the temperature with the least log loss, between 0.2 and 10."""
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(truth, apply_temperature(logits, float(np.exp(log_t)))),
        bounds=(np.log(0.2), np.log(10.0)),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return round(float(np.exp(found.x)), 4)


def reference_of(surface: FloatArray, config: NoveltyConfig) -> FloatArray:
    """Return the reference of `distance`, shape (1 + n_hidden, n_hidden), from training turns (n_turns, n_hidden)."""
    mean = surface.mean(axis=0)
    covariance = np.atleast_2d(np.cov((surface - mean).T))
    n_hidden = len(covariance)
    ridge = max(config.shrinkage * float(np.trace(covariance)) / n_hidden, 1e-6)
    values, vectors = np.linalg.eigh(covariance + ridge * np.eye(n_hidden))
    return np.vstack([mean, vectors / np.sqrt(values)]).astype(np.float32)


def novelty_scale(surface: FloatArray, reference: FloatArray) -> NoveltyScale:
    """Place the scale on held-out turns: novelty begins past 90 % of them and is complete past nearly all."""
    near, far = np.quantile(distance(surface, reference), [0.9, 0.995])
    return NoveltyScale(near=round(float(near), 4), far=round(max(float(far), float(near) + 1e-3), 4))


def fit_risk_bound(
    care: npt.NDArray[np.float64], needs_care: npt.NDArray[np.bool_], config: RiskBoundConfig
) -> RiskBound:
    """Return the largest threshold on the care probability that keeps the promise on calibration turns.

    Parameters
    ----------
    care : float array, shape (n_turns,)
        Care probabilities; a turn at or below the threshold may take a cheap model.
    needs_care : bool array, shape (n_turns,)
        What the readers said.
    config : RiskBoundConfig
        The promise.

    Returns
    -------
    RiskBound
        With m turns that need care and k of them at or below a threshold, the promise holds where the upper
        Clopper-Pearson limit of k / m at the confidence is no more than `max_missed`. Thresholds are tried upwards
        and the last one before the first failure is kept, which needs no correction for trying many
        (fixed-sequence testing). Turns count as exchangeable; those of one repository are more alike than that, so on
        new repositories the promise is weaker than it reads.

    References
    ----------
    Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction Sets", arXiv:2101.02703;
    Angelopoulos et al. 2025, "Learn then Test", arXiv:2110.01052.
    """
    missing = np.sort(care[needs_care])
    n_needed = math.ceil(math.log(1 - config.confidence) / math.log(1 - config.max_missed))
    limits = np.array([_upper_limit(k, len(missing), config.confidence) for k in range(len(missing))])
    n_allowed = int(np.searchsorted(limits, config.max_missed, side="right")) - 1  # the most misses that keep it
    threshold = share = reason = None
    if n_allowed < 0:
        reason = (
            f"{len(missing)} calibration turns need care; {n_needed} are needed to promise "
            f"{config.max_missed:.1%} at {config.confidence:.0%} confidence"
        )
    else:
        # Just below the first care turn that may not be missed any more.
        threshold = float(np.nextafter(missing[n_allowed], 0.0))
        share = float((care <= threshold).mean())
    return RiskBound(
        max_missed=config.max_missed,
        confidence=config.confidence,
        threshold=threshold,
        n_turns=len(care),
        n_needs_care=len(missing),
        cheap_share=share,
        reason=reason,
    )


def _upper_limit(n_missed: int, n_turns: int, confidence: float) -> float:
    """Return the one-sided Clopper-Pearson limit of a share."""
    return float(beta.ppf(confidence, n_missed + 1, n_turns - n_missed))


def care_probabilities(probabilities: Mapping[Head, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return `Assessment.care_probability` of many turns at once, from (n_turns, n_labels) per head."""

    def of(head: Head, label: str) -> npt.NDArray[np.float64]:
        return probabilities[head][:, HEADS[head].index(label)]

    hard = np.sum([of("category", label) for label in sorted(CAREFUL_CATEGORIES)], axis=0)
    care = of("risk", "high") + of("risk", "medium") * (1 - (1 - hard) * (1 - of("scope", "repo")))
    return np.asarray(care, dtype=np.float64)
