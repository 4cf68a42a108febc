"""Votes of known accuracy give their accuracy back, and labels better than any single source."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.training.label_model import LabelModel, Source

WORKED, FAILED, SILENT = 0, 1, 2
SHARES = np.array([0.75, 0.25])


def draw(truth, rates, rng):
    """Votes of each source: `rates[source][true]` are its chances of each label and of silence."""
    chances = np.array(rates, dtype=float)[:, truth, :]  # (n_sources, n_turns, n_labels + 1)
    votes = (rng.random(chances.shape[:2])[..., None] > chances.cumsum(axis=2)).sum(axis=2).T
    return np.minimum(votes, chances.shape[2] - 1)


def simulated(n_turns, rates, *, failure_rate=0.3, seed=1):
    rng = np.random.default_rng(seed)
    failed = (rng.random(n_turns) < failure_rate).astype(int)
    return failed, draw(failed, rates, rng)


def signs(n_sources):
    return [Source(str(i), is_sign=True) for i in range(n_sources)]


def fitted(votes):
    return LabelModel.fit(votes, signs(votes.shape[1]), SHARES)


TWO_SIDED = [
    [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]],
    [[0.5, 0.2, 0.3], [0.2, 0.5, 0.3]],
    [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1]],
    [[0.2, 0.1, 0.7], [0.05, 0.25, 0.7]],
]
ONE_SIDED = [
    [[0, 0.05, 0.95], [0, 0.55, 0.45]],
    [[0, 0.02, 0.98], [0, 0.30, 0.70]],
    [[0, 0.10, 0.90], [0, 0.40, 0.60]],
    [[0.45, 0, 0.55], [0.05, 0, 0.95]],
    [[0.50, 0, 0.50], [0.15, 0, 0.85]],
]


@pytest.mark.parametrize("rates", [TWO_SIDED, ONE_SIDED], ids=["two-sided", "one-sided"])
def test_rates_of_simulated_signs_are_found(rates):
    _, votes = simulated(20_000, rates)
    model = fitted(votes)
    assert model.shares[FAILED] == pytest.approx(0.3, abs=0.04)
    np.testing.assert_allclose(model.rates, rates, atol=0.06)


def test_labels_beat_every_single_sign():
    failed, votes = simulated(5_000, TWO_SIDED)
    guessed = fitted(votes).probabilities(votes)[:, FAILED] >= 0.5
    alone = [np.where(votes[:, s] == SILENT, WORKED, votes[:, s]) == failed for s in range(votes.shape[1])]
    assert (guessed == failed).mean() > max(right.mean() for right in alone)


def test_confidence_is_calibrated():
    failed, votes = simulated(20_000, ONE_SIDED)
    probabilities = fitted(votes).probabilities(votes)[:, FAILED]
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (probabilities >= low) & (probabilities < low + 0.2)
        assert inside.sum() < 200 or abs(failed[inside].mean() - probabilities[inside].mean()) < 0.1


def test_sign_that_guesses_is_found_out():
    guess = [[[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]]]
    _, votes = simulated(20_000, TWO_SIDED + guess)
    accuracies = fitted(votes).accuracies()
    assert accuracies[0] > 0.85
    assert abs(accuracies[4] - 0.5) < 0.1


def test_sign_that_is_seldom_seen_still_says_what_it_stands_for():
    votes = np.full((300, 2), SILENT)
    votes[:2, 0] = FAILED
    model = fitted(votes)
    assert model.accuracies()[0] == pytest.approx(0.75, abs=0.1)
    assert model.probabilities(votes[:1])[0, FAILED] > 0.6


@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), max_size=20))
def test_probabilities_are_probabilities(votes):
    votes = np.array(votes, dtype=np.int64).reshape(-1, 3)
    probabilities = fitted(votes).probabilities(votes)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


N_LABELS = 14
COMMON = np.linspace(1, 6, N_LABELS) / np.linspace(1, 6, N_LABELS).sum()


def readers(n_turns, accuracies, spoken, *, seed=2):
    """Readers who err evenly, each on the share of turns that it was shown."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(N_LABELS, n_turns, p=COMMON)
    eye = np.eye(N_LABELS)
    rates = [
        np.hstack([share * (right * eye + (1 - right) * (1 - eye) / (N_LABELS - 1)), np.full((N_LABELS, 1), 1 - share)])
        for right, share in zip(accuracies, spoken, strict=True)
    ]
    return truth, draw(truth, rates, rng)


def beliefs(n_sources):
    return [Source(str(i)) for i in range(n_sources)]


def test_accuracies_of_simulated_readers_are_found():
    _, votes = readers(4_000, (0.9, 0.75, 0.6), (0.8, 0.9, 0.7))
    model = LabelModel.fit(votes, beliefs(3), np.full(N_LABELS, 1 / N_LABELS))
    np.testing.assert_allclose(model.accuracies(), (0.9, 0.75, 0.6), atol=0.03)
    np.testing.assert_allclose(model.shares, COMMON, atol=0.02)


def test_labels_of_readers_are_as_sure_as_they_are_right():
    truth, votes = readers(4_000, (0.85, 0.7, 0.6), (0.8, 0.9, 0.7))
    probabilities = LabelModel.fit(votes, beliefs(3), np.full(N_LABELS, 1 / N_LABELS)).probabilities(votes)
    right = probabilities.argmax(axis=1) == truth
    assert probabilities.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.03)
    assert right.mean() > 0.8


def test_silence_of_a_reader_tells_nothing():
    _, votes = readers(2_000, (0.9, 0.75, 0.6), (0.5, 0.5, 0.5))
    model = LabelModel.fit(votes, beliefs(3), np.full(N_LABELS, 1 / N_LABELS))
    [silent] = model.probabilities(np.full((1, 3), N_LABELS))
    np.testing.assert_allclose(silent, model.shares)


def test_person_is_not_outvoted_by_a_classifier_that_disagrees():
    truth, votes = readers(3_000, (0.95, 0.6), (1.0, 1.0))
    person = Source("person", 0.95, 40.0, 1.0)
    probabilities = LabelModel.fit(votes, [person, Source("model")], np.full(N_LABELS, 1 / N_LABELS)).probabilities(
        votes
    )
    assert (probabilities.argmax(axis=1) == votes[:, 0]).mean() > 0.99
    assert (probabilities.argmax(axis=1) == truth).mean() > 0.94
