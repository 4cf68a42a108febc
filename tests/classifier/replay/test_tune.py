"""A target finds the setting that meets it best, and what was chosen is measured on other turns too."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.errors import InputError
from pointsman.classifier.policy_file import Policy
from pointsman.classifier.replay.case import Log
from pointsman.classifier.replay.ledger import Totals
from pointsman.classifier.replay.proposal import MAX_ROWS, policy_diff, policy_text, tuning_answer, tuning_text
from pointsman.classifier.replay.tune import (
    Point,
    Target,
    choose_point,
    cross_checked,
    frontier_of,
    other_promises,
    settings_around,
    tune,
)
from tests.fakes import assessed

from .stories import BALANCED, CATALOG, EASY, HARD, case


def totals(spend=1.0, missed=0.0, *, care=10.0, n=10):
    return Totals(n, spend, 0.0, 0.5, 0.5, care, missed, care, missed, 0)


def point(name, spend=1.0, missed=0.0, halves=None):
    whole = totals(spend, missed)
    return Point((name, name, name), whole, halves or (whole, whole))


@pytest.fixture(scope="module")
def log():
    """Hard turns of which the model is more or less sure, and easy ones, in sessions of eight projects."""
    cases = [
        case(
            1, assessed("debugging", risk, "multi", sure=sure), HARD if sure > 0.5 else EASY, session=f"{risk}{sure}{n}"
        )
        for n in range(4)
        for risk in ("medium", "high")
        for sure in (0.45, 0.6, 0.75, 0.9)
    ]
    grouped = [
        type(c)(**{name: getattr(c, name) for name in c.__slots__} | {"group": f"g{i % 8}"})
        for i, c in enumerate(cases)
    ]
    return Log(tuple(grouped), "invented turns", labelled=True)


def test_share_missed_takes_the_cheapest_that_keeps_it():
    points = [point(1, spend=9, missed=0), point(2, spend=5, missed=1), point(3, spend=2, missed=4)]
    chosen = choose_point(points, Target(max_missed=0.1), lambda p: p.totals)
    assert chosen is points[1]


def test_budget_takes_the_one_that_misses_least():
    points = [point(1, spend=9, missed=0), point(2, spend=5, missed=1), point(3, spend=2, missed=4)]
    chosen = choose_point(points, Target(budget_usd=60, turns_a_month=100), lambda p: p.totals)
    assert chosen is points[1]


def test_high_risk_turns_have_to_keep_the_share_too():
    missed = Totals(100, 1.0, 0.0, 0.5, 0.5, 100.0, 1.0, 10.0, 1.0, 0)
    assert not Target(max_missed=0.02).is_met(missed)
    assert Target(max_missed=0.1).is_met(missed)


def test_nothing_is_chosen_where_nothing_meets_the_target():
    assert choose_point([point(1, missed=5)], Target(max_missed=0.1), lambda p: p.totals) is None


def test_month_is_the_log_scaled_to_its_turns():
    assert Target(budget_usd=1, turns_a_month=250).month_usd(totals(spend=4, n=10)) == 100


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "Give --max-missed or --budget"),
        ({"max_missed": 0.1, "budget_usd": 1.0, "turns_a_month": 1.0}, "Give --max-missed or --budget"),
        ({"max_missed": 2.0}, "expected a share"),
        ({"max_missed": -0.1}, "expected a share"),
        ({"budget_usd": 0.0, "turns_a_month": 1.0}, "above 0"),
    ],
    ids=["neither", "both", "more than all", "negative", "no budget"],
)
def test_target_that_makes_no_sense_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Target(**fields)


def test_frontier_drops_what_another_beats():
    points = [point(1, 1, 5), point(2, 2, 5), point(3, 3, 2), point(4, 4, 3), point(5, 5, 0)]
    assert [found.loss_usd[0] for found in frontier_of(points)] == [1, 3, 5]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10)), min_size=1))
def test_no_point_beats_one_of_the_frontier(values):
    points = [point(n, spend, missed) for n, (spend, missed) in enumerate(values)]
    for best in frontier_of(points):
        assert not any(
            other.totals.spend_usd <= best.totals.spend_usd
            and other.totals.care_missed <= best.totals.care_missed
            and (other.totals.spend_usd, other.totals.care_missed) != (best.totals.spend_usd, best.totals.care_missed)
            for other in points
        )


@given(st.floats(0.01, 10), st.floats(1, 10), st.floats(1, 10))
def test_settings_keep_the_order_of_risks(low, medium, high):
    for losses in settings_around((low, low * medium, low * medium * high)):
        assert losses[0] <= losses[1] <= losses[2]


def test_check_measures_each_choice_on_the_other_half():
    good, bad = totals(spend=5, missed=0), totals(spend=1, missed=9)
    # On the first half one looks good and on the second the other: both choices fail where they were not made.
    points = [point(1, halves=(good, bad)), point(2, halves=(bad, good))]
    checked = cross_checked(points, Target(max_missed=0.1))
    assert checked.care_missed == 18
    assert checked.n_turns == 20


def test_check_needs_turns_on_both_sides():
    assert cross_checked([point(1, halves=(totals(n=0), totals()))], Target(max_missed=0.5)) is None


def test_tune_meets_its_target_and_costs_no_more_than_the_careful_end(log):
    tuning = tune(log, CATALOG, BALANCED, Target(max_missed=0.0))
    assert tuning.chosen.totals.care_missed == 0
    assert tuning.chosen.totals.spend_usd <= tuning.frontier[-1].totals.spend_usd
    assert tuning.chosen.totals.spend_usd < tuning.premium.spend_usd


def test_smaller_share_never_costs_less(log):
    spent = [
        tune(log, CATALOG, BALANCED, Target(max_missed=share)).chosen.totals.spend_usd for share in (0.0, 0.2, 0.6)
    ]
    assert spent == sorted(spent, reverse=True)


def test_halves_sum_to_the_whole(log):
    present = tune(log, CATALOG, BALANCED, Target(max_missed=0.5)).present
    assert sum(half.n_turns for half in present.halves) == present.totals.n_turns
    assert sum(half.spend_usd for half in present.halves) == pytest.approx(present.totals.spend_usd)


def test_budget_that_nothing_keeps_names_the_nearest(log):
    tuning = tune(log, CATALOG, BALANCED, Target(budget_usd=0.001, turns_a_month=100))
    assert tuning.chosen is None
    assert tuning.nearest.totals.spend_usd == min(found.totals.spend_usd for found in tuning.points)


@pytest.fixture(scope="module")
def tuning(log):
    return tune(log, CATALOG, BALANCED, Target(max_missed=0.0))


def test_choice_of_the_present_policy_changes_nothing(tuning):
    same = replace(tuning, chosen=tuning.present)
    assert "nothing changes" in tuning_text(same)
    assert policy_diff(same, Path("tuned.yaml")) == ""


def test_long_frontier_is_thinned_to_its_ends_and_between(tuning):
    many = tuple(point(n, spend=n, missed=40 - n) for n in range(1, 40))
    text = tuning_text(replace(tuning, frontier=many))
    rows = [line for line in text.splitlines() if line.endswith("%)")]
    assert len(rows) <= MAX_ROWS + 4
    assert any(line.split()[1:4] == ["39"] * 3 for line in rows)
    assert any(line.split()[1:4] == ["1"] * 3 for line in rows)


def test_json_of_a_tuning_holds_target_choice_and_frontier(tuning):
    answer = json.loads(json.dumps(tuning_answer(tuning)))
    assert answer["target"] == {"max_missed": 0.0, "budget_usd": None, "turns_a_month": None}
    assert answer["chosen"]["care_missed"] == 0
    assert len(answer["frontier"]) == len(tuning.frontier)


def test_nothing_chosen_is_no_policy(tuning):
    with pytest.raises(InputError, match="there is no policy to write"):
        policy_text(replace(tuning, chosen=None), Path("x.yaml"), command="c", day="2026-11-22")


def test_file_that_would_extend_itself_is_refused(tuning, tmp_path):
    ours = tmp_path / "ours.yaml"
    own = replace(tuning, policy=replace(BALANCED, path=str(ours)))
    with pytest.raises(InputError, match="is the present policy itself"):
        policy_text(own, ours, command="c", day="2026-11-22")


def test_setting_dearer_than_the_careful_model_for_everything_is_said_to_be(tuning):
    dear = replace(tuning.chosen, totals=totals(spend=tuning.premium.spend_usd + 1))
    worse = replace(tuning, chosen=dear)
    assert "Not worth it" in tuning_text(worse)
    assert "# Not worth it" in policy_text(worse, Path("x.yaml"), command="c", day="2026-11-22")
    assert "Not worth it" not in tuning_text(tuning)


def test_promises_of_the_bundle_are_tried_and_the_chosen_one_is_written(log, tmp_path):
    promises = ((0.08, 0.1), (0.2, 0.99))
    bounded = replace(log, cases=tuple(replace(found, promises=promises) for found in log.cases))
    cheap = replace(BALANCED, loss_usd=(0.01, 0.01, 0.01), max_missed=0.08)
    # The narrow promise keeps every turn careful, so only the wide one meets a budget.
    found = tune(bounded, CATALOG, cheap, Target(budget_usd=1.0, turns_a_month=1.0))
    assert {point.max_missed for point in found.points} == {0.08, 0.2}
    wide = next(point for point in found.points if point.max_missed == 0.2)
    path = tmp_path / "wide.yaml"
    path.write_text(policy_text(replace(found, chosen=wide), path, command="pointsman tune", day="2026-11-22"))
    assert Policy.load(path).max_missed == 0.2
    changed = policy_diff(replace(found, chosen=wide), path).splitlines()
    assert {"-max_missed: 0.08", "+max_missed: 0.2"} <= set(changed)


def test_bound_that_is_off_leaves_no_promises_to_try(log):
    bounded = replace(log, cases=tuple(replace(found, promises=((0.08, 0.1),)) for found in log.cases))
    assert other_promises(bounded, replace(BALANCED, enforce_risk_bound=False)) == ()
