"""What Weave Router sends a policy sidecar and takes back (its contract `policy_router_v1`), and what that means here.

The contract's candidates are the only models that may be named, in Weave's own names. Where nothing says which of them
to take, the most careful one is: preferred first, then of the highest tier, then the dearest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import orjson

from pointsman.classifier.assessment import Decision
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.identity import bounded_id, hash_parts

SCHEMA: Final = "policy_router_v1"
CAPABILITIES: Final[Mapping[str, Any]] = {
    "schema_version": SCHEMA,
    # That a call went through says nothing about whether its model could do the task.
    "reports_outcomes": False,
    "reports_feedback": True,
    # Named as preferred is not named as fit: that is weighed here.
    "honors_preferred_models": False,
    "honors_quality_price_bias": False,
    "supports_debug_route_detail": False,
    "supports_preview": False,
    "supports_shadow": True,
}
_MODES: Final = frozenset({"serving", "shadow"})
_TIERS: Final = {"high": 3, "maximum": 3, "mid": 2, "medium": 2, "low": 1}
_MAX_REASON_CHARS: Final = 500
_CLAUDE_CODE: Final = "claude-code"
# Of decisions that may be learned from, and of no others.
_DECISION_PREFIX: Final = "weave-"


class ContractError(Exception):
    """Weave sent what the contract does not have; its own mistake, not its client's."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be named; `names` are all that Weave calls it."""

    roster_id: str
    provider: str | None
    names: tuple[str, ...]
    tier: int = 0
    cost_usd: float = 0.0

    def name_in(self, catalog: Catalog) -> str | None:
        """Return the catalogue's name for it; a provider's prefix does not matter."""
        return next((found for name in self.names if (found := _known(name, catalog))), None)


@dataclass(frozen=True, slots=True)
class RouteQuestion:
    """One `POST /route`."""

    route_id: str
    is_shadow: bool
    may_learn: bool
    feedback_key: str
    candidates: tuple[Candidate, ...]
    preferred: tuple[str, ...]
    envelope: Mapping[str, Any]

    @classmethod
    def read(cls, body: bytes) -> "RouteQuestion":
        """Read a request, or raise `ContractError`; only what the contract requires is required."""
        sent = _object(body)
        mode = sent.get("execution_mode") or "serving"
        if mode not in _MODES:
            raise ContractError("execution_mode is neither 'serving' nor 'shadow'. Send one of them.")
        candidates = tuple(_candidates(sent))
        if not candidates:
            raise ContractError("candidates names no model; expected a list of objects with roster_id. Send one.")
        is_shadow = mode == "shadow"
        return cls(
            route_id=_text(sent, "route_id"),
            is_shadow=is_shadow,
            may_learn=sent.get("training_allowed") is True and not is_shadow,
            feedback_key=_feedback_key(sent),
            candidates=candidates,
            preferred=tuple(name for name in _items(sent, "preferred_models") if isinstance(name, str)),
            envelope=_envelope(sent, is_shadow=is_shadow),
        )

    @property
    def decision_id(self) -> str | None:
        """Return what its decision is called, so that any worker finds it again; None where nothing may be learned."""
        if not self.may_learn:
            return None
        return decision_id_of(self.route_id) if self.route_id else f"{_DECISION_PREFIX}{uuid4().hex}"

    def by_model(self, catalog: Catalog) -> dict[str, Candidate]:
        """Return the candidates that the catalogue has, by its names; of two with one name the first."""
        found: dict[str, Candidate] = {}
        for candidate in self.candidates:
            if name := candidate.name_in(catalog):
                found.setdefault(name, candidate)
        return found

    def most_careful(self) -> Candidate:
        """Return what is taken when nothing was decided."""
        preferred = [one for name in self.preferred for one in self.candidates if name in one.names]
        return preferred[0] if preferred else max(self.candidates, key=lambda one: (one.tier, one.cost_usd))


def route_answer(question: RouteQuestion, decision: Decision | None, catalog: Catalog, sha256: str) -> dict[str, Any]:
    """Return the selection; without a decision, and with one for no candidate, the most careful."""
    offered = question.by_model(catalog)
    named = [] if decision is None else [decision.model, *decision.fallbacks]
    chosen = next((offered[name] for name in named if name in offered), None) or question.most_careful()
    scores = _scores(decision, offered)
    answer: dict[str, Any] = {
        "schema_version": SCHEMA,
        "route_id": question.route_id,
        "selected_roster_id": chosen.roster_id,
        # Read by routers from before selected_roster_id.
        "model": chosen.roster_id,
        "score": scores.get(chosen.roster_id, 0.0),
        "score_kind": "success_probability",
        "candidate_scores": scores,
        "propensity": 1.0,
        "roster_version": catalog.version,
        "policy_artifact_sha256": sha256,
    }
    if chosen.provider:
        answer["selected_provider"] = chosen.provider
    if decision is None:
        return answer | {
            "reason": "No candidate is in the catalogue: the most careful one.",
            "policy_route_key": "none",
        }
    answer |= {"policy_artifact_id": decision.model_version, "reason": " ".join(decision.reasons)[:_MAX_REASON_CHARS]}
    assessment = decision.assessment
    if assessment is None:
        return answer | {"policy_route_key": decision.kind.value}
    category, risk = assessment.category, assessment.risk
    return answer | {
        "policy_route_key": f"{category.label}/{risk.label}",
        "policy_label": category.label,
        "policy_group": risk.label,
        "confidence": category.probability,
    }


