"""What was decided before in a session, and where that is kept.

A state is a plain frozen value; a store replaces one by another atomically and forgets the oldest. Losing a state
costs a prompt cache and some coherence, never a wrong answer: the next request is assessed like a session's first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, Protocol, TypeVar

from .assessment import Assessment, Decision, Kind, Turn

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

    def at(self, turn_key: str, like: Callable[[Decision], bool] | None = None) -> SessionState | None:
        """Return the state with one of its turns as the turn under way; None for a turn that is not known.

        A client's call on its own account may look like a turn of its own: the turn it came between is then found
        among the last requests, and goes on with its own model.

        Parameters
        ----------
        turn_key : str
            Of the turn; an empty one is never known.
        like : callable, optional
            Only what was decided for a request that it accepts counts.
        """
        if not turn_key:
            return None
        if like is None and turn_key == self.turn_key:
            return self
        for _, known in reversed(self.recent):
            if known.turn_key == turn_key and known.kind is not Kind.BACKGROUND and (like is None or like(known)):
                return replace(self, model=known.model, turn_key=turn_key, assessment=known.assessment, decision=known)
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
        # Field by field here and below: `replace` takes three times as long, and this is done for each request.
        return SessionState(
            model=decision.model,
            turn_key=turn.key,
            assessment=assessment,
            decision=decision,
            context_tokens=turn.context_tokens,
            n_corrections=in_a_row,
            corrections=corrections,
            parent=self.parent,
            updated_at=now,
            recent=self.recent,
        )

    def went_on(self, turn: Turn, decision: Decision, now: float) -> SessionState:
        """Return the state after a further request of the turn under way."""
        return SessionState(
            model=decision.model,
            turn_key=self.turn_key,
            assessment=self.assessment,
            decision=decision,
            context_tokens=turn.context_tokens,
            n_corrections=self.n_corrections,
            corrections=self.corrections,
            parent=self.parent,
            updated_at=now,
            recent=self.recent,
        )

    def remember(self, request_key: str, decision: Decision) -> SessionState:
        """Return the state that answers this request the same way again."""
        if not request_key:
            return self
        return SessionState(
            model=self.model,
            turn_key=self.turn_key,
            assessment=self.assessment,
            decision=self.decision,
            context_tokens=self.context_tokens,
            n_corrections=self.n_corrections,
            corrections=self.corrections,
            parent=self.parent,
            updated_at=self.updated_at,
            recent=(*self.recent, (request_key, decision))[-N_RECENT:],
        )


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
