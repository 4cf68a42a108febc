"""Metrics against hand-computed cases and the reference library."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics as reference

from pointsman.training import metrics

labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=60)
scored = st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.3, 0.9])), min_size=2, max_size=60)


def arrays(pairs):
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


@given(labels)
def test_macro_f1_matches_scikit_learn(pairs):
    truth, predicted = arrays(pairs)
    expected = reference.f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
    assert metrics.macro_f1(truth, predicted, 4) == pytest.approx(expected)


@given(labels)
def test_confusion_matrix_matches_scikit_learn(pairs):
    truth, predicted = arrays(pairs)
    expected = reference.confusion_matrix(truth, predicted, labels=range(4))
    assert (metrics.confusion_matrix(truth, predicted, 4) == expected).all()


@given(scored.filter(lambda pairs: len({p[0] for p in pairs}) == 2))
def test_auc_matches_scikit_learn(pairs):
    positive, score = arrays(pairs)
    assert metrics.auc(positive, score) == pytest.approx(reference.roc_auc_score(positive, score))


def test_auc_of_one_class_is_undefined():
    assert math.isnan(metrics.auc(np.array([True, True]), np.array([0.1, 0.2])))


def test_calibration_error_by_hand():
    # Bin 0.9: two rows at confidence 0.9, one right -> gap 0.4. Bin 0.6: one row, right -> gap 0.4.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    truth = np.array([0, 1, 0])
    assert metrics.expected_calibration_error(truth, probabilities) == pytest.approx(0.4)


def test_perfect_confidence_has_no_calibration_error():
    assert metrics.expected_calibration_error(np.array([0, 1]), np.eye(2)) == 0


def test_error_by_chance_is_where_calibrated_answers_fall():
    confidence = np.random.default_rng(1).uniform(0.5, 1, 400)
    probabilities = np.column_stack([confidence, 1 - confidence])
    low, high = metrics.calibration_error_by_chance(probabilities)
    drawn = np.random.default_rng(2)
    errors = [
        metrics.expected_calibration_error((drawn.random(400) > confidence).astype(int), probabilities)
        for _ in range(200)
    ]
    assert 0.9 < np.mean([low < error < high for error in errors]) < 0.99


def test_certain_answers_have_no_error_by_chance():
    assert metrics.calibration_error_by_chance(np.eye(2)) == (0, 0)


def test_recall_at_share_takes_the_highest_scores():
    positive = np.array([True, False, True, False])
    score = np.array([0.9, 0.8, 0.1, 0.0])
    assert metrics.recall_at_share(positive, score, 0.5) == 0.5
    assert metrics.recall_at_share(positive, score, 1.0) == 1.0


def test_labels_with_few_rows_do_not_count_when_asked():
    truth, predicted = np.array([0] * 10 + [1]), np.array([0] * 10 + [0])
    assert metrics.macro_f1(truth, predicted, 2, min_rows=10) == pytest.approx(20 / 21)


def test_log_loss_by_hand():
    loss = metrics.negative_log_likelihood(np.array([0]), np.array([[0.5, 0.5]]))
    assert loss == pytest.approx(math.log(2))


def test_bootstrap_interval_leaves_nan_out():
    assert metrics.bootstrap_interval([0.0, 1.0, math.nan], level=1.0) == (0.0, 1.0)


def test_recall_of_a_constant_score_is_the_share_whatever_the_order():
    positive = np.array([True, True, False, False, False, False, False, False, False, False])
    assert metrics.recall_at_share(positive, np.zeros(10), 0.3) == pytest.approx(0.3)
    assert metrics.recall_at_share(positive[::-1], np.zeros(10), 0.3) == pytest.approx(0.3)


def test_recall_counts_rows_tied_at_the_border_in_part():
    positive = np.array([True, True, False, False])
    score = np.array([1.0, 0.5, 0.5, 0.0])
    assert metrics.recall_at_share(positive, score, 0.5) == pytest.approx(0.75)


def test_reliability_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.95, 0.05], [0.4, 0.6]])
    low, high = metrics.reliability(np.array([0, 1, 1]), probabilities)
    assert (low.low, low.n_rows, low.confidence, low.accuracy) == (0.6, 1, 0.6, 1.0)
    assert (high.high, high.n_rows, high.confidence, high.accuracy) == (1.0, 2, pytest.approx(0.925), 0.5)


@given(labels)
def test_label_scores_match_scikit_learn(pairs):
    truth, predicted = arrays(pairs)
    expected = reference.precision_recall_fscore_support(truth, predicted, labels=range(4), zero_division=0)
    found = [(s.precision, s.recall, s.f1, s.n_rows) for s in metrics.label_scores(truth, predicted, 4)]
    assert np.array(found) == pytest.approx(np.array(expected).T)


def test_cost_risk_curve_runs_from_all_cheap_to_all_careful():
    care, high = np.array([True, False, True, False]), np.array([True, False, False, False])
    curve = metrics.cost_risk_curve(care, high, np.array([0.9, 0.1, 0.4, 0.2]), price_ratio=0.1, n_steps=4)
    assert [point.missed for point in curve] == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert [point.high_risk_missed for point in curve] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert [point.cost for point in curve] == pytest.approx([0.1, 0.325, 0.55, 0.775, 1.0])


def test_resampling_draws_whole_groups():
    draws = metrics.resample(["a", "b", "a", "c"], 50, seed=1)
    assert all((rows == 0).sum() == (rows == 2).sum() for rows in draws)
    assert {int((rows == 1).sum()) for rows in draws} >= {0, 1, 2}


def test_resampling_is_the_same_for_the_same_seed():
    first, second = metrics.resample(list("abcd"), 5, seed=3), metrics.resample(list("abcd"), 5, seed=3)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("n_worse", "n_better"), [(0, 0), (1, 0), (0, 4), (9, 2), (40, 30), (700, 300)])
def test_sign_test_is_the_one_of_scipy(n_worse, n_better):
    known = (
        1.0 if n_worse + n_better == 0 else binomtest(n_worse, n_worse + n_better, 0.5, alternative="greater").pvalue
    )
    assert metrics.sign_test(n_worse, n_better) == pytest.approx(known, rel=1e-9)
