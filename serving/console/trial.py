"""Decisions tried out: the router's own rules on a turn that nobody recorded, in sessions that nobody else sees.

A trial is a pure function of the assessment, the catalogue, the policy and the model that a session is said to have.
So it can be shared without the text: whoever opens it decides the same probabilities again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Final

from pointsman.classifier.assessment import CAPABILITIES, Assessment, Decision, Kind, Message, Turn
from pointsman.classifier.errors import InputError, PolicyError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.memory_sessions import MemorySessions
from pointsman.classifier.policy import policy_names
from pointsman.classifier.records import assessment_from_json, assessment_to_json
from pointsman.classifier.risk_bound import RiskBound
from pointsman.classifier.router import Router
from pointsman.classifier.session import SessionState

_SESSION: Final = "trial"
_VERSION: Final = 1
_MAX_TOKENS: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Trial:
    """A turn to decide.

    Attributes
    ----------
    assessment : Assessment or None
        None for what is never assessed: background calls, and requests without a person's text.
    policy : str
        A preset; empty for the service's own.
    present : str
        The model that the session is said to have; empty for a session that begins.
    """

    turn: Turn
    assessment: Assessment | None
    policy: str = ""
    present: str = ""


class _Assessed:
    """Stands where the model does; a trial brings its assessment."""

    def __init__(self, version: str, risk_bounds: tuple[RiskBound, ...]) -> None:
        self.version, self.risk_bounds = version, risk_bounds

    def assess(self, turns: Sequence[Turn]) -> list[Assessment]:
        raise PolicyError(f"a trial was asked to assess {len(turns)} turns; expected none. Report this.")


def decide_trial(router: Router, trial: Trial) -> Decision:
    """Decide a trial by the router's catalogue and policy; nothing is remembered."""
    stub = _Assessed(router.model_version, router.risk_bounds)
    aside = Router(stub, router.catalog, router.policy, MemorySessions())
    turn = replace(
        trial.turn, session_id=_SESSION, key="now", request_key="now", state_key=_SESSION, next_state_key=_SESSION
    )
    if trial.present:
        held = SessionState(
            model=trial.present, turn_key="before", context_tokens=turn.context_tokens, updated_at=time.time()
        )
        aside.sessions.put(_SESSION, held)
    policy = trial.policy or None
    if trial.assessment is None:
        return aside.recall(turn, policy=policy) or aside.default(turn, turn.reason or "Nothing to assess.")
    return aside.settle(turn, trial.assessment, policy=policy)


def under_presets(router: Router, trial: Trial) -> list[tuple[str, Decision]]:
    """Return what each preset would do."""
    return [(name, decide_trial(router, replace(trial, policy=name))) for name in policy_names()]


def to_share(trial: Trial, *, with_text: bool = False) -> dict[str, Any]:
    """Return a trial as JSON values; the text only when asked for."""
    turn = trial.turn
    shared: dict[str, Any] = {
        "v": _VERSION,
        "kind": turn.kind.value,
        "tokens": turn.context_tokens,
        "needs": sorted(turn.needs),
        "images": turn.n_images,
        "documents": turn.n_documents,
        "policy": trial.policy,
        "present": trial.present,
        "assessment": None if trial.assessment is None else _rounded(assessment_to_json(trial.assessment)),
    }
    if with_text:
        shared["prompt"] = turn.prompt
        shared["context"] = [{"role": message.role, "text": message.text} for message in turn.context]
    return shared


def from_share(shared: object, router: Router) -> Trial:
    """Read what `to_share` wrote.

    Raises
    ------
    InputError
        It is something else, or holds numbers that are no probabilities.
    """
    try:
        return _read(shared, router) if isinstance(shared, Mapping) else _refuse()
    except (KeyError, TypeError, ValueError, AttributeError):
        return _refuse()


def _read(shared: Mapping[str, Any], router: Router) -> Trial:
    given = shared["assessment"]
    assessment = None if given is None else assessment_from_json(given)
    tokens, policy, present = int(shared["tokens"]), str(shared["policy"]), str(shared["present"])
    if assessment is not None and not _is_sound(assessment):
        _refuse()
    if not 0 <= tokens <= _MAX_TOKENS or policy not in ("", *policy_names()):
        _refuse()
    if present not in ("", *router.catalog.by_name):
        raise InputError("The link's session has a model that this catalogue lacks.")
    turn = Turn(
        prompt=str(shared.get("prompt", "")),
        context=tuple(Message(str(item["role"]), str(item["text"])) for item in shared.get("context", ())),
        kind=Kind(shared["kind"]),
        context_tokens=tokens,
        needs=frozenset(shared["needs"]) & frozenset(CAPABILITIES),
        n_images=int(shared["images"]),
        n_documents=int(shared["documents"]),
    )
    return Trial(turn, assessment, policy, present)


def _is_sound(assessment: Assessment) -> bool:
    rows = [getattr(assessment, head).probabilities for head in HEADS]
    sums = all(all(0 <= p <= 1 for p in row) and abs(sum(row) - 1) < 0.01 for row in rows)
    return sums and isfinite(assessment.novelty) and 0 <= assessment.novelty <= 1


def _rounded(value: Any) -> Any:
    # A link is read by people too: eight digits decide the same.
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return round(value, 8) if isinstance(value, float) else value


def _refuse() -> Trial:
    raise InputError("The link holds no decision that this version can read. Ask for a new one.")
