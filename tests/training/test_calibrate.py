"""The risk bound, the temperature and the novelty reference, on data whose answer is known."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from pointsman.classifier.assessor import distance
from pointsman.classifier.labels import HEADS
from pointsman.training.calibrate import (
    care_probabilities,
    design_effect,
    fit_risk_bounds,
    fit_scaling,
    novelty_scale,
    reference_of,
)
from pointsman.training.config import CalibrationConfig, NoveltyConfig, RiskBoundConfig
from tests.fakes import assessed

PROMISE = RiskBoundConfig(promises=(0.02,), confidence=0.9)


def alone(n):
    """Give every turn a group of its own."""
    return [str(turn) for turn in range(n)]


def bound_of(care, needs):
    return fit_risk_bounds(care, needs, alone(len(care)), PROMISE)[0]


def clustered(rng, n_groups, *, spread, small=False):
    """Draw scores of turns that need care, alike within groups of uneven size."""
    sizes = rng.integers(1, 6, n_groups) if small else np.maximum(1, rng.lognormal(1.6, 1.2, n_groups).astype(int))
    groups = np.repeat(np.arange(n_groups), sizes)
    scores = norm.cdf(rng.normal(0, spread, n_groups)[groups] + rng.normal(size=len(groups)))
    return scores, [str(group) for group in groups]


def true_share(threshold, spread):
    return norm.cdf(norm.ppf(threshold) / np.hypot(1, spread))


def test_bound_allows_the_misses_that_the_binomial_allows_when_turns_are_independent():
    care, needs = np.linspace(0.001, 0.999, 1000), np.ones(1000, dtype=bool)
    bound = bound_of(care, needs)
    missed = int((care <= bound.threshold).sum())
    # With a true share of 2 % so few misses, or fewer, are seen in at most a tenth of calibration sets.
    assert binom.cdf(missed, 1000, 0.02) <= 0.1 < binom.cdf(missed + 1, 1000, 0.02)
    assert (bound.n_groups, bound.n_effective) == (1000, 1000)


def test_bound_without_enough_turns_promises_nothing():
    bound = bound_of(np.full(113, 0.9), np.ones(113, dtype=bool))
    assert bound.threshold is None
    assert bound.reason.startswith(
        "113 calibration turns of 113 groups need care and are worth 113 independent ones; 114"
    )


def test_bound_holds_from_the_number_of_turns_it_names():
    assert bound_of(np.full(114, 0.9), np.ones(114, dtype=bool)).threshold == pytest.approx(0.9)


def test_bound_counts_turns_that_need_no_care_as_cheap():
    care = np.concatenate([np.full(200, 0.9), np.full(300, 0.1)])
    bound = bound_of(care, care > 0.5)
    assert (bound.n_turns, bound.n_needs_care, bound.cheap_share) == (500, 200, 0.6)


def test_curve_grows_with_the_promise():
    scores, groups = clustered(np.random.default_rng(1), 60, spread=0.5)
    bounds = fit_risk_bounds(scores, np.ones(len(scores), dtype=bool), groups, RiskBoundConfig())
    thresholds = [bound.threshold for bound in bounds if bound.threshold is not None]
    assert [bound.max_missed for bound in bounds] == [0.01, 0.02, 0.05, 0.08, 0.1, 0.2]
    assert len(thresholds) > 2
    assert thresholds == sorted(set(thresholds))


def test_few_groups_promise_nothing_however_many_turns():
    groups = [str(turn % 4) for turn in range(2000)]
    bound = fit_risk_bounds(np.linspace(0.1, 0.9, 2000), np.ones(2000, dtype=bool), groups, PROMISE)[0]
    assert bound.threshold is None
    assert bound.reason.endswith("turns of 5 groups are needed to tell how much groups differ")


def test_copies_of_a_turn_count_once():
    rng = np.random.default_rng(2)
    once = np.repeat(rng.random(200), 10)
    groups = np.repeat(np.arange(200), 10).astype(str)
    assert 2000 / design_effect(groups[np.argsort(once, kind="stable")]) == pytest.approx(200, rel=0.05)


def test_groups_that_do_not_differ_cost_nothing():
    groups = np.random.default_rng(3).permutation(np.repeat(np.arange(100), 10)).astype(str)
    assert design_effect(groups) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("small", [False, True], ids=["12 uneven groups", "150 small groups"])
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0], ids=["alike", "apart", "far apart"])
def test_bounds_hold_on_new_groups_as_often_as_they_say(spread, small):
    rng, promises = np.random.default_rng(4), (0.05, 0.1, 0.2)
    config = RiskBoundConfig(promises=promises)
    held = []
    for _ in range(150):
        scores, groups = clustered(rng, 150 if small else 12, spread=spread, small=small)
        bounds = fit_risk_bounds(scores, np.ones(len(scores), dtype=bool), groups, config)
        held.append(
            [bound.threshold is None or true_share(bound.threshold, spread) <= bound.max_missed for bound in bounds]
        )
    # 90 % promised; the standard error of 150 trials is 2.4 points.
    assert (np.mean(held, axis=0) >= 0.85).all()


def test_taking_turns_of_a_group_for_independent_breaks_the_promise():
    rng, held = np.random.default_rng(5), []
    config = RiskBoundConfig(promises=(0.2,))
    for _ in range(150):
        scores, _ = clustered(rng, 12, spread=1.0)
        bound = fit_risk_bounds(scores, np.ones(len(scores), dtype=bool), alone(len(scores)), config)[0]
        held.append(bound.threshold is None or true_share(bound.threshold, 1.0) <= 0.2)
    assert np.mean(held) < 0.8


def test_care_of_many_turns_is_the_care_of_each():
    turns = [assessed("debugging", "medium", sure=0.7), assessed("docs", "low", sure=0.9), assessed(risk="high")]
    arrays = {head: np.array([getattr(turn, head).probabilities for turn in turns]) for head in HEADS}
    assert care_probabilities(arrays) == pytest.approx([turn.care_probability for turn in turns])


def test_temperature_recovers_a_known_one():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(20_000, 4)) * 2
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(4, p=row) for row in true])
    scaling = fit_scaling(logits * 3, truth, CalibrationConfig())
    assert scaling.temperature == pytest.approx(3, rel=0.05)
    assert scaling.shift == pytest.approx(0, abs=0.2)


def test_shift_gives_labels_the_frequency_they_have():
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(20_000, 3))
    shifted = np.exp(logits + np.array([1.0, 0.0, -1.0]))
    truth = np.array([rng.choice(3, p=row) for row in shifted / shifted.sum(axis=1, keepdims=True)])
    scaling = fit_scaling(logits, truth, CalibrationConfig())
    assert np.diff(scaling.shift) == pytest.approx([-1, -1], abs=0.1)


def test_few_turns_shift_little():
    logits, truth = np.zeros((10, 3)), np.zeros(10, dtype=np.int64)
    assert np.abs(fit_scaling(logits, truth, CalibrationConfig()).shift).max() < 0.2


def test_reference_measures_in_standard_deviations():
    rng = np.random.default_rng(7)
    surface = (rng.normal(size=(20_000, 3)) * [1, 5, 25] + 4).astype(np.float32)
    reference = reference_of(surface, NoveltyConfig(shrinkage=0.0))
    point = surface.mean(axis=0) + np.array([0, 10, 0], dtype=np.float32)
    assert distance(point[None], reference) == pytest.approx([2], rel=0.05)


def test_reference_of_flat_data_is_finite():
    reference = reference_of(np.ones((10, 4), dtype=np.float32), NoveltyConfig())
    assert np.isfinite(distance(np.zeros((1, 4), dtype=np.float32), reference)).all()


def test_novelty_begins_past_nine_tenths_of_held_out_turns():
    surface = np.linspace(0, 1, 1001, dtype=np.float32)[:, None]
    reference = np.array([[0], [1]], dtype=np.float32)
    scale = novelty_scale(surface, reference)
    assert (scale.near, scale.far) == pytest.approx((0.9, 0.995), abs=1e-3)
