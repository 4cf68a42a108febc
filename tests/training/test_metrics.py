"""Metrics against hand-computed cases and the reference library."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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
