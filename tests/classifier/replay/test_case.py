"""Records become cases: what begins a turn, what the log shows of it, and what people said."""

from dataclasses import replace

from pointsman.classifier.assessment import Kind
from pointsman.classifier.limits import Caller
from pointsman.classifier.records import FeedbackRecord
from pointsman.classifier.replay.case import SeenRequests, cases_of, certain, truth_of
from tests.fakes import asked, assessed

from .stories import EASY, HARD, LiveLog


def feedback(record, n=1, **values):
    given = {"feedback_id": str(n), "created_at": f"2027-01-0{n}", "outcome": "failure", **values}
    return FeedbackRecord(decision_id=record.decision_id, **given)


def looped(n_requests=3):
    log = LiveLog()
    for step in range(n_requests):
        log.ask(asked("a", step=step, context_tokens=30_000 + 1_000 * step))
    return log


def test_first_request_of_a_turn_begins_it():
    cases = cases_of(looped().records)
    assert [case.begins for case in cases] == [True, False, False]
    assert [case.weighed for case in cases] == [True, False, False]


def test_seen_requests_and_growth_are_those_of_the_whole_turn():
    assert cases_of(looped().records)[0].seen == SeenRequests(3, 2_000)


def test_output_of_the_last_request_is_taken_to_be_that_of_the_others():
    log = LiveLog()
    for step in range(3):
        log.ask(asked("a", step=step, output_tokens=400 * step))
    assert cases_of(log.records)[0].seen.output_tokens == 1_200


def test_log_without_tool_loops_says_nothing_of_requests():
    log = LiveLog()
    log.ask(asked("a", 1))
    log.ask(asked("b", 2))
    assert [case.seen for case in cases_of(log.records)] == [None, None]


def test_background_calls_and_safe_defaults_begin_no_turn():
    log = LiveLog()
    log.ask(replace(asked("title", kind=Kind.BACKGROUND), background="title"))
    log.ask(asked("", 2))
    assert not any(case.begins for case in cases_of(log.records))


def test_cases_are_in_order_of_time():
    records = looped().records
    assert [case.at for case in cases_of(records[::-1])] == [case.at for case in cases_of(records)]


def test_corrected_labels_become_the_truth():
    log = LiveLog()
    log.ask(asked("a"), EASY)
    [case] = cases_of(log.records, [feedback(log.records[0], labels={"risk": "high"})])
    assert case.truth.care_probability == 1
    assert case.truth.category == EASY.category
    assert case.assessment == EASY


def test_last_feedback_on_a_head_counts():
    log = LiveLog()
    log.ask(asked("a"), EASY)
    given = [feedback(log.records[0], n, labels={"risk": risk}) for n, risk in ((2, "low"), (1, "high"))]
    [case] = cases_of(log.records, given)
    assert case.truth.risk.label == "low"


def test_reported_cost_is_kept():
    log = LiveLog()
    log.ask(asked("a"))
    [case] = cases_of(log.records, [feedback(log.records[0], cost_usd=1.5)])
    assert case.reported_usd == 1.5


def test_what_came_with_the_asking_is_kept():
    log = LiveLog()
    log.ask(asked("a"), caller=Caller(team="payments", model="careful"), models=("claude-opus-5-5",))
    [case] = cases_of(log.records)
    assert case.caller == Caller(team="payments", model="careful")
    assert case.models == ("claude-opus-5-5",)


def test_policy_named_in_a_header_is_kept_by_its_name():
    log = LiveLog()
    log.ask(asked("a"), caller=Caller(policy="frugal"))
    assert cases_of(log.records)[0].policy == "frugal"


def test_day_is_that_of_the_record():
    log = LiveLog()
    log.ask(asked("a"))
    [case] = cases_of(log.records)
    assert log.records[0].created_at.startswith(case.day)
    assert len(case.day) == 10


def test_certain_moves_all_probability_to_the_label():
    sure = certain(assessed(sure=0.4), {"turn": "correct"})
    assert sure.turn.probabilities == (0.0, 0.0, 1.0)


def test_truth_needs_care_exactly_where_the_labels_do():
    labels = {"category": "debugging", "risk": "medium", "scope": "file", "turn": "new"}
    assert truth_of(labels).care_probability == 1
    assert truth_of(labels | {"category": "docs"}).care_probability == 0
    assert truth_of(labels | {"category": "docs", "scope": "repo"}).care_probability == 1


def test_labels_of_hard_and_easy_stories_differ_in_care():
    assert HARD.care_probability == 1
    assert EASY.care_probability == 0
