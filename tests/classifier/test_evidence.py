"""What is believed of a model's failures: priors, published trials, own outcomes, age and scope."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.evidence import (
    OVERALL,
    Beta,
    Evidence,
    Family,
    Setting,
    Tally,
    after_corrections,
    posterior_of,
)
from pointsman.classifier.labels import CATEGORIES, SCOPES

TODAY = date(2026, 1, 1)
SETTING = Setting(back_off_trials=8, half_life_days=365, as_of=TODAY)
FAMILY = Family("f", {OVERALL: 0.2, "docs": 0.05}, 10, "assumption")


def trial(category, successes, trials, weight=1.0, day=TODAY):
    return Evidence(category, successes, trials, weight, "a trial", day)


def rate_of(posterior, category):
    return posterior.categories[CATEGORIES.index(category)].mean


def tallies(**cells):
    return [Tally(*cells.get(category, (0, 0))) for category in CATEGORIES]


def test_without_evidence_the_prior_stands():
    posterior = posterior_of(FAMILY, (), SETTING)
    assert rate_of(posterior, "docs") == pytest.approx(0.05)
    assert rate_of(posterior, "debugging") == pytest.approx(0.2)
    assert posterior.overall == Beta(0.2, 8)


def test_posterior_by_hand():
    # Overall stays 0.2; debugging: 0.2 of 8 trials, and 2 failures in 5.
    posterior = posterior_of(FAMILY, (trial("debugging", 3, 5),), SETTING)
    assert rate_of(posterior, "debugging") == pytest.approx((0.2 * 8 + 2) / 13)
    assert posterior.categories[0].trials == 13
    assert rate_of(posterior, "security") == pytest.approx(0.2)


def test_overall_evidence_moves_every_category_the_same_way():
    better = posterior_of(FAMILY, (trial(OVERALL, 50, 50),), SETTING)
    plain = posterior_of(FAMILY, (), SETTING)
    assert all(b.mean < p.mean for b, p in zip(better.categories, plain.categories, strict=True))
    assert rate_of(better, "docs") < rate_of(better, "debugging")


def test_benchmarks_weigh_less_than_own_trials():
    own = posterior_of(FAMILY, (trial(OVERALL, 5, 10),), SETTING)
    benchmark = posterior_of(FAMILY, (trial(OVERALL, 5, 10, weight=0.04),), SETTING)
    assert rate_of(own, "debugging") > rate_of(benchmark, "debugging") > 0.2


def test_family_evidence_reaches_its_members():
    tried = Family("f", FAMILY.failure, 10, "assumption", (trial("debugging", 0, 5),))
    assert rate_of(posterior_of(tried, (), SETTING), "debugging") == pytest.approx((0.2 * 10 + 5) / 15)


def test_trials_count_half_after_their_half_life():
    old = trial("debugging", 0, 10, day=TODAY - timedelta(days=365))
    aged = posterior_of(FAMILY, (old,), SETTING)
    assert aged == posterior_of(FAMILY, (trial("debugging", 0, 5),), SETTING)


def test_trials_of_tomorrow_are_not_worth_more():
    soon = trial("debugging", 0, 10, day=TODAY + timedelta(days=30))
    assert posterior_of(FAMILY, (soon,), SETTING) == posterior_of(FAMILY, (trial("debugging", 0, 10),), SETTING)


def test_outcomes_move_their_own_category_most_and_the_others_with_it():
    plain = posterior_of(FAMILY, (), SETTING)
    failed = posterior_of(FAMILY, (), SETTING, tallies(debugging=(20, 40)))
    assert rate_of(failed, "debugging") > rate_of(failed, "security") > rate_of(plain, "security")
    assert rate_of(failed, "docs") > rate_of(plain, "docs")


def test_outcomes_as_expected_change_no_mean():
    as_expected = posterior_of(FAMILY, (), SETTING, tallies(debugging=(20, 100), docs=(5, 100)))
    plain = posterior_of(FAMILY, (), SETTING)
    for category in CATEGORIES:
        assert rate_of(as_expected, category) == pytest.approx(rate_of(plain, category), abs=2e-3)
    assert as_expected.categories[0].trials == 108


def test_many_outcomes_outvote_the_prior():
    told = posterior_of(FAMILY, (), SETTING, tallies(debugging=(450, 900)))
    assert rate_of(told, "debugging") == pytest.approx(0.5, abs=0.01)


def test_scope_changes_the_odds_and_nothing_else():
    drifting = Family("f", FAMILY.failure, 10, "assumption", (), (1.0, 1.0, 2.0))
    posterior = posterior_of(drifting, (), SETTING)
    debugging = posterior.rates[: len(SCOPES)]
    assert debugging == pytest.approx((0.2, 0.2, 1 / 3))  # odds of 1/4 become 1/2


@pytest.mark.parametrize(
    ("mean", "trials", "interval"),
    # scipy.stats.beta(mean * trials, (1 - mean) * trials).ppf([0.05, 0.95])
    [
        (0.2, 10, (0.041023, 0.429136)),
        (0.5, 2, (0.05, 0.95)),
        (0.03, 8, (0.0, 0.147087)),
        (0.34, 400, (0.301543, 0.379368)),
    ],
)
def test_interval_is_that_of_the_beta_distribution(mean, trials, interval):
    assert Beta(mean, trials).interval() == pytest.approx(interval, abs=5e-4)


def test_draws_are_the_belief_and_the_same_for_a_seed():
    belief = Beta(0.3, 20)
    draws = [belief.draw(f"seed {i}") for i in range(2_000)]
    assert sum(draws) / len(draws) == pytest.approx(0.3, abs=0.01)
    assert belief.draw("seed 7") == draws[7]


@given(
    st.lists(
        st.builds(
            trial,
            st.sampled_from((OVERALL, *CATEGORIES)),
            st.integers(0, 50),
            st.integers(50, 100),
            st.floats(0, 1),
        ),
        max_size=6,
    ),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1e4)), min_size=len(CATEGORIES), max_size=len(CATEGORIES)),
)
def test_rates_stay_probabilities(evidence, outcomes):
    counted = [Tally(share * trials, trials) for share, trials in outcomes]
    posterior = posterior_of(FAMILY, evidence, SETTING, counted)
    assert all(0 < rate < 1 for rate in posterior.rates)
    assert 0 < posterior.overall.mean < 1


@given(st.floats(0.01, 0.99), st.floats(0, 20), st.floats(0, 20))
def test_corrections_only_raise_failure(rate, fewer, more):
    fewer, more = sorted((fewer, more))
    low, high = after_corrections(rate, fewer, 2, 8), after_corrections(rate, more, 2, 8)
    assert rate - 1e-12 <= low <= high + 1e-12 <= 1 + 1e-9
