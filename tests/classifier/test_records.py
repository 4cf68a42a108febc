"""Rows survive the trip through JSON, and say clearly when they cannot be read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.assessment import Assessment, CandidateCost, Decision, HeadResult, Kind, Message, Turn
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.records import OUTCOMES, DecisionRecord, FeedbackRecord, utc_now

# As 0.1.0 wrote it, without the optional keys. Never edit: this is the oldest row that must stay readable.
ROW_OF_SCHEMA_1 = """{"record": "decision", "schema_version": 1, "decision_id": "d1",
"created_at": "2026-11-22T10:00:00.000000Z", "kind": "tool_loop", "model": "m", "provider": "p", "fallbacks": ["n"],
"reasons": ["Kept."], "sticky": true, "context_tokens": 12, "model_version": "v", "policy_version": "w"}"""


def flat(head):
    labels = HEADS[head]
    return HeadResult(head, tuple(1 / len(labels) for _ in labels))


ASSESSMENT = Assessment(flat("category"), flat("risk"), flat("scope"), flat("turn"), novelty=0.25, model_version="v1")
TURN = Turn(
    prompt="my secret prompt",
    context=(Message("user", "earlier"),),
    context_tokens=1234,
    session_id="s",
    key="k",
    request_key="r",
    state_key="a",
    next_state_key="b",
    needs=frozenset({"tools", "images"}),
    n_images=2,
    client_model="claude-opus-5-5",
    max_output_tokens=32000,
)


def decision(**changes):
    values = {
        "model": "cheap",
        "provider": "dashscope",
        "fallbacks": ("careful",),
        "decision_id": "d-1",
        "kind": Kind.TASK,
        "assessment": ASSESSMENT,
        "context_tokens": 1234,
        "expected_cost": (CandidateCost("cheap", 0.1, 0.0, 0.2),),
        "reasons": ("Low risk.",),
        "sticky": False,
        "model_version": "v1",
        "policy_version": "balanced-1",
        "session_id": "s",
        "turn_key": "k",
        "latency_ms": {"total": 3.5},
    }
    return Decision(**(values | changes))


def record(**options):
    return DecisionRecord.of(TURN, decision(), created_at="2026-11-22T10:00:00.000000Z", **options)


def through_json(row):
    return json.loads(json.dumps(row.to_json()))


@pytest.mark.parametrize(
    "row",
    [record(), record(allowed=("cheap",), policy="careful"), record().with_text(TURN)],
    ids=["plain", "with limits", "with text"],
)
def test_decision_survives_json(row):
    assert DecisionRecord.from_json(through_json(row)) == row


def test_decision_without_assessment_survives_json():
    row = DecisionRecord.of(TURN, decision(assessment=None, expected_cost=()), created_at=utc_now())
    assert DecisionRecord.from_json(through_json(row)) == row


def test_text_is_left_out_unless_added():
    assert "secret" not in json.dumps(record().to_json())
    assert through_json(record().with_text(TURN))["prompt"] == TURN.prompt


def test_turn_comes_back_as_the_policy_saw_it():
    assert DecisionRecord.from_json(through_json(record().with_text(TURN))).to_turn() == TURN


def test_row_keeps_what_a_replay_needs():
    row = through_json(record(allowed=("cheap", "careful"), policy="frugal"))
    assert row["needs"] == ["images", "tools"]
    assert row["max_output_tokens"] == 32000
    assert row["allowed"] == ["cheap", "careful"]
    assert set(row["assessment"]["category"]) == set(HEADS["category"])
    assert row["latency_ms"] == {"total": 3.5}


def test_probabilities_are_read_by_label_whatever_their_order():
    row = through_json(record())
    row["assessment"]["risk"] = {"high": 0.7, "low": 0.1, "medium": 0.2}
    read = DecisionRecord.from_json(row)
    assert read.assessment is not None
    assert read.assessment.risk.probabilities == (0.1, 0.2, 0.7)


def test_oldest_row_stays_readable():
    row = DecisionRecord.from_json(json.loads(ROW_OF_SCHEMA_1))
    assert (row.decision_id, row.kind, row.assessment, row.needs) == ("d1", Kind.TOOL_LOOP, None, ())


def test_unknown_keys_of_the_same_schema_are_ignored():
    assert DecisionRecord.from_json(through_json(record()) | {"added_later": 1}) == record()


@pytest.mark.parametrize("reader", [DecisionRecord, FeedbackRecord], ids=["decision", "feedback"])
def test_newer_schema_is_refused_with_what_to_do(reader):
    kind = "decision" if reader is DecisionRecord else "feedback"
    with pytest.raises(InputError, match=rf"{kind} row has schema_version 99; this code reads up to 1\. Upgrade"):
        reader.from_json({"record": kind, "schema_version": 99})


@pytest.mark.parametrize("version", [None, "1", 0, 1.5], ids=repr)
def test_missing_or_odd_schema_is_refused(version):
    with pytest.raises(InputError, match="no usable schema_version"):
        DecisionRecord.from_json({"record": "decision", "schema_version": version})


def test_row_of_the_other_kind_is_refused():
    with pytest.raises(InputError, match="expected a feedback row"):
        FeedbackRecord.from_json(record().to_json())


@pytest.mark.parametrize("key", ["decision_id", "kind", "model"])
def test_missing_key_is_refused(key):
    row = through_json(record())
    del row[key]
    with pytest.raises(InputError, match="decision row cannot be read"):
        DecisionRecord.from_json(row)


def test_missing_label_is_refused():
    row = through_json(record())
    del row["assessment"]["risk"]["high"]
    with pytest.raises(InputError, match="decision row cannot be read"):
        DecisionRecord.from_json(row)


@given(
    outcome=st.sampled_from(OUTCOMES),
    labels=st.fixed_dictionaries({}, optional={h: st.sampled_from(ls) for h, ls in HEADS.items()}),
    cost_usd=st.none() | st.floats(0, 1e6),
    comment=st.none() | st.text(),
    source=st.none() | st.text(max_size=20),
)
def test_feedback_survives_json(outcome, labels, cost_usd, comment, source):
    row = FeedbackRecord(
        feedback_id="f",
        decision_id="d",
        created_at=utc_now(),
        outcome=outcome,
        labels=labels,
        cost_usd=cost_usd,
        comment=comment,
        source=source,
    )
    assert FeedbackRecord.from_json(through_json(row)) == row


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcome": "great"}, "outcome is not one of success, failure"),
        ({"labels": {"risk": "extreme"}}, r"labels\.risk is not one of low, medium, high"),
        ({"labels": {"mood": "low"}}, "labels names an unknown head"),
    ],
    ids=["outcome", "label", "head"],
)
def test_feedback_with_unknown_values_is_refused(change, message):
    row = FeedbackRecord(feedback_id="f", decision_id="d", created_at=utc_now(), outcome="success").to_json()
    with pytest.raises(InputError, match=message):
        FeedbackRecord.from_json(row | change)


def test_names_are_cut_to_a_length_that_indexes_hold():
    row = DecisionRecord.of(TURN, decision(session_id="s" * 5000), created_at=utc_now())
    assert row.session_id == "s" * 256


def test_time_is_utc_with_fixed_width():
    assert len(utc_now()) == len("2026-11-22T10:00:00.000000Z")
    assert utc_now().endswith("Z")
