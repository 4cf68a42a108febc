"""Records to store."""

from uuid import uuid4

from pointsman.classifier.assessment import Assessment, CandidateCost, Decision, Kind, Turn
from pointsman.classifier.records import DecisionRecord, FeedbackRecord, utc_now

from .fakes import result

ASSESSMENT = Assessment(
    category=result("category", "debugging"),
    risk=result("risk", "high"),
    scope=result("scope", "multi"),
    turn=result("turn", "new"),
    novelty=0.2,
    model_version="fake-1",
)


def decision_row(**changes):
    decision = Decision(
        model="careful",
        provider="anthropic",
        fallbacks=("cheap",),
        decision_id=uuid4().hex,
        kind=Kind.TASK,
        assessment=ASSESSMENT,
        context_tokens=1000,
        expected_cost=(CandidateCost("careful", 0.1, 0.0, 0.2),),
        reasons=("High risk.",),
        sticky=False,
        model_version="fake-1",
        policy_version="p-1",
        session_id="s-1",
    )
    row = DecisionRecord.of(Turn(prompt="secret"), decision, created_at=utc_now())
    return DecisionRecord.from_json(row.to_json() | changes)


def feedback_row(decision_id, **changes):
    values = {"feedback_id": uuid4().hex, "created_at": utc_now(), "outcome": "success"}
    return FeedbackRecord(decision_id=decision_id, **(values | changes))
