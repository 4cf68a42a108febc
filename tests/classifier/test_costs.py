from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.costs import (
    OVERALL,
    Evidence,
    Family,
    Load,
    PriceTier,
    after_corrections,
    failure_rates,
    reread_cost,
    turn_cost,
)
from pointsman.classifier.labels import CATEGORIES

TIER = PriceTier(None, input=4, output=20, cache_read=0.2, cache_write=5)
FLAT = PriceTier(None, input=1, output=5, cache_read=1, cache_write=1)
FAMILY = Family("f", {OVERALL: 0.2, "docs": 0.05}, 10, "assumption")


def trial(category, successes, trials, weight=1.0):
    return Evidence(category, successes, trials, weight, "a trial", date(2026, 1, 1))


def rate_of(rates, category):
    return rates[CATEGORIES.index(category)]


def test_turn_cost_is_the_sum_of_its_requests():
    load = Load.of(requests=4, output_tokens=2_000, growth_tokens=9_000)
    # By hand: 30k written; then three requests that add 3k each and read all before: 30k, 33k, 36k.
    by_hand = 30_000 * 5 + 3 * 3_000 * 5 + (30_000 + 33_000 + 36_000) * 0.2 + 2_000 * 20
    assert turn_cost(TIER, 30_000, 0, load) == pytest.approx(by_hand / 1e6)


def test_worked_example_of_the_balanced_policy():
    load = Load.of(requests=10, output_tokens=6_000, growth_tokens=20_000)
    assert turn_cost(TIER, 40_000, 0, load) == pytest.approx(0.51, abs=0.005)


def test_a_lost_cache_costs_what_keeping_it_saves():
    load = Load.of(5, 1_000, 2_000)
    lost = turn_cost(TIER, 30_000, 0, load) - turn_cost(TIER, 30_000, 30_000, load)
    assert lost == pytest.approx(reread_cost(TIER, 30_000))


def test_without_cache_prices_every_request_pays_the_whole_context():
    load = Load.of(requests=3, output_tokens=0, growth_tokens=0)
    assert turn_cost(FLAT, 10_000, 0, load) == pytest.approx(3 * 10_000 / 1e6)
    assert reread_cost(FLAT, 10_000) == 0


def test_expected_load_averages():
    file, multi = Load.of(2, 100, 10), Load.of(4, 300, 30)
    mixed = Load.expected((file, multi), (0.5, 0.5))
    assert (mixed.requests, mixed.output_tokens, mixed.growth_tokens) == (3, 200, 20)


def test_without_evidence_the_prior_stands():
    rates = failure_rates(FAMILY, (), back_off_trials=8)
    assert rate_of(rates, "docs") == pytest.approx(0.05)
    assert rate_of(rates, "debugging") == pytest.approx(0.2)


def test_posterior_by_hand():
    # Overall stays 0.2; debugging: 0.2 of 8 trials, and 2 failures in 5.
    rates = failure_rates(FAMILY, (trial("debugging", 3, 5),), back_off_trials=8)
    assert rate_of(rates, "debugging") == pytest.approx((0.2 * 8 + 2) / 13)
    assert rate_of(rates, "security") == pytest.approx(0.2)


def test_overall_evidence_moves_every_category_the_same_way():
    better = failure_rates(FAMILY, (trial(OVERALL, 50, 50),), 8)
    plain = failure_rates(FAMILY, (), 8)
    assert all(b < p for b, p in zip(better, plain, strict=True))
    assert rate_of(better, "docs") < rate_of(better, "debugging")


def test_benchmarks_weigh_less_than_own_trials():
    own = failure_rates(FAMILY, (trial(OVERALL, 5, 10),), 8)
    benchmark = failure_rates(FAMILY, (trial(OVERALL, 5, 10, weight=0.04),), 8)
    assert rate_of(own, "debugging") > rate_of(benchmark, "debugging") > 0.2


def test_family_evidence_reaches_its_members():
    tried = Family("f", FAMILY.failure, 10, "assumption", (trial("debugging", 0, 5),))
    assert rate_of(failure_rates(tried, (), 8), "debugging") == pytest.approx((0.2 * 10 + 5) / 15)


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
    )
)
def test_rates_stay_probabilities(evidence):
    assert all(0 < rate < 1 for rate in failure_rates(FAMILY, evidence, 8))


@given(st.floats(0.01, 0.99), st.floats(0, 20), st.floats(0, 20))
def test_corrections_only_raise_failure(rate, fewer, more):
    fewer, more = sorted((fewer, more))
    low, high = after_corrections(rate, fewer, 2, 8), after_corrections(rate, more, 2, 8)
    assert rate - 1e-12 <= low <= high + 1e-12 <= 1 + 1e-9
