"""Labelled rows become sessions: where one begins, how its context grows, and when it is folded."""

import pytest

from pointsman.classifier.assessment import Message
from pointsman.classifier.replay.workload import LabelledTurn, Workload, labelled_cases

from .stories import BALANCED, EASY

LABELS = {"category": "feature", "risk": "medium", "scope": "multi", "turn": "follow"}
BEFORE = (Message("user", "before"),)


def row(n, group="g", position=None, context=(), **labels):
    return LabelledTurn(f"r{n}", group, position, f"prompt {n}", context, LABELS | labels, EASY)


def cases(*rows, **fields):
    return labelled_cases(rows, BALANCED, Workload(**fields))


def sessions(*rows):
    found = [case.turn.session_id for case in cases(*rows)]
    return [list(dict.fromkeys(found)).index(session) for session in found]


def test_growing_positions_are_one_session():
    assert sessions(row(1, position=0), row(2, position=1), row(3, position=5)) == [0, 0, 0]


@pytest.mark.parametrize("position", [0, 1])
def test_position_that_does_not_grow_begins_another_session(position):
    assert sessions(row(1, position=0), row(2, position=1), row(3, position=position)) == [0, 0, 1]


def test_other_group_is_another_session_whatever_its_positions():
    assert sessions(row(1, position=0), row(2, "h", position=1), row(3, position=2)) == [0, 1, 2]


def test_without_positions_a_row_without_context_begins_a_session():
    assert sessions(row(1), row(2, context=BEFORE), row(3), row(4, context=BEFORE)) == [0, 0, 1, 1]


def test_context_grows_by_what_the_labels_before_say():
    found = cases(row(1, position=0), row(2, position=1, scope="repo"), row(3, position=2))
    assert [case.turn.context_tokens for case in found] == [20_000, 40_000, 100_000]


def test_context_past_the_limit_is_folded():
    found = cases(*(row(n, position=n, scope="repo") for n in range(4)), compact_tokens=130_000)
    assert [case.turn.context_tokens for case in found] == [20_000, 80_000, 140_000 - 115_000, 85_000]


def test_turns_of_a_session_follow_after_the_pause():
    found = cases(row(1, position=0), row(2, position=1), pause_s=90.0)
    assert found[1].at - found[0].at == 90.0


def test_every_turn_is_a_request_of_its_own():
    found = cases(row(1, position=0), row(1, position=1))
    assert found[0].turn.request_key != found[1].turn.request_key
    assert found[0].turn.next_state_key == found[1].turn.state_key


def test_truth_is_the_labels_and_the_assessment_the_models():
    [case] = cases(row(1, risk="high"))
    assert case.truth.risk.of("high") == 1
    assert case.assessment is EASY


def test_assumptions_name_their_figures():
    text = " ".join(Workload(start_tokens=12_345, pause_s=7).describe())
    assert "12345" in text
    assert "7 s" in text
