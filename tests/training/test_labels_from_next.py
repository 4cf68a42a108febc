"""Votes of known accuracy give their accuracy back, and labels better than any single source."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.training.importers.run import ImportConfig, import_turns
from pointsman.training.labels_from_next import FAILED, SILENT, SOURCES, WORKED, LabelModel, label_turns, votes_of


def simulated(n_rows, rates, *, failure_rate=0.3, seed=1):
    """Draw votes: `rates[source][true]` are the chances of voting worked, failed, silent."""
    rng = np.random.default_rng(seed)
    failed = (rng.random(n_rows) < failure_rate).astype(int)
    chances = np.array(rates)[:, failed, :]  # (n_sources, n_rows, 3)
    votes = (rng.random(chances.shape[:2])[..., None] > chances.cumsum(axis=2)).sum(axis=2).T
    return failed, np.minimum(votes, SILENT)


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
def test_rates_of_simulated_sources_are_found(rates):
    _, votes = simulated(20_000, rates)
    model = LabelModel.fit(votes)
    assert model.failure_rate == pytest.approx(0.3, abs=0.04)
    np.testing.assert_allclose(model.rates, rates, atol=0.06)


def test_labels_beat_every_single_source():
    failed, votes = simulated(5_000, TWO_SIDED)
    guessed = LabelModel.fit(votes).failure_probabilities(votes) >= 0.5
    alone = [np.where(votes[:, s] == SILENT, WORKED, votes[:, s]) == failed for s in range(votes.shape[1])]
    assert (guessed == failed).mean() > max(right.mean() for right in alone)


def test_confidence_is_calibrated():
    failed, votes = simulated(20_000, ONE_SIDED)
    probabilities = LabelModel.fit(votes).failure_probabilities(votes)
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (probabilities >= low) & (probabilities < low + 0.2)
        assert inside.sum() < 200 or abs(failed[inside].mean() - probabilities[inside].mean()) < 0.1


def test_a_source_that_guesses_is_found_out():
    guess = [[[0.4, 0.4, 0.2], [0.4, 0.4, 0.2]]]
    _, votes = simulated(20_000, TWO_SIDED + guess)
    accuracies = LabelModel.fit(votes).accuracies()
    assert accuracies[0] > 0.85
    assert abs(accuracies[4] - 0.5) < 0.1


@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), max_size=20))
def test_probabilities_are_probabilities(votes):
    votes = np.array(votes, dtype=np.int64).reshape(-1, 3)
    probabilities = LabelModel.fit(votes).failure_probabilities(votes)
    assert ((probabilities > 0) & (probabilities < 1)).all()


QUIET = {"gap_s": 1.0, "is_repeat": False, "similarity": 0.4, "n_errors": 0}


@pytest.mark.parametrize(
    ("row", "source", "vote"),
    [
        ({"next": QUIET | {"says_wrong": True}}, "correction", FAILED),
        ({"next": QUIET | {"asks_undo": True}}, "undo", FAILED),
        ({"is_undone": True, "next": None}, "undo", FAILED),
        ({"next": QUIET | {"repeats_error": True}}, "repeated_error", FAILED),
        ({"next": QUIET | {"is_repeat": True}}, "repeated_request", FAILED),
        ({"is_interrupted": True, "next": None}, "abandoned", FAILED),
        ({"is_interrupted": True, "next": QUIET}, "interrupted", FAILED),
        ({"next": QUIET | {"approves": True}}, "approval", WORKED),
        ({"next": QUIET | {"similarity": 0.0}}, "moved_on", WORKED),
        ({"outcome": "escalated", "next": QUIET}, "feedback", FAILED),
        ({"outcome": "success", "next": QUIET}, "feedback", WORKED),
    ],
)
def test_sign_is_a_vote_of_its_source_alone(row, source, vote):
    [votes] = votes_of([row])
    assert dict(zip(SOURCES, votes.tolist(), strict=True)) == dict.fromkeys(SOURCES, SILENT) | {source: vote}


def test_turn_without_a_sign_gets_no_label():
    labels, reports = label_turns([{"id": "a", "next": QUIET}, {"id": "b", "next": QUIET | {"says_wrong": True}}])
    assert [label.id for label in labels] == ["b"]
    assert {report.name: report.n_votes for report in reports}["correction"] == 1


def test_imported_session_is_labelled(tmp_path):
    said = ["Fix the clock, ValueError: late", "Still wrong, ValueError: late", "thanks, works now"]
    history = "".join(f"#### {text}\n\nDone.\n\n" for text in said)
    path = tmp_path / ".aider.chat.history.md"
    path.write_text(f"# aider chat started at 2026-01-01 10:00:00\n\n{history}")
    import_turns(ImportConfig((str(path),), tmp_path / "turns.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "turns.jsonl").read_text().splitlines()]
    labels, _ = label_turns(rows)
    assert [(label.label, label.sources) for label in labels[:1]] == [("failed", ("correction", "repeated_error"))]
    assert "approval" in labels[1].sources