@dataclass(frozen=True, slots=True)
class Given:
    """One `POST /feedback`."""

    decision_id: str | None
    session_id: str | None
    is_good: bool | None
    comment: str | None

    @classmethod
    def read(cls, body: bytes) -> "Given":
        """Read a request, or raise `ContractError` for what is no object."""
        sent = _object(body)
        rating = {"up": True, "down": False}.get(str(sent.get("rating")))
        route_id = _text(sent, "route_id")
        named = decision_id_of(route_id) if route_id else None
        return cls(named, bounded_id(_feedback_key(sent)), rating, _text(sent, "feedback") or None)


def decision_id_of(route_id: str) -> str:
    """Return what the decision of a route is called where it may be learned from."""
    return f"{_DECISION_PREFIX}{hash_parts('weave', route_id)}"


def may_be_judged(decision_id: str | None) -> bool:
    """Say whether a decision is of a route that may be learned from."""
    return decision_id is not None and decision_id.startswith(_DECISION_PREFIX)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        sent = orjson.loads(body)
    except ValueError:
        raise ContractError("The body is no JSON. Send an object.") from None
    if not isinstance(sent, dict):
        raise ContractError(f"The body is {type(sent).__name__}; expected an object. Send one.")
    if sent.get("schema_version") not in (None, SCHEMA):
        raise ContractError(f"schema_version is not {SCHEMA!r}, the only one known here. Send that, or nothing.")
    return sent


def _candidates(sent: Mapping[str, Any]) -> Iterator[Candidate]:
    for item in _items(sent, "candidates"):
        if not (isinstance(item, dict) and _text(item, "roster_id")):
            continue
        names = tuple(_text(item, key) for key in ("catalog_id", "roster_id", "upstream_id") if _text(item, key))
        capabilities = item.get("capabilities")
        tier = capabilities.get("tier") if isinstance(capabilities, dict) else None
        cost = item.get("estimated_cost_usd")
        yield Candidate(
            item["roster_id"],
            _text(item, "provider") or None,
            names,
            _TIERS.get(tier, 0) if isinstance(tier, str) else 0,
            float(cost) if isinstance(cost, int | float) else 0.0,
        )
    if not _items(sent, "candidates"):
        # From before candidates had bindings.
        providers = sent.get("candidate_providers")
        for name in _items(sent, "candidate_models"):
            if isinstance(name, str) and name:
                yield Candidate(name, _text(providers, name) or None if isinstance(providers, dict) else None, (name,))


def _envelope(sent: Mapping[str, Any], *, is_shadow: bool) -> Mapping[str, Any]:
    messages = [message for item in _items(sent, "conversation_messages") if (message := _message(item))]
    prompt = _text(sent, "latest_user_text") or _text(sent, "prompt_text")
    body: dict[str, Any] = {"messages": messages} if messages else {"prompt": prompt}
    if messages:
        tools = [{"name": name} for name in _items(sent, "available_tools") if isinstance(name, str)]
        body["tools"] = tools or ([{"name": "unnamed"}] if sent.get("has_tools") else [])
    envelope: dict[str, Any] = {"request": body, "context_tokens": sent.get("estimated_input_tokens")}
    if _text(sent, "client_app") == _CLAUDE_CODE:
        # A system message inside its conversation is one of Anthropic's format, which not every model takes.
        envelope["path"] = "/v1/messages"
    if session_id := _feedback_key(sent) or _text(sent, "client_session_id"):
        # A comparison must not move the session that it is compared with.
        envelope["session_id"] = f"shadow:{session_id}" if is_shadow else session_id
    return envelope


def _message(item: object) -> dict[str, Any] | None:
    role = item.get("role") if isinstance(item, dict) else None
    if not isinstance(item, dict) or role not in {"user", "assistant", "system", "developer"}:
        return None
    parts: list[dict[str, Any]] = []
    for result in _items(item, "tool_results"):
        if isinstance(result, dict):
            named = {"tool_use_id": _text(result, "tool_use_id"), "is_error": result.get("is_error") is True}
            parts.append({"type": "tool_result", "content": _text(result, "text"), **named})
    if text := _text(item, "text"):
        parts.append({"type": "text", "text": text})
    calls = (call for call in _items(item, "tool_calls") if isinstance(call, dict))
    parts += [{"type": "tool_use", "id": "", "name": _text(call, "name"), "input": {}} for call in calls]
    return {"role": "system" if role == "developer" else role, "content": parts}


def _feedback_key(sent: Mapping[str, Any]) -> str:
    parts = [_text(sent, "feedback_key"), _text(sent, "feedback_role")]
    return "/".join(part for part in parts if part) if parts[0] else ""


def _scores(decision: Decision | None, offered: Mapping[str, Candidate]) -> dict[str, float]:
    costs = [] if decision is None else decision.expected_cost
    return {offered[cost.model].roster_id: 1 - cost.failure_probability for cost in costs if cost.model in offered}


def _known(name: str, catalog: Catalog) -> str | None:
    if name in catalog.by_name:
        return name
    last = name.rpartition("/")[2]
    return next((model.name for model in catalog.models if model.name.rpartition("/")[2] == last), None)


def _items(sent: Mapping[str, Any], key: str) -> list[Any]:
    value = sent.get(key)
    return value if isinstance(value, list) else []


def _text(sent: Mapping[str, Any], key: str) -> str:
    value = sent.get(key)
    return value.strip() if isinstance(value, str) else ""
