"""What records teach: outcomes per model and category, and what turns send."""

from datetime import date

import pytest

from pointsman.classifier.assessment import Kind
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.evidence import Tally
from pointsman.classifier.labels import CATEGORIES, SCOPES
from pointsman.classifier.outcomes import (
    IMPLICIT_WEIGHT,
    Judged,
    SeenLoad,
    SeenTurn,
    learn_loads,
    tally_outcomes,
)
from pointsman.classifier.policy import Policy
from pointsman.classifier.records import OUTCOMES, DecisionRecord, FeedbackRecord, utc_now
from pointsman.classifier.router import Router
from tests.fakes import FakeAssessor, asked, assessed

TODAY = date(2026, 11, 22)
BALANCED = Policy.load("balanced")
CATALOG = Catalog.load("anthropic-dashscope")


def turn(n, model="cheap", category="debugging", correct=0.0, session="s", day="2026-11-22"):
    return SeenTurn(f"d{n}", f"{day}T10:00:{n:02}.000000Z", session, model, category, correct)


def judged(n, outcome, category=None, second=0):
    return Judged(f"d{n}", f"2026-11-22T11:00:{second:02}.000000Z", outcome, category)


def tally(turns, judgements=(), model="cheap", category="debugging", **options):
    counted = tally_outcomes(turns, judgements, as_of=TODAY, **options)
    return counted[model][CATEGORIES.index(category)] if model in counted else Tally()


WORTH = {"success": (0, 1), "failure": (1, 1), "corrected": (1, 1), "escalated": (1, 1), "abandoned": (0.5, 0.5)}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_judgement_counts_as(outcome):
    assert tally([turn(1)], [judged(1, outcome)]) == Tally(*WORTH[outcome])


def test_next_turn_tells_of_the_model_before():
    told = tally([turn(1), turn(2, model="strong", correct=0.9)])
    assert told == Tally(pytest.approx(0.9 * IMPLICIT_WEIGHT), IMPLICIT_WEIGHT)
    assert tally([turn(1), turn(2, correct=0.9, session="other")]) == Tally()
    assert tally([turn(1)]) == Tally()


def test_judgement_replaces_what_the_next_turn_says():
    assert tally([turn(1), turn(2, correct=1.0)], [judged(1, "success")]) == Tally(0, 1)


def test_last_judgement_counts_and_a_corrected_category_with_it():
    turns = [turn(1)]
    judgements = [judged(1, "success", second=1), judged(1, "failure", "migration", second=2)]
    assert tally(turns, judgements) == Tally()
    assert tally(turns, judgements[::-1], category="migration") == Tally(1, 1)


def test_outcomes_count_half_after_their_half_life():
    old = turn(1, day="2026-09-23")
    assert tally([old], [judged(1, "failure")], half_life_days=60) == Tally(pytest.approx(0.5), pytest.approx(0.5))


def test_records_are_reduced_to_turns():
    router = Router(FakeAssessor(default=assessed("debugging", "high", turn="correct", sure=0.9)), CATALOG, BALANCED)
    first = DecisionRecord.of(asked(), router.decide_turn(asked()), created_at=utc_now())
    seen = SeenTurn.of(DecisionRecord.from_json(first.to_json()))
    assert (seen.session, seen.model, seen.category) == ("s1", "claude-opus-5-5", "debugging")
    assert seen.correct_probability == pytest.approx(0.9)
    loop = DecisionRecord.of(asked(step=1), router.decide_turn(asked(step=1)), created_at=utc_now())
    title = asked("Name it", n=9, kind=Kind.BACKGROUND, background="title")
    background = DecisionRecord.of(title, router.decide_turn(title), created_at=utc_now())
    assert (SeenTurn.of(loop), SeenTurn.of(background)) == (None, None)


def test_feedback_is_reduced_to_a_judgement():
    record = FeedbackRecord(
        feedback_id="f", decision_id="d1", created_at="t", outcome="failure", labels={"category": "docs"}
    )
    assert Judged.of(record) == Judged("d1", "t", "failure", "docs")


def cell(loads, category, scope):
    return loads[CATEGORIES.index(category) * len(SCOPES) + SCOPES.index(scope)]


def test_without_turns_the_policy_stands():
    assert BALANCED.with_loads(learn_loads([], BALANCED)).load_table == pytest.approx(BALANCED.load_table)


def test_turns_move_their_cell_most_and_their_scope_with_it():
    prior = cell(learn_loads([], BALANCED), "debugging", "multi")
    seen = [SeenLoad("debugging", "multi", 20, 40_000)] * 20
    loads = learn_loads(seen, BALANCED)
    # Twice as many as expected, twenty times: the scope goes to 1.5, the cell to 1.75 of it.
    assert cell(loads, "debugging", "multi").requests == pytest.approx(1.75 * prior.requests)
    assert cell(loads, "feature", "multi").requests == pytest.approx(1.5 * prior.requests)
    assert cell(loads, "debugging", "multi").growth_tokens == pytest.approx(1.75 * prior.growth_tokens)
    assert cell(loads, "debugging", "file") == cell(learn_loads([], BALANCED), "debugging", "file")


def test_output_of_a_request_is_learned_beside_the_number_of_requests():
    prior = cell(learn_loads([], BALANCED), "debugging", "multi")
    expected = prior.output_tokens / prior.requests
    # As many requests as expected, each putting out three times as much; the last one's output is in no request.
    requests = round(prior.requests)
    seen = [SeenLoad("debugging", "multi", requests, prior.growth_tokens, 3 * expected * (requests - 1))] * 20
    loads = learn_loads(seen, BALANCED)
    assert cell(loads, "debugging", "multi").requests == pytest.approx(prior.requests)
    # The scope goes to 2 times, the cell to 2.5 times.
    assert cell(loads, "debugging", "multi").output_tokens == pytest.approx(2.5 * prior.output_tokens)
    other = cell(learn_loads([], BALANCED), "feature", "multi").output_tokens
    assert cell(loads, "feature", "multi").output_tokens == pytest.approx(2 * other)


@pytest.mark.parametrize("output", [None, 0, 500.0], ids=["old row", "none", "a single request"])
def test_without_visible_output_it_grows_with_the_requests(output):
    loads = learn_loads([SeenLoad("debugging", "multi", 1, 0.0, output)] * 5, BALANCED)
    prior, found = (cell(rows, "debugging", "multi") for rows in (learn_loads([], BALANCED), loads))
    assert found.output_tokens / found.requests == pytest.approx(prior.output_tokens / prior.requests)


def test_unknown_labels_of_old_rows_are_passed_over():
    assert learn_loads([SeenLoad("gone", "multi", 9, 0)], BALANCED) == learn_loads([], BALANCED)
    assert tally([turn(1, category="gone")], [judged(1, "failure")]) == Tally()


def test_learned_policy_has_a_version_of_its_own_and_keeps_its_file():
    learned = BALANCED.with_loads(learn_loads([SeenLoad("docs", "file", 9, 0)], BALANCED))
    assert learned.version.startswith(BALANCED.version + "+")
    assert learned.with_loads(learn_loads([], BALANCED)).version != learned.version
    assert (learned.name, learned.files) == (BALANCED.name, BALANCED.files)
