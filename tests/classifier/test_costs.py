import pytest

from pointsman.classifier.costs import Load, PriceTier, reread_cost, turn_cost

TIER = PriceTier(None, input=4, output=20, cache_read=0.2, cache_write=5)
FLAT = PriceTier(None, input=1, output=5, cache_read=1, cache_write=1)


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


def test_scaled_load_never_has_less_than_its_first_request():
    load = Load.of(4, 200, 30).scaled(0.1, 0.5, 2)
    assert (load.requests, load.output_tokens, load.growth_tokens, load.regrown_tokens) == (1, 100, 60, 0)
