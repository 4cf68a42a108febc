"""Sessions as plain JSON values, for stores outside of this process. Read with care: a store may hold anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from .assessment import CandidateCost, Decision, Exclusion, Kind, Stakes
from .limits import Limits
from .records import assessment_from_json, assessment_to_json
from .session import SessionState

#: Of the form; a state of another version is as good as none.
VERSION: Final = 1

_PLAIN: Final = ("model", "turn_key", "context_tokens", "n_corrections", "parent", "updated_at")
_TUPLES: Final = ("fallbacks", "reasons", "codes")
_DECISION_PLAIN: Final = tuple(
    field.name
    for field in fields(Decision)
    if field.name not in (*_TUPLES, "kind", "assessment", "expected_cost", "excluded", "stakes", "limits")
)


def state_to_json(state: SessionState) -> dict[str, Any]:
    """Return a state as JSON values.

    Assessments are written once, however many decisions of a turn share one.
    """
    assessments: list[dict[str, Any]] = []
    places: dict[int, int] = {}

    def place(assessment: Any) -> int | None:
        if assessment is None:
            return None
        if id(assessment) not in places:
            places[id(assessment)] = len(assessments)
            assessments.append(assessment_to_json(assessment))
        return places[id(assessment)]

    def decision(value: Decision) -> dict[str, Any]:
        row = {name: getattr(value, name) for name in _DECISION_PLAIN}
        row |= {name: list(getattr(value, name)) for name in _TUPLES}
        return row | {
            "kind": value.kind.value,
            "assessment": place(value.assessment),
            "expected_cost": [list(cost) for cost in value.expected_cost],
            "excluded": [list(exclusion) for exclusion in value.excluded],
            "stakes": None if value.stakes is None else value.stakes._asdict(),
            "limits": value.limits.to_json(),
        }

    row = {"version": VERSION} | {name: getattr(state, name) for name in _PLAIN}
    return row | {
        "corrections": dict(state.corrections),
        "assessment": place(state.assessment),
        "decision": None if state.decision is None else decision(state.decision),
        "recent": [[key, decision(known)] for key, known in state.recent],
        "assessments": assessments,
    }


def state_from_json(row: Mapping[str, Any]) -> SessionState:
    """Read what `state_to_json` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError, IndexError, AttributeError
        It is something else, or of another version.
    """
    if row["version"] != VERSION:
        msg = f"session state of version {row['version']}; this code reads {VERSION}."
        raise ValueError(msg)
    assessments = [assessment_from_json(value) for value in row["assessments"]]

    def decision(value: Mapping[str, Any]) -> Decision:
        known = {name: value[name] for name in _DECISION_PLAIN} | {name: tuple(value[name]) for name in _TUPLES}
        return Decision(
            **known,
            kind=Kind(value["kind"]),
            assessment=None if value["assessment"] is None else assessments[value["assessment"]],
            expected_cost=tuple(CandidateCost(*cost) for cost in value["expected_cost"]),
            excluded=tuple(Exclusion(*exclusion) for exclusion in value["excluded"]),
            stakes=None if value["stakes"] is None else Stakes(**value["stakes"]),
            limits=Limits.from_json(value["limits"]),
        )

    return SessionState(
        **{name: row[name] for name in _PLAIN},
        corrections=dict(row["corrections"]),
        assessment=None if row["assessment"] is None else assessments[row["assessment"]],
        decision=None if row["decision"] is None else decision(row["decision"]),
        recent=tuple((str(key), decision(value)) for key, value in row["recent"]),
    )
