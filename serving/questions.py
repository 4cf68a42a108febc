"""What `/v1/decide` is asked: any body, in any of the three forms, becomes a `Question`. Nothing here raises
but `PayloadTooLargeError`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from pointsman.classifier.assessment import Turn
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.limits import Caller
from pointsman.classifier.policy import policy_names
from pointsman.classifier.request import is_count, parse_body
from pointsman.classifier.router import Router

from .bodies import OddBodyError, unpack
from .keys import KEY_HEADER

#: Never read, logged or stored; taken off requests at the edge and out of envelopes here.
SECRET_HEADERS: Final = frozenset(
    {"authorization", "x-api-key", "cookie", "proxy-authorization", "api-key", "x-goog-api-key", KEY_HEADER}
)
#: For gateways that send a body as it came: the allowed models, with commas.
MODELS_HEADER: Final = "x-pointsman-models"
Keep = Literal["all", "no_text", "nothing"]
_ENVELOPE_MARK: Final = b'"request"'


@dataclass(frozen=True, slots=True)
class Delivery:
    """A request as it came in: bytes, headers without secrets, and the path after `/v1/decide`.

    `keep` says what of it may be recorded; `decision_id` names the decision where the caller has a name for it.
    """

    body: bytes
    headers: Mapping[str, str]
    path: str
    keep: Keep = "all"
    decision_id: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One turn to decide, with the caller's limits; `notes` says what of the asking was ignored."""

    turn: Turn
    models: tuple[str, ...] | None = None
    policy: str | None = None
    notes: tuple[str, ...] = ()
    caller: Caller = field(default_factory=Caller)


def read_question(router: Router, delivery: Delivery, *, limit_bytes: int) -> Question:
    """Unpack, tell the form, and read the turn."""
    try:
        body = unpack(delivery.body, delivery.headers.get("content-encoding", ""), limit_bytes)
    except OddBodyError as exc:
        return Question(Turn(prompt="", reason=str(exc)))
    path = f"/{delivery.path}" if delivery.path else None
    # Only the bare path takes envelopes, and only a body with the mark can be one; the reader parses all others.
    parsed = parse_body(body)[0] if path is None and _ENVELOPE_MARK in body else None
    if isinstance(parsed, dict) and "request" in parsed:
        return _open(router, parsed)
    turn = router.read(parsed if isinstance(parsed, dict) else body, delivery.headers, path=path)
    notes: list[str] = []
    models = _models(_listed(delivery.headers.get(MODELS_HEADER)), router.catalog, notes)
    return Question(turn, models, None, tuple(notes), Caller.of(delivery.headers))


def _open(router: Router, envelope: Mapping[str, Any]) -> Question:
    notes: list[str] = []
    headers = _headers(envelope.get("headers"), notes)
    turn = router.read(
        envelope["request"],
        headers,
        path=_text(envelope, "path", notes),
        session_id=_text(envelope, "session_id", notes),
    )
    tokens = envelope.get("context_tokens")
    if is_count(tokens):
        # Gateways that have to cut a body know its size before.
        turn = replace(turn, context_tokens=tokens)
    elif tokens is not None:
        notes.append("The envelope's context_tokens are not a whole number from 1 to 2147483647 and were ignored.")
    models = _models(envelope.get("models"), router.catalog, notes)
    return Question(turn, models, _policy(envelope, notes), tuple(notes), Caller.of(headers))


def _text(envelope: Mapping[str, Any], key: str, notes: list[str]) -> str | None:
    value = envelope.get(key)
    if isinstance(value, str) and value:
        return value
    if value is not None:
        notes.append(f"The envelope's {key} is not a text with content and was ignored.")
    return None


def _policy(envelope: Mapping[str, Any], notes: list[str]) -> str | None:
    name = _text(envelope, "policy", notes)
    if name is None or name in policy_names():
        return name
    notes.append("The named policy is no preset of this service and was ignored.")
    return None


def _headers(headers: Any, notes: list[str]) -> dict[str, str]:
    if headers is None:
        return {}
    if not isinstance(headers, dict):
        notes.append("The envelope's headers are not an object and were ignored.")
        return {}
    lowered = {name.lower().replace("_", "-"): value for name, value in headers.items() if isinstance(value, str)}
    return {name: value for name, value in lowered.items() if name not in SECRET_HEADERS}


def _listed(names: str | None) -> list[str] | None:
    return None if names is None else [name for part in names.split(",") if (name := part.strip())]


def _models(models: Any, catalog: Catalog, notes: list[str]) -> tuple[str, ...] | None:
    if models is None:
        return None
    if not (isinstance(models, list) and models and all(isinstance(name, str) for name in models)):
        notes.append("The envelope's models are not a list of names and were ignored.")
        return None
    known = tuple(name for name in models if name in catalog.by_name)
    if known and len(known) < len(models):
        # Not by name: reasons hold nothing that a caller wrote. That none is known, the policy says.
        n_unknown = len(models) - len(known)
        notes.append(f"{n_unknown} of the {len(models)} allowed models are not in the catalogue and were ignored.")
    return known
