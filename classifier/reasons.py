"""Why a decision came out as it did: codes for machines, and sentences made of the actual terms for people.

A sentence never holds what a client wrote. The codes are part of the API: one may be added, none changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from .assessment import Assessment, CandidateCost, Stakes, Turn
from .catalog import HARD, Model

#: Every code a decision may carry, and what it says.
CODES: Final[Mapping[str, str]] = {
    "least_cost": "The model of least expected cost.",
    "only_candidate": "No other model fits.",
    "novel_text": "The text is unlike the training data, so less was taken for sure.",
    "pinned_path": "The turn mentions a path that the policy pins to a risk.",
    "risk_bound": "The care probability lies above the bundle's threshold: no cheap model was a candidate.",
    "risk_bound_off": "It lies above, and the policy does not enforce the bound.",
    "risk_bound_overridden": "It lies above, and the person named a cheap model.",
    "risk_bound_unmet": "It lies above, and only cheap models take the request.",
    "new_task_left": "A task begins, and leaving the session's model pays.",
    "new_task_stayed": "A task begins, and leaving the session's model does not pay.",
    "task_goes_on": "The task goes on, and its model stays.",
    "moved_up": "Staying would cost clearly more than a more careful model.",
    "corrected_up": "The last answer was called wrong, and a more careful model is worth it.",
    "escalated": "Corrected too often in a row.",
    "parent_tier": "A subagent keeps to the tier of the session it works for.",
    "session_model_unfit": "The session's model does not take this request.",
    "same_turn": "A further request of a turn under way.",
    "left_mid_turn": "The turn's model no longer takes its requests.",
    "background": "A call of the client itself.",
    "safe_default": "Nothing was weighed.",
    "no_model_fits": "No model takes this request.",
    "none_allowed": "None of the allowed models is in the catalogue, or rules leave none.",
    "explicit_model": "The person named the model.",
    "explicit_model_unfit": "The person named a model that does not take this request, or is not allowed.",
    "explicit_model_unknown": "The person named a model or role that the catalogue lacks.",
    "explicit_policy": "The person or the caller named the policy.",
    "explicit_policy_unknown": "The policy named is no preset of this service.",
    "override_off": "The policy lets nobody name a model or a policy.",
    "budget_landing": "A budget runs out: money counts for more.",
    "budget_spent": "A budget is spent: money counts for as much as it can.",
    "explored": "Failure rates were drawn from their posteriors.",
    "drop_capability": "The gateway must drop or rewrite a part of the request.",
    "lower_output_limit": "The gateway must lower the output limit.",
    "canary": "The challenger assessed the turn, in place of the champion.",
    "asking_ignored": "A part of the asking could not be used.",
}
#: Codes of `Exclusion`: why a model was no candidate.
EXCLUSIONS: Final[Mapping[str, str]] = {
    "window": "The request, the room for the answer and the expected growth exceed its window.",
    "capability": "It is not known to take what the request asks for.",
    "denied": "A rule denies it.",
    "residency": "It may process data outside of the places a rule allows.",
    "risk_bound": "It is cheap, and the care probability lies above the bundle's threshold.",
}

_SCOPES: Final = {"file": "in one file", "multi": "over several files", "repo": "over the code base"}


class Note(NamedTuple):
    """One reason; the sentence may be empty where the code says enough beside the others."""

    code: str
    text: str = ""


def usd(amount: float) -> str:
    """Write an amount with as many digits as matter."""
    return f"{amount:.2f}" if amount >= 0.1 else f"{amount:.4f}"


def on_stakes(assessment: Assessment, stakes: Stakes, chosen: CandidateCost, other: CandidateCost | None) -> str:
    """Say what hangs on the turn, and what the chosen model costs beside the other."""
    risk, category, scope = assessment.risk, assessment.category, assessment.scope
    first = (
        f"{risk.label.capitalize()} risk {risk.probability:.2f} · {category.label} {category.probability:.2f} "
        f"{_SCOPES[scope.label]}: a miss costs about {usd(stakes.loss_usd)} USD here"
    )
    if other is None:
        return f"{first}."
    more = chosen.tokens + chosen.switch - other.tokens - other.switch
    return f"{first}, {chosen.model} {usd(abs(more))} USD {'more' if more >= 0 else 'less'} than {other.model}."


def on_failure(chosen: CandidateCost, other: CandidateCost | None) -> str:
    """Say how often the chosen model and the other fail, and what that makes in all."""
    own = f"{chosen.model} fails on about {chosen.failure_probability:.0%} of such turns"
    if other is None:
        return f"{own}: {usd(chosen.total)} USD expected in all, and no other model fits."
    return (
        f"{own}, {other.model} on {other.failure_probability:.0%}: "
        f"{usd(chosen.total)} against {usd(other.total)} USD expected in all."
    )


def on_bound(care_probability: float, threshold: float, *, code: str) -> Note:
    """Say what the bundle's promise did."""
    above = f"Care probability {care_probability:.2f} is above the risk bound's {threshold:.2f}"
    ends = {
        "risk_bound": "no cheap model is a candidate",
        "risk_bound_off": "the policy does not enforce it",
        "risk_bound_overridden": "the model was asked for all the same",
        "risk_bound_unmet": "yet only cheap models take this request",
    }
    return Note(code, f"{above}: {ends[code]}.")


def on_budget(spent_share: float) -> Note:
    """Say how far a budget is spent."""
    code = "budget_spent" if spent_share >= 1 else "budget_landing"
    return Note(code, f"{spent_share:.0%} of this month's budget is spent: money counts for more.")


def on_translation(model: Model, turn: Turn) -> tuple[Note, ...]:
    """Name what a gateway has to rewrite before this model takes the body."""
    notes: tuple[Note, ...] = ()
    soft = (turn.needs - HARD) - model.capabilities
    if soft:
        text = f"The gateway must drop or rewrite {', '.join(sorted(soft))} for {model.name}."
        notes = (Note("drop_capability", text),)
    if turn.max_output_tokens is not None and turn.max_output_tokens > model.max_output:
        text = f"The gateway must lower the output limit to {model.max_output} for {model.name}."
        notes += (Note("lower_output_limit", text),)
    return notes


def sentences(notes: Sequence[Note]) -> tuple[str, ...]:
    """Return the sentences of the notes, empty ones left out."""
    return tuple(note.text for note in notes if note.text)


def codes(notes: Sequence[Note]) -> tuple[str, ...]:
    """Return the codes of the notes, each once."""
    return tuple(dict.fromkeys(note.code for note in notes))
