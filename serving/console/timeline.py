"""One session as people lived it: its turns in order, with what switched, what was corrected, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from pointsman.classifier.assessment import Kind
from pointsman.classifier.records import DecisionRecord
from pointsman.serving.store import DECISIONS, FEEDBACK, Store

from .decisions import fetch

#: Newest requests of a session that are looked at.
MAX_REQUESTS: Final = 2_000


@dataclass(slots=True)
class Step:
    """One turn with its tool loop, or one background call.

    Attributes
    ----------
    before : str
        The model that the conversation had before; empty at its beginning.
    n_requests : int
        Requests of the turn, the first included.
    models : list of str
        Models that took them; more than one where the turn was left midway.
    outcomes : list of str
        What feedback says of it.
    """

    first: DecisionRecord
    before: str = ""
    n_requests: int = 0
    last_at: str = ""
    context_tokens: int = 0
    models: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    @property
    def is_switch(self) -> bool:
        """Whether another model took over."""
        return bool(self.before) and self.before != self.models[0]

    @property
    def is_correction(self) -> bool:
        """Whether the person most likely called the answer before it wrong."""
        assessment = self.first.assessment
        return assessment is not None and assessment.turn.label == "correct"

    @property
    def is_background(self) -> bool:
        return self.first.kind is Kind.BACKGROUND


def steps_of(records: Sequence[DecisionRecord], outcomes: dict[str, list[str]]) -> list[Step]:
    """Group a session's records, oldest first, into turns.

    Parameters
    ----------
    records : sequence of DecisionRecord
        In order of time.
    outcomes : dict of str to list of str
        Of feedback, by decision.
    """
    steps: list[Step] = []
    turns: dict[tuple[str | None, str], Step] = {}
    last: dict[str | None, str] = {}
    for record in records:
        conversation = (record.agent_id, record.turn_key)
        step = turns.get(conversation) if record.turn_key and record.kind is not Kind.BACKGROUND else None
        if step is None:
            step = Step(record, before=last.get(record.agent_id, "") if record.kind is not Kind.BACKGROUND else "")
            steps.append(step)
            if record.kind is not Kind.BACKGROUND:
                turns[conversation] = step
        step.n_requests += 1
        step.last_at = record.created_at
        step.context_tokens = max(step.context_tokens, record.context_tokens)
        if record.model not in step.models:
            step.models.append(record.model)
        step.outcomes += outcomes.get(record.decision_id, ())
        if record.kind is not Kind.BACKGROUND:
            last[record.agent_id] = record.model
    return steps


def session_outcomes(store: Store, session_id: str) -> dict[str, list[str]]:
    """Return the outcomes of a session's decisions, by decision."""
    query = (
        sa.select(FEEDBACK.c.decision_id, FEEDBACK.c.outcome)
        .join(DECISIONS, DECISIONS.c.decision_id == FEEDBACK.c.decision_id)
        .where(DECISIONS.c.session_id == session_id)
        .order_by(FEEDBACK.c.created_at)
    )
    found: dict[str, list[str]] = {}
    for decision_id, outcome in fetch(store, query):
        found.setdefault(decision_id, []).append(outcome)
    return found


def spent_on(steps: Iterable[Step]) -> float:
    """Return what the turns were expected to cost in tokens."""
    return sum(step.first.expected_spend_usd or 0.0 for step in steps)
