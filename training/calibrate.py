"""Fit temperatures, label frequencies, the risk bounds and the novelty scale on groups that training did not see."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.stats import beta

from pointsman.classifier.assessor import distance
from pointsman.classifier.bundle import NoveltyScale
from pointsman.classifier.calibration import apply_temperature
from pointsman.classifier.labels import CAREFUL_CATEGORIES, HEADS, Head
from pointsman.classifier.risk_bound import RiskBound

from .config import CalibrationConfig, NoveltyConfig, RiskBoundConfig
from .metrics import negative_log_likelihood

FloatArray = npt.NDArray[np.float32]

#: With fewer nothing tells how much groups differ.
MIN_GROUPS: Final = 5


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a head's logits become probabilities: softmax((logits + shift) / temperature); shift is (n_labels,)."""

    temperature: float
    shift: npt.NDArray[np.float64]


def fit_scaling(logits: npt.NDArray[np.floating], truth: npt.NDArray[np.int64], config: CalibrationConfig) -> Scaling:
    """Fit a temperature and a shift per label by log loss.

    Training data is richer in rare labels than traffic is, by class weights or on purpose; the shift gives each label
    its frequency back. It is pulled towards none, so that few rows move little.

    Parameters
    ----------
    logits : float array, shape (n_turns, n_labels)
        Of turns that training did not see.
    truth : int array, shape (n_turns,)
        Their labels.
    config : CalibrationConfig
        How strongly the shift is pulled.

    Returns
    -------
    Scaling
        Its temperature lies between 0.2 and 10.

    References
    ----------
    Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599 (temperature and vector scaling; here
    one temperature for all labels); Alexandari et al. 2020, "Maximum Likelihood with Bias-Corrected Calibration is
    Hard-To-Beat at Label Shift Adaptation", arXiv:1901.06852.
    """
    n_labels = logits.shape[1]

    def loss(parameters: npt.NDArray[np.float64]) -> float:
        scaled = logits * np.exp(-parameters[0]) + parameters[1:]
        pull = config.frequency_pull * float((parameters[1:] ** 2).sum())
        return len(truth) * negative_log_likelihood(truth, apply_temperature(scaled, 1.0)) + pull

    bounds = [(np.log(0.2), np.log(10.0)), *[(-5.0, 5.0)] * n_labels]
    found = minimize(loss, np.zeros(1 + n_labels), method="L-BFGS-B", bounds=bounds).x
    temperature = round(float(np.exp(found[0])), 4)
    return Scaling(temperature, np.asarray(found[1:] * temperature, dtype=np.float64))


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


def fit_risk_bounds(
    care: npt.NDArray[np.float64],
    needs_care: npt.NDArray[np.bool_],
    groups: Sequence[str],
    config: RiskBoundConfig,
) -> tuple[RiskBound, ...]:
    """Return, for each promise, the largest threshold on the care probability that keeps it on calibration turns.

    Parameters
    ----------
    care : float array, shape (n_turns,)
        Care probabilities; a turn at or below the threshold may take a cheap model.
    needs_care : bool array, shape (n_turns,)
        What the readers said.
    groups : sequence of str, length n_turns
        Repository, person or session. Groups are taken as exchangeable, the turns of one are not.
    config : RiskBoundConfig
        The promises.

    Returns
    -------
    tuple of RiskBound
        In the order of the promises. With m effective turns that need care and a share p of them at or below a
        threshold, a promise holds where the upper Clopper-Pearson limit of mp misses in m at the confidence is no more
        than `max_missed`. Thresholds are tried upwards and the last one before the first failure is kept, which needs
        no correction for trying many (fixed-sequence testing). Each promise is made by itself.

    References
    ----------
    Bates et al. 2021, "Distribution-Free, Risk-Controlling Prediction Sets", arXiv:2101.02703;
    Angelopoulos et al. 2025, "Learn then Test", arXiv:2110.01052;
    Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24.
    """
    order = np.argsort(care[needs_care], kind="stable")
    missing = care[needs_care][order]  # (n_needs_care,)
    members = np.asarray(groups)[needs_care][order]
    n_groups = len(set(members.tolist()))
    effective = len(missing) / design_effect(members) if len(missing) else 0.0
    missed = np.arange(len(missing)) * effective / max(len(missing), 1)  # (n_needs_care,)
    # One-sided Clopper-Pearson limits of the share missed.
    limits = beta.ppf(config.confidence, missed + 1, effective - missed)

    def bound(max_missed: float) -> RiskBound:
        n_allowed = int(np.searchsorted(limits, max_missed, side="right")) - 1  # the most misses that keep it
        threshold = share = reason = None
        if n_groups < MIN_GROUPS or n_allowed < 0:
            reason = _too_few(len(missing), n_groups, effective, max_missed, config.confidence)
        else:
            # Just below the first care turn that may not be missed any more.
            threshold = float(np.nextafter(missing[n_allowed], 0.0))
            share = float((care <= threshold).mean())
        return RiskBound(
            max_missed=max_missed,
            confidence=config.confidence,
            threshold=threshold,
            n_turns=len(care),
            n_needs_care=len(missing),
            cheap_share=share,
            reason=reason,
            n_groups=n_groups,
            n_effective=round(effective, 1),
        )

    return tuple(bound(max_missed) for max_missed in config.promises)


