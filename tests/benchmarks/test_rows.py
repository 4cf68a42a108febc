"""The shape that figures are reported in, on figures that are known."""

import json

import numpy as np
import pytest

from . import results
from .rows import Goal, Row, Samples, take_turns

NOISE = np.random.default_rng(1).lognormal(sigma=0.5, size=200)


def test_noise_that_hits_both_cancels_in_the_ratio():
    low, high = Samples(1.2 * NOISE, NOISE).ratio_interval(np.median)
    assert (low, high) == pytest.approx((1.2, 1.2))


def test_noise_of_one_side_widens_the_interval():
    low, high = Samples(1.2 * NOISE, NOISE[::-1]).ratio_interval(np.median)
    assert low < 1.2 < high
    assert high - low > 0.1


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [
        (Goal("ours", 2), False),
        (Goal("ours", 3), True),
        (Goal("ratio", 1.5), True),
        (Goal("ratio", 1.6, at_least=True), False),
        (Goal("excess", 0.9), False),
        (None, None),
    ],
)
def test_goal_is_met_or_missed(goal, is_met):
    assert Row("part", "what", "ms", 3.0, reference=2.0, goal=goal).is_met is is_met


def test_both_are_run_equally_often_and_warm_up_is_left_out():
    runs = []
    samples = take_turns(lambda: runs.append("ours"), lambda: runs.append("reference"), 5, n_warm=2)
    assert (runs.count("ours"), runs.count("reference"), len(samples.ours)) == (7, 7, 5)


def as_kept(what, ours):
    return results.as_json(Row("part", what, "ms", ours, 3, "bare", 2.0, 1.4, 1.6, Goal("ratio", 1.1)), "command")


def test_later_run_takes_the_place_of_its_own_rows_only(tmp_path):
    results.write(tmp_path, [as_kept("first", 3.0), as_kept("second", 3.0)])
    path = results.write(tmp_path, [as_kept("second", 4.0)])
    assert [(row["what"], row["ours"]) for row in json.loads(path.read_text())["rows"]] == [
        ("first", 3.0),
        ("second", 4.0),
    ]


def test_results_of_another_bundle_are_begun_anew(tmp_path, monkeypatch):
    results.write(tmp_path, [as_kept("first", 3.0)])
    monkeypatch.setattr(results.machine, "describe_bundle", lambda: {"version": "other", "digest": "d"})
    path = results.write(tmp_path, [as_kept("second", 4.0)])
    assert [row["what"] for row in json.loads(path.read_text())["rows"]] == ["second"]


def test_table_shows_what_was_missed_and_what_was_not_measured(tmp_path):
    skipped = results.skipped_as_json("part", "rival", "not installed", "command")
    path = results.write(tmp_path, [as_kept("first", 3.0), skipped])
    table = path.with_suffix(".md").read_text()
    assert "| first | 3 ms | 2 (bare) | 1.50 | 1.40 to 1.60 | 3 | ratio <= 1.1 | missed |" in table
    assert "| rival | not measured: not installed |" in table
