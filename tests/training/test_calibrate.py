"""The risk bound, the temperature and the novelty reference, on data whose answer is known."""

import numpy as np
import pytest
from scipy.stats import binom

from pointsman.classifier.assessor import distance
from pointsman.classifier.labels import HEADS
from pointsman.training.calibrate import (
    care_probabilities,
    fit_risk_bound,
    fit_temperature,
    novelty_scale,
    reference_of,
)
from pointsman.training.config import NoveltyConfig, RiskBoundConfig
from tests.fakes import assessed

PROMISE = RiskBoundConfig(max_missed=0.02, confidence=0.9)


def test_bound_allows_the_misses_that_the_binomial_allows():
    care, needs = np.linspace(0.001, 0.999, 1000), np.ones(1000, dtype=bool)
    bound = fit_risk_bound(care, needs, PROMISE)
    missed = int((care <= bound.threshold).sum())
    # With a true share of 2 % so few misses, or fewer, are seen in at most a tenth of calibration sets.
    assert binom.cdf(missed, 1000, 0.02) <= 0.1 < binom.cdf(missed + 1, 1000, 0.02)


def test_bound_without_enough_turns_promises_nothing():
    bound = fit_risk_bound(np.full(113, 0.9), np.ones(113, dtype=bool), PROMISE)
    assert bound.threshold is None
    assert bound.reason.startswith("113 calibration turns need care; 114 are needed")


def test_bound_holds_from_the_number_of_turns_it_names():
    assert fit_risk_bound(np.full(114, 0.9), np.ones(114, dtype=bool), PROMISE).threshold == pytest.approx(0.9)


def test_bound_counts_turns_that_need_no_care_as_cheap():
    care = np.concatenate([np.full(200, 0.9), np.full(300, 0.1)])
    bound = fit_risk_bound(care, care > 0.5, PROMISE)
    assert (bound.n_turns, bound.n_needs_care, bound.cheap_share) == (500, 200, 0.6)


def test_bound_keeps_its_promise_on_new_turns():
    rng = np.random.default_rng(3)

    def turns(n):
        needs = rng.random(n) < 0.3
        return np.clip(rng.normal(0.3 + 0.4 * needs, 0.2), 0, 1), needs

    truth_care, truth_needs = turns(200_000)
    kept = []
    for _ in range(100):
        bound = fit_risk_bound(*turns(1500), PROMISE)
        kept.append((truth_care[truth_needs] <= bound.threshold).mean() <= PROMISE.max_missed)
    # 90 % promised; the standard error of a hundred trials is 3 points.
    assert np.mean(kept) >= 0.83


def test_care_of_many_turns_is_the_care_of_each():
    turns = [assessed("debugging", "medium", sure=0.7), assessed("docs", "low", sure=0.9), assessed(risk="high")]
    arrays = {head: np.array([getattr(turn, head).probabilities for turn in turns]) for head in HEADS}
    assert care_probabilities(arrays) == pytest.approx([turn.care_probability for turn in turns])


def test_temperature_recovers_a_known_one():
    rng = np.random.default_rng(5)
    logits = rng.normal(size=(20_000, 4)) * 2
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(4, p=row) for row in true])
    assert fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.05)


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
