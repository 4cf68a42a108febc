"""Trials decide as the router does, leave no trace, and travel without their text."""

import pytest

from pointsman.classifier.assessment import Message, Turn
from pointsman.classifier.errors import InputError
from pointsman.serving.console.trial import Trial, decide_trial, from_share, to_share, under_presets

from ..clients import RACE, TYPO
from ..fakes import FakeAssessor, fake_router


def trial_of(prompt=RACE, **fields):
    turn = Turn(prompt=prompt, context=(Message("user", "before"),), context_tokens=40_000)
    return Trial(turn, FakeAssessor().assess([turn])[0], **fields)


@pytest.mark.parametrize("prompt", [RACE, TYPO])
def test_trial_decides_as_the_router_does(prompt):
    router = fake_router()
    decided = router.decide({"prompt": prompt, "context_tokens": 40_000, "session_id": "s"})
    assert decide_trial(router, trial_of(prompt)).expected_cost == decided.expected_cost


def test_trial_leaves_the_sessions_alone():
    router = fake_router()
    decide_trial(router, trial_of(present="claude-opus-5-5"))
    assert len(router.sessions) == 0


def test_present_model_makes_the_others_pay_for_the_switch():
    costs = {c.model: c for c in decide_trial(fake_router(), trial_of(TYPO, present="claude-opus-5-5")).expected_cost}
    assert costs["claude-opus-5-5"].switch == 0
    assert costs["claude-haiku-5-5"].switch > 0


def test_every_preset_is_tried():
    assert [name for name, _ in under_presets(fake_router(), trial_of())] == ["balanced", "careful", "frugal"]


def test_share_holds_no_text_unless_asked():
    assert RACE not in str(to_share(trial_of()))
    assert RACE in str(to_share(trial_of(), with_text=True))


def test_shared_trial_decides_the_same():
    router, trial = fake_router(), trial_of(policy="careful", present="claude-haiku-5-5")
    opened = from_share(to_share(trial), router)
    assert decide_trial(router, opened).model == decide_trial(router, trial).model
    assert decide_trial(router, opened).reasons == decide_trial(router, trial).reasons


@pytest.mark.parametrize(
    "change",
    [
        {"assessment": {}},
        {"tokens": -1},
        {"tokens": "many"},
        {"policy": "../../etc/passwd"},
        {"present": "gpt-9"},
        {"kind": "party"},
    ],
    ids=str,
)
def test_changed_link_is_refused(change):
    router = fake_router()
    with pytest.raises(InputError, match=r"^The link"):
        from_share(to_share(trial_of()) | change, router)


def test_probabilities_that_are_none_are_refused():
    shared = to_share(trial_of())
    shared["assessment"]["risk"] = {"low": 5.0, "medium": -4.0, "high": 0.0}
    with pytest.raises(InputError, match="no decision"):
        from_share(shared, fake_router())
