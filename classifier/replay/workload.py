"""Labelled turns as a session would have sent them: nobody recorded their contexts, so these are built up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pointsman.classifier.assessment import Assessment, Message, Turn
from pointsman.classifier.labels import Head
from pointsman.classifier.policy_file import Policy
from pointsman.classifier.risk_bound import Promises

from .case import Case, truth_of
from .ledger import expected_load


class LabelledTurn(NamedTuple):
    """One labelled turn with what a model thinks of it; `position` is its place in its session, where known."""

    id: str
    group: str
    position: int | None
    prompt: str
    context: tuple[Message, ...]
    labels: Mapping[Head, str]
    assessment: Assessment


@dataclass(frozen=True, slots=True)
class Workload:
    """What is assumed of sessions. All of it is an assumption but the label-dependent growth, which is the policy's.

    Attributes
    ----------
    start_tokens : int
        A session's first request: system prompt, tools, and the files named at once.
    compact_tokens : int
        A context that has grown past this is folded into a summary before the next turn.
    summary_tokens : int
        What is left of it, beside the start.
    pause_s : float
        Between the turns of a session; longer than a provider's cache lifetime, and every turn begins uncached.
    """

    start_tokens: int = 20_000
    compact_tokens: int = 160_000
    summary_tokens: int = 5_000
    pause_s: float = 120.0

    def describe(self) -> tuple[str, ...]:
        """Return the assumptions in words."""
        return (
            "Labelled turns come without contexts. A session is taken to start at "
            f"{self.start_tokens} tokens and to grow by what the yardstick says of each turn's labels; past "
            f"{self.compact_tokens} tokens it is folded to {self.start_tokens + self.summary_tokens}. Turns that are "
            "not in the file add nothing.",
            f"The turns of a session follow each other after {self.pause_s:g} s.",
            "Each turn needs tools and nothing else of a model.",
        )


def labelled_cases(
    turns: Iterable[LabelledTurn], policy: Policy, workload: Workload, *, promises: Promises = ()
) -> tuple[Case, ...]:
    """Make cases of labelled turns, in the order given.

    Successive rows of one group are one session as long as their positions grow; without positions, as long as a row
    brings messages from before it.

    Parameters
    ----------
    turns : iterable of LabelledTurn
        In the order of their file.
    policy : Policy
        Says by how much a turn makes the context grow.
    workload : Workload
        The rest that is assumed.
    promises : tuple of (float, float), optional
        Of the bundle that assessed them.
    """
    cases: list[Case] = []
    before: LabelledTurn | None = None
    session, n_sessions, tokens, now = "", 0, 0, 0.0
    for turn in turns:
        truth = truth_of(turn.labels)
        if before is None or _starts(turn, before):
            n_sessions += 1
            session, tokens = f"{turn.group}#{n_sessions}", workload.start_tokens
        elif tokens > workload.compact_tokens:
            tokens = workload.start_tokens + workload.summary_tokens
        key = f"{session}/{len(cases)}"
        request = Turn(
            prompt=turn.prompt,
            context=turn.context,
            context_tokens=round(tokens),
            session_id=session,
            key=key,
            request_key=key,
            state_key=session,
            next_state_key=session,
            needs=frozenset({"tools"}),
        )
        cases.append(
            Case(
                id=turn.id,
                turn=request,
                assessment=turn.assessment,
                truth=truth,
                at=now,
                group=turn.group,
                promises=promises,
            )
        )
        tokens += round(expected_load(truth, policy).growth_tokens)
        now += workload.pause_s
        before = turn
    return tuple(cases)


def _starts(turn: LabelledTurn, before: LabelledTurn) -> bool:
    if turn.group != before.group:
        return True
    if turn.position is None or before.position is None:
        return not turn.context
    return turn.position <= before.position
