"""What a gateway does with an answer, and without one: the safe model, counted and logged, never silence.

A turn that is under way keeps its model in both cases. A decider that dies must not pull a tool loop off the model
that holds its cache; one that comes back must not pull it off the safe model that carried it meanwhile.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pointsman.classifier.assessment import Kind
from pointsman.classifier.identity import known_headers, read_identity
from pointsman.classifier.request import read_request

from .envelope import Request

logger = logging.getLogger(__name__)

DECIDED: Final = "decided"
_MAX_SESSIONS: Final = 10_000
_SessionKey = tuple[str, str | None]


class Failure(StrEnum):
    """Why there is no decision."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    STATUS = "status"
    GARBAGE = "garbage"
    UNKNOWN_MODEL = "unknown_model"
    BUSY = "busy"
    ERROR = "error"


class NoDecisionError(Exception):
    """There is no decision, and why; it never leaves the client."""

    def __init__(self, failure: Failure, detail: str = "") -> None:
        self.failure, self.detail = failure, detail
        super().__init__(f"{failure} {detail}".strip())


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a request goes.

    Attributes
    ----------
    model : str
        In the gateway's own names.
    decision : mapping or None
        The service's answer; None when there was none in time.
    failure : Failure or None
        Why there was none.
    kept : bool
        A tool loop stayed with the model it had, since the service was away at some time during its turn.
    """

    model: str
    decision: Mapping[str, Any] | None = None
    failure: Failure | None = None
    kept: bool = False

    @property
    def decision_id(self) -> str | None:
        return None if self.decision is None else str(self.decision.get("decision_id"))


class FailOpen:
    """Turns answers and failures into choices. Not shared between threads.

    Parameters
    ----------
    safe_model : str
        Takes requests that nobody decided; a name of the gateway.
    models : mapping or collection of str, optional
        The catalogue's models that the gateway serves, or a mapping of them to the gateway's names for them. No other
        may be taken. When left out, any may, under the catalogue's name.
    """

    def __init__(self, safe_model: str, models: Mapping[str, str] | Collection[str] | None = None) -> None:
        if isinstance(models, str) or not (safe_model and isinstance(safe_model, str)):
            msg = "safe_model must be a model's name and models a mapping or a list of names; check both."
            raise ValueError(msg)
        self.safe_model = safe_model
        names = models if models is None or isinstance(models, Mapping) else {name: name for name in models}
        self.names: Mapping[str, str] | None = names
        self.counts: Counter[str] = Counter()
        # Value: the model of the session's turn, and whether it is only the safe one.
        self._models: OrderedDict[_SessionKey, tuple[str, bool]] = OrderedDict()

    def allowed(self, models: Collection[str] | None = None) -> list[str] | None:
        """Return the catalogue's models that may be taken, out of `models` where they are given; None for any."""
        if self.names is None:
            return None if models is None else sorted(models)
        return sorted(name for name in self.names if models is None or name in models)

    def accept(self, request: Request, decision: object, models: Collection[str] | None = None) -> Choice:
        """Take an answer as the service gave it, when it was to choose out of `models`.

        Raises
        ------
        NoDecisionError
            It is none, or names a model that the gateway lacks.
        """
        named = decision.get("model") if isinstance(decision, dict) else None
        if not (isinstance(decision, dict) and isinstance(named, str) and named):
            raise NoDecisionError(Failure.GARBAGE, "the answer names no model")
        model = named if self.names is None else self.names.get(named)
        if model is None or (models is not None and named not in models):
            raise NoDecisionError(Failure.UNKNOWN_MODEL, "the answer names a model that is not configured here")
        self.counts[DECIDED] += 1
        if decision.get("kind") == Kind.BACKGROUND:
            return Choice(model, decision)
        session_id = decision.get("session_id")
        key = _key(session_id if isinstance(session_id, str) else None, request)
        known, is_safe = self._models.get(key, (None, False)) if key else (None, False)
        if known is not None and is_safe and decision.get("kind") == Kind.TOOL_LOOP:
            return Choice(known, decision, kept=True)
        self._remember(key, model, is_safe=False)
        return Choice(model, decision)

    def fail(self, request: Request, failure: Failure, detail: str = "") -> Choice:
        """Go on without an answer: the model of the turn under way, else the safe one."""
        # Read only now: an answer tells kind and session, and a failure is rare.
        turn = read_request(request.body, request.headers, path=request.path, session_id=request.session_id)
        key = None if turn.kind is Kind.BACKGROUND else _key(turn.session_id, request)
        known = self._models.get(key) if key and turn.kind is Kind.TOOL_LOOP else None
        model = known[0] if known else self.safe_model
        if not known:
            self._remember(key, model, is_safe=True)
        self.counts[failure.value] += 1
        why = f"{failure.value}: {detail}" if detail else failure.value
        logger.warning("no decision (%s), so %s takes the request", why, model)
        return Choice(model, failure=failure, kept=known is not None)

    def _remember(self, key: _SessionKey | None, model: str, *, is_safe: bool) -> None:
        if key is None:
            return
        self._models[key] = (model, is_safe)
        self._models.move_to_end(key)
        if len(self._models) > _MAX_SESSIONS:
            self._models.popitem(last=False)


def _key(session_id: str | None, request: Request) -> _SessionKey | None:
    if session_id is None:
        return None
    return session_id, read_identity({}, known_headers(request.headers)).agent_id