def design_effect(members: npt.NDArray[np.str_]) -> float:
    """Return how many turns count as one independent turn, from 1 up.

    Parameters
    ----------
    members : str array, shape (n_turns,)
        Groups of the turns that need care, in rising order of their care probability.

    Returns
    -------
    float
        1 + (m - 1) r: m is the mean size of the group that a turn is in, r how alike the turns of a group are. For r
        the analysis of variance of "missed" is averaged over thresholds that miss 5 to 50 %, since at a promise's own
        threshold too few are missed to tell; simulated with 12 and more groups of uneven size, bounds then hold as
        often as they say.

    References
    ----------
    Kish 1965, "Survey Sampling", chapter 8.
    """
    names, places = np.unique(members, return_inverse=True)
    n, n_groups = len(members), len(names)
    sizes = np.bincount(places).astype(float)  # (n_groups,)
    if n_groups < MIN_GROUPS or n == n_groups:
        return 1.0
    mean_size = float((sizes**2).sum()) / n
    cuts = np.unique(np.linspace(max(1.0, 0.05 * n), 0.5 * n, 12).astype(int))
    missed = np.cumsum(places[:, None] == np.arange(n_groups), axis=0)[cuts - 1]  # (n_cuts, n_groups)
    shares = missed / sizes
    between = (sizes * (shares - cuts[:, None] / n) ** 2).sum(axis=1) / (n_groups - 1)
    within = (missed * (1 - shares)).sum(axis=1) / (n - n_groups)
    common_size = (n - mean_size) / (n_groups - 1)
    alike = float(np.mean((between - within) / (between + (common_size - 1) * within)))
    return 1 + (mean_size - 1) * max(0.0, alike)


def _too_few(n_turns: int, n_groups: int, effective: float, max_missed: float, confidence: float) -> str:
    needed = math.ceil(math.log(1 - confidence) / math.log(1 - max_missed))
    found = f"{n_turns} calibration turns of {n_groups} groups need care"
    if n_groups < MIN_GROUPS:
        return f"{found}; turns of {MIN_GROUPS} groups are needed to tell how much groups differ"
    return (
        f"{found} and are worth {effective:.0f} independent ones; {needed} of these, none of them missed, "
        f"are needed to promise {max_missed:.1%} at {confidence:.0%} confidence"
    )


def care_probabilities(probabilities: Mapping[Head, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Return `Assessment.care_probability` of many turns at once, from (n_turns, n_labels) per head."""

    def of(head: Head, label: str) -> npt.NDArray[np.float64]:
        return probabilities[head][:, HEADS[head].index(label)]

    hard = np.sum([of("category", label) for label in sorted(CAREFUL_CATEGORIES)], axis=0)
    care = of("risk", "high") + of("risk", "medium") * (1 - (1 - hard) * (1 - of("scope", "repo")))
    return np.asarray(care, dtype=np.float64)
