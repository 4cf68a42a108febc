"""Two policies side by side: rows, references, changes with their reasons, and the same as JSON."""

import json
from dataclasses import replace

import pytest

from pointsman.classifier.policy import Policy
from pointsman.classifier.replay.case import Log, cases_of
from pointsman.classifier.replay.comparison import compare, comparison_answer, comparison_text
from tests.fakes import asked, assessed

from .stories import BALANCED, CAREFUL, CATALOG, CHEAP, EASY, HARD, LiveLog, case

FRUGAL = Policy.load("frugal")
MIDDLING = assessed("feature", "medium", "multi", sure=0.7)


@pytest.fixture(scope="module")
def log():
    cases = (case(1, HARD, session="a"), case(1, MIDDLING, truth=HARD, session="b"), case(1, EASY, session="c"))
    return Log(cases, "three turns", ("They are invented.",), labelled=True)


@pytest.fixture(scope="module")
def comparison(log):
    return compare(log, CATALOG, [BALANCED, FRUGAL])


def test_rows_stand_in_order_with_references_behind(comparison):
    names = [row.name for row in comparison.rows]
    assert names == ["balanced", "frugal", "all-premium", "all-cheap", "keyword baseline", "labels known"]


def test_figures_by_hand(comparison):
    balanced, frugal = comparison.row("balanced").totals, comparison.row("frugal").totals
    assert (balanced.care_missed, frugal.care_missed) == (0, 1)
    assert (balanced.premium_share, frugal.premium_share) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert balanced.spend_usd > frugal.spend_usd


def test_references_bound_the_spending(comparison):
    spent = {row.name: row.totals.spend_usd for row in comparison.rows}
    assert spent["all-cheap"] < spent["frugal"] < spent["balanced"] < spent["all-premium"]


def test_known_labels_are_decided_by_them(comparison):
    assert comparison.row("labels known").totals.care_missed == 0


def test_change_names_both_models_and_the_reasons(comparison):
    [change] = comparison.changes["frugal"]
    assert (change.id, change.model_before, change.model) == ("b-1", CAREFUL, CHEAP)
    assert CHEAP in " ".join(change.reasons)
    assert CAREFUL in " ".join(change.reasons_before)
    assert change.usd < 0 < change.miss_usd


def test_same_policy_twice_changes_nothing(log):
    again = replace(BALANCED, path="/elsewhere/balanced.yaml")
    comparison = compare(log, CATALOG, [BALANCED, again])
    assert comparison.changes == {"/elsewhere/balanced.yaml": ()}
    assert comparison.rows[0].totals == comparison.rows[1].totals


def test_one_yardstick_prices_all(log):
    dear = replace(BALANCED, loss_usd=tuple(10 * loss for loss in BALANCED.loss_usd))
    by_balanced = compare(log, CATALOG, [BALANCED]).row("all-cheap").totals
    by_dear = compare(log, CATALOG, [dear]).row("all-cheap").totals
    assert by_dear.miss_usd == pytest.approx(10 * by_balanced.miss_usd)
    assert by_dear.spend_usd == by_balanced.spend_usd


def test_log_without_text_leaves_the_keyword_baseline_out():
    live = LiveLog()
    live.ask(asked("fix the bug"), HARD)
    comparison = compare(Log(cases_of(live.records), "records"), CATALOG, [BALANCED])
    assert "keyword baseline" in comparison.left_out
    assert comparison.row("as logged").totals == comparison.row("balanced").totals


def test_log_of_other_models_is_no_row():
    live = LiveLog()
    live.ask(asked("fix the bug"), HARD)
    cases = tuple(replace(case, taken="gone") for case in cases_of(live.records))
    comparison = compare(Log(cases, "records"), CATALOG, [BALANCED])
    assert "not in the catalogue" in comparison.left_out["as logged"]


def test_json_holds_every_row_change_and_assumption(comparison):
    answer = json.loads(json.dumps(comparison_answer(comparison)))
    assert [row["name"] for row in answer["rows"]] == [row.name for row in comparison.rows]
    assert answer["changes"]["frugal"]["turns"][0]["id"] == "b-1"
    assert "They are invented." in answer["assumptions"]


def test_text_shows_the_changes_asked_for(comparison):
    assert "b-1" in comparison_text(comparison, n_changes=1)
    none = comparison_text(comparison, n_changes=0)
    assert "b-1" not in none
    assert "1 more" in none


def test_text_aligns_its_columns(comparison):
    lines = comparison_text(comparison, n_changes=0).splitlines()[2:9]
    assert len({len(line) for line in lines}) == 1
