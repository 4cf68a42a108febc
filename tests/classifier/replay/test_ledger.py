"""Turns are priced by hand-checked arithmetic, and counted by what they turned out to be."""

from dataclasses import replace

import pytest

from pointsman.classifier.costs import Load, turn_cost
from pointsman.classifier.replay.case import SeenRequests, truth_of
from pointsman.classifier.replay.ledger import Ledger, Taken, sum_up
from tests.fakes import asked, assessed

from .stories import BALANCED, CAREFUL, CATALOG, CHEAP, EASY, HARD, background, case

OPUS = CATALOG.by_name[CAREFUL].tiers[0]


def entries(cases, *models):
    return Ledger(cases, CATALOG, BALANCED).entries(map(Taken, models))


def test_first_turn_pays_for_a_context_that_nothing_has_cached():
    [entry] = entries([case(1, HARD)], CAREFUL)
    # `multi`: ten requests, 6 000 tokens out, 20 000 more context; 30 000 to begin with.
    assert entry.usd == pytest.approx(turn_cost(OPUS, 30_000, 0, Load.of(10, 6_000, 20_000)))


def test_by_hand():
    [entry] = entries([case(1, HARD)], CAREFUL)
    written, read, output = 50_000 * 5, (9 * 30_000 + 20_000 * 8 / 2) * 0.20, 6_000 * 20
    assert entry.usd == pytest.approx((written + read + output) / 1e6)


def test_staying_reads_the_cache_and_switching_does_not():
    cases = [case(1, HARD), case(2, HARD, at=60.0)]
    stayed, switched = entries(cases, CAREFUL, CAREFUL)[1], entries(cases, CHEAP, CAREFUL)[1]
    assert switched.usd - stayed.usd == pytest.approx(30_000 * (5 - 0.20) / 1e6)
    assert (stayed.switched, switched.switched) == (False, True)


def test_cache_that_the_provider_dropped_is_not_read():
    cold = [case(1, HARD), case(2, HARD, at=301.0)]
    first, second = entries(cold, CAREFUL, CAREFUL)
    assert second.usd == pytest.approx(first.usd)


def test_seen_requests_stand_in_place_of_expected_ones():
    [entry] = entries([case(1, HARD, seen=SeenRequests(5, 8_000))], CAREFUL)
    # Output is not seen: half the requests, half the output.
    assert entry.usd == pytest.approx(turn_cost(OPUS, 30_000, 0, Load.of(5, 3_000, 8_000)))


def test_seen_output_stands_in_place_of_the_expected_one():
    [entry] = entries([case(1, HARD, seen=SeenRequests(5, 8_000, 700.0))], CAREFUL)
    assert entry.usd == pytest.approx(turn_cost(OPUS, 30_000, 0, Load.of(5, 700, 8_000)))


def test_model_left_in_the_middle_of_a_turn_costs_a_context():
    step = asked("prompt 1", 1, step=1, context_tokens=40_000)
    cases = [case(1, HARD), case(2, HARD, turn=step, begins=False, weighed=False)]
    [left] = entries(cases, CHEAP, CAREFUL)
    [stayed] = entries(cases, CHEAP, CHEAP)
    assert left.usd - stayed.usd == pytest.approx(40_000 * (5 - 0.20) / 1e6)
    assert left.switched


def test_mid_turn_change_belongs_to_its_own_session():
    step = asked("prompt 1", 1, step=1)
    cases = [case(1, HARD), case(1, HARD, session="s2"), case(2, HARD, turn=step, begins=False, weighed=False)]
    first, other = entries(cases, CHEAP, CHEAP, CAREFUL)
    assert (first.switched, other.switched) == (True, False)


def test_background_calls_are_neither_priced_nor_a_switch():
    cases = [case(1, HARD), background(), case(2, HARD)]
    found = entries(cases, CAREFUL, CHEAP, CAREFUL)
    assert [entry.switched for entry in found] == [False, False]


def test_miss_is_rate_times_loss_of_what_the_turn_was():
    wrong = assessed("docs", "low", "file")
    [entry] = entries([case(1, wrong, truth=HARD)], CHEAP)
    [rate] = CATALOG.rates[CATALOG.places[CHEAP], [0 * 3 + 1]]  # debugging, multi
    assert entry.miss_usd == pytest.approx(rate * 40)


def test_effort_changes_output_and_failures():
    row = CATALOG.by_name[CAREFUL]
    high = type("E", (), {"name": "high", "output": 2.0, "failure_odds": 0.5})
    models = tuple(replace(model, efforts=(high,)) if model is row else model for model in CATALOG.models)
    ledger = Ledger([case(1, HARD)], replace(CATALOG, models=models), BALANCED)
    [plain], [asked_high] = ledger.entries([Taken(CAREFUL)]), ledger.entries([Taken(CAREFUL, "high")])
    assert asked_high.usd - plain.usd == pytest.approx(6_000 * 20 / 1e6)
    assert asked_high.miss_usd < plain.miss_usd


def test_labels_count_whole_turns():
    cases = [case(1, EASY, truth=HARD), case(2, EASY, truth=HARD), case(3, HARD, truth=EASY)]
    totals = sum_up(entries(cases, CHEAP, CAREFUL, CAREFUL))
    assert (totals.needs_care, totals.care_missed, totals.high_risk, totals.high_missed) == (2, 1, 2, 1)
    assert totals.premium_share == pytest.approx(2 / 3)
    assert totals.switches == 1
    assert totals.care_missed_share == 0.5


def test_probabilities_count_expected_turns():
    doubtful = assessed("docs", "high", "file", sure=0.4)
    totals = sum_up(entries([case(1, doubtful), case(2, doubtful)], CHEAP, CAREFUL))
    assert totals.high_risk == pytest.approx(0.8)
    assert totals.high_missed == pytest.approx(0.4)


def test_interval_holds_the_share_and_narrows_with_turns():
    few = sum_up(entries([case(n, HARD, session=f"s{n}") for n in range(4)], *[CHEAP] * 1, *[CAREFUL] * 3))
    many = sum_up(entries([case(n, HARD, session=f"s{n}") for n in range(40)], *[CHEAP] * 10, *[CAREFUL] * 30))
    for totals in (few, many):
        low, high = totals.care_missed_interval()
        assert low < totals.care_missed_share < high
    assert few.care_missed_interval()[1] > many.care_missed_interval()[1]


def test_no_turns_sum_to_nothing():
    totals = sum_up([])
    assert (totals.n_turns, totals.spend_usd, totals.premium_share, totals.care_missed_share) == (0, 0, 0, 0)


def test_truth_of_labels_is_priced_at_their_cell():
    labels = {"category": "operation", "risk": "low", "scope": "file", "turn": "new"}
    [entry] = entries([case(1, HARD, truth=truth_of(labels))], CAREFUL)
    assert entry.usd == pytest.approx(turn_cost(OPUS, 30_000, 0, Load.of(2, 600, 4_000)))
