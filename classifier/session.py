"""What was decided before in a session, and where that is kept.

A state is a plain frozen value; a store replaces one by another atomically and forgets the oldest. Losing a state
costs a prompt cache and some coherence, never a wrong answer: the next request is assessed like a session's first.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, TypeVar

from .assessment import Assessment, Decision, Turn

#: How a turn stands to the one before it, once the probabilities of the turn head are weighed.
Stage = Literal["new", "follow", "correct"]

#: A client repeats a request about seven times a minute when a gateway fails; twice that and some.
N_RECENT: Final = 16

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SessionState:
    """One session, or one subagent's conversation, after its last decision.

    Attributes
    ----------
    model : str or None
        The model in use; None while only background calls were seen.
    turn_key : str
        The turn under way.
    assessment, decision
        Of that turn.
    context_tokens : int
        Tokens the last request sent, so what the model's prompt cache holds.
    n_corrections : int
        Turns in a row, up to the last, that called the answer before them wrong.
    corrections : mapping of str to float
        Per model, how many times it was corrected, as a sum of probabilities; halved at every new task.
    parent : str or None
        Key of the session that started this subagent.
    updated_at : float
        When the model was last used, in seconds on the clock of whoever wrote it.
    recent : tuple of (str, Decision)
        The last requests and their decisions, oldest first, at most `N_RECENT`.
    """

    model: str | None = None
    turn_key: str = ""
    assessment: Assessment | None = None
    decision: Decision | None = None
    context_tokens: int = 0
    n_corrections: int = 0
    corrections: Mapping[str, float] = field(default_factory=dict)
    parent: str | None = None
    updated_at: float = 0.0
    recent: tuple[tuple[str, Decision], ...] = ()

    def recall(self, request_key: str) -> Decision | None:
        """Return the decision already given to this very request; a request without a key is never known."""
        if not request_key:
            return None
        for key, decision in self.recent:
            if key == request_key:
                return decision
        return None

    def heard(self, stage: Stage, correct_probability: float) -> tuple[int, Mapping[str, float]]:
        """Weigh what a turn says of the model before it: corrections in a row, and per model."""
        if stage == "new":
            return 0, {model: count / 2 for model, count in self.corrections.items()}
        in_a_row = self.n_corrections + 1 if stage == "correct" else 0
        if self.model is None:
            return in_a_row, self.corrections
        told = self.corrections.get(self.model, 0.0) + correct_probability
        return in_a_row, {**self.corrections, self.model: told}

    def began(self, turn: Turn, decision: Decision, stage: Stage, now: float) -> SessionState:
        """Return the state after a turn's first decision."""
        assessment = decision.assessment
        in_a_row, corrections = 0, self.corrections
        if assessment is not None:
            in_a_row, corrections = self.heard(stage, assessment.turn.of("correct"))
        return replace(
            self,
            model=decision.model,
            turn_key=turn.key,
            assessment=assessment,
            decision=decision,
            context_tokens=turn.context_tokens,
            n_corrections=in_a_row,
            corrections=corrections,
            updated_at=now,
        )

    def went_on(self, turn: Turn, decision: Decision, now: float) -> SessionState:
        """Return the state after a further request of the turn under way."""
        return replace(
            self, model=decision.model, decision=decision, context_tokens=turn.context_tokens, updated_at=now
        )

    def remember(self, request_key: str, decision: Decision) -> SessionState:
        """Return the state that answers this request the same way again."""
        if not request_key:
            return self
        return replace(self, recent=(*self.recent, (request_key, decision))[-N_RECENT:])


#: Takes the state there is, returns the one to keep and whatever the caller wants out of it.
Change = Callable[[SessionState | None], tuple[SessionState, _T]]


class SessionStore(Protocol):
    """Keeps states by key."""

    def get(self, key: str) -> SessionState | None:
        """Return the state, or None when there is none or it has expired."""

    def put(self, key: str, state: SessionState) -> None:
        """Keep a state, whatever was there."""

    def update(self, key: str, change: Change[_T]) -> _T:
        """Replace a state by what `change` makes of it; no other update of the key comes in between.

        `change` is short and pure: a store may call it again when another writer was faster.
        """


class MemorySessions:
    """Sessions of one process: bounded, the least recently used forgotten first, and after `ttl_s` in any case.

    What takes room is the decisions that sessions remember, 2 to 5 KB each, so both are bounded: 100,000 decisions are
    about 250 MB.
    """

    def __init__(
        self,
        *,
        max_sessions: int = 100_000,
        max_decisions: int = 100_000,
        ttl_s: float = 6 * 3600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max, self._max_decisions, self._n_decisions = max_sessions, max_decisions, 0
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._states: OrderedDict[str, tuple[float, SessionState]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: str) -> SessionState | None:
        with self._lock:
            return self._get(key)

    def put(self, key: str, state: SessionState) -> None:
        with self._lock:
            self._put(key, state)

    def update(self, key: str, change: Change[_T]) -> _T:
        with self._lock:
            state, out = change(self._get(key))
            self._put(key, state)
            return out

    def drop(self, key: str) -> None:
        """Forget a session."""
        with self._lock:
            self._remove(key)

    def _get(self, key: str) -> SessionState | None:
        found = self._states.get(key)
        if found is None:
            return None
        kept_at, state = found
        if self._clock() - kept_at > self._ttl_s:
            self._remove(key)
            return None
        return state

    def _put(self, key: str, state: SessionState) -> None:
        now = self._clock()
        self._remove(key)
        self._states[key] = (now, state)
        self._n_decisions += _size(state)
        # Oldest first: whatever has expired stands at the front, so one or two looks keep the store small.
        while self._states:
            oldest, (kept_at, _) = next(iter(self._states.items()))
            is_full = len(self._states) > self._max or (self._n_decisions > self._max_decisions and oldest != key)
            if not is_full and now - kept_at <= self._ttl_s:
                return
            self._remove(oldest)

    def _remove(self, key: str) -> None:
        found = self._states.pop(key, None)
        if found is not None:
            self._n_decisions -= _size(found[1])


def _size(state: SessionState) -> int:
    """Return how many decisions a state holds, its own counted."""
    return 1 + len(state.recent)
