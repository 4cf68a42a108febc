"""Spending by day and category sums to the whole, and is what the ledger says of each turn."""

import json

import pytest

from pointsman.classifier.errors import InputError
from pointsman.classifier.replay.case import Log, cases_of
from pointsman.classifier.replay.ledger import Ledger, Taken
from pointsman.classifier.replay.savings import Spent, savings_answer, savings_of, savings_text
from tests.fakes import asked

from .stories import BALANCED, CAREFUL, CATALOG, CHEAP, EASY, HARD, LiveLog, case

CASES = (
    case(1, HARD, session="a", day="2026-11-20", taken=CAREFUL),
    case(1, EASY, session="b", day="2026-11-20", taken=CHEAP, reported_usd=0.02),
    case(1, EASY, session="c", day="2026-11-21", taken=CHEAP),
)


@pytest.fixture(scope="module")
def savings():
    return savings_of(Log(CASES, "three turns"), CATALOG, BALANCED)


def added(sums, name):
    return pytest.approx(sum(getattr(spent, name) for spent in sums.values()))


@pytest.mark.parametrize("name", Spent.__slots__)
def test_days_and_categories_sum_to_the_whole(savings, name):
    assert getattr(savings.total, name) == added(savings.by_day, name) == added(savings.by_category, name)


def test_saved_is_what_easy_turns_would_have_cost_more(savings):
    ledger = Ledger(CASES[1:2], CATALOG, BALANCED)
    [dear], [cheap] = ledger.entries([Taken(CAREFUL)]), ledger.entries([Taken(CHEAP)])
    assert savings.total.saved_usd == pytest.approx(2 * (dear.usd - cheap.usd))
    assert savings.by_category["debugging"].saved_usd == 0


def test_misses_that_a_cheap_model_adds_stand_beside_the_savings(savings):
    assert savings.total.added_miss_usd > 0
    assert savings.by_category["debugging"].added_miss_usd == 0


def test_reported_costs_stand_beside_their_estimate(savings):
    assert (savings.reported.n_turns, savings.reported.usd) == (1, 0.02)
    assert savings.reported.estimated_usd == pytest.approx(savings.total.spent_usd - _spent_but(1))


def _spent_but(place):
    kept = CASES[:place] + CASES[place + 1 :]
    return savings_of(Log(kept, ""), CATALOG, BALANCED).total.spent_usd


def test_sessions_on_unknown_models_are_left_out_and_counted():
    odd = case(1, EASY, session="d", taken="gone"), case(2, EASY, session="d", taken=CHEAP)
    savings = savings_of(Log((*CASES, *odd), ""), CATALOG, BALANCED)
    assert (savings.n_left_out, savings.total.n_turns) == (2, 3)
    assert "2 turns are left out" in savings_text(savings)


def test_labelled_turns_were_never_spent_on():
    with pytest.raises(InputError, match="nobody decided these turns"):
        savings_of(Log((case(),), "labelled"), CATALOG, BALANCED)


def test_empty_log_is_all_zero():
    savings = savings_of(Log((), "nothing"), CATALOG, BALANCED)
    assert savings.total == Spent()
    assert "0.00 USD (0.0%) less" in savings_text(savings)


def test_served_log_costs_what_was_expected_of_it():
    log = LiveLog()
    decision = log.ask(asked("a"), HARD)
    savings = savings_of(Log(cases_of(log.records), "log"), CATALOG, BALANCED)
    [expected] = [cost.tokens for cost in decision.expected_cost if cost.model == decision.model]
    assert savings.total.spent_usd == pytest.approx(expected)


def test_json_has_both_views_and_the_assumptions(savings):
    answer = json.loads(json.dumps(savings_answer(savings)))
    assert list(answer["by_day"]) == ["2026-11-20", "2026-11-21"]
    assert answer["total"]["saved_usd"] == pytest.approx(savings.total.saved_usd)
    assert any("list prices" in text for text in answer["assumptions"])


def test_text_names_every_day_and_category(savings):
    text = savings_text(savings)
    assert all(name in text for name in ("2026-11-20", "2026-11-21", "debugging", "docs", "in all"))
    assert "Feedback reports 0.02 USD for 1 turns" in text
