"""Decides cases again under another policy, with the router that serves: sessions, rules, budgets and all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pointsman.classifier.asking import Asking, Question
from pointsman.classifier.assessment import Assessment, Decision, Kind, Turn
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import PolicyError
from pointsman.classifier.memory_sessions import MemorySessions
from pointsman.classifier.policy_file import Policy
from pointsman.classifier.risk_bound import promise_for
from pointsman.classifier.router import Router

from .case import Case

#: As `pointsman serve` keeps them.
_SESSION_TTL_S: Final = 6 * 3600.0
_UNASSESSED: Final = "It was not assessed when it came in, so it gets the safe default again."


def decide_again(cases: Iterable[Case], catalog: Catalog, policy: Policy) -> list[Decision]:
    """Decide cases in their order, each with the sessions that the decisions before it left behind.

    Parameters
    ----------
    cases : iterable of Case
        Sessions may be interleaved.
    catalog : Catalog
        What to choose from.
    policy : Policy
        In place of the service's own. A case whose person or caller named a preset keeps to that one.

    Returns
    -------
    list of Decision
        One per case.

    Raises
    ------
    ConfigError
        The policy names a model or role the catalogue lacks.
    """
    router = _Replayer(catalog, policy)
    return [router.again(case) for case in cases]


class _NoAssessor:
    """Stands where the model does; every case brings its own assessment."""

    version = "replay"

    def assess(self, turns: Sequence[Turn]) -> list[Assessment]:
        msg = f"a replay was asked to assess {len(turns)} turns; expected none. Report this."
        raise PolicyError(msg)


class _Replayer(Router):
    """The router, on the clock of a log, with the limits that the text of a case would have shown."""

    def __init__(self, catalog: Catalog, policy: Policy) -> None:
        self._now = 0.0
        self._case: Case | None = None
        self._month = ""
        self._spent: dict[str, float] = defaultdict(float)
        sessions = MemorySessions(ttl_s=_SESSION_TTL_S, clock=self._time)
        super().__init__(_NoAssessor(), catalog, policy, sessions, clock=self._time, spent=self._spent_by_rule)

    def again(self, case: Case) -> Decision:
        self._now, self._case = case.at, case
        if case.day[:7] != self._month:
            self._month = case.day[:7]
            self._spent.clear()
        decision = self._again(case)
        if case.begins:
            self._count(case, decision)
        return decision

    def _again(self, case: Case) -> Decision:
        turn, assessment = case.turn, case.assessment
        asked = Asking(case.models, case.policy, case.caller)
        question = self._question(turn, asked)
        before = self.sessions.get(turn.state_key) if turn.state_key else None
        goes_on = turn.kind is Kind.TOOL_LOOP and not case.weighed and before is not None and before.model is not None
        recalled = self._recall(question) if goes_on or turn.kind is Kind.BACKGROUND else None
        if recalled is not None:
            return recalled
        return self._default(question, _UNASSESSED) if assessment is None else self._settle(question, assessment)

    def _count(self, case: Case, decision: Decision) -> None:
        rules = [rule for rule in self.policy.rules_for(case.caller) if rule.monthly_budget_usd]
        if rules:
            usd = next((cost.tokens for cost in decision.expected_cost if cost.model == decision.model), 0.0)
            for rule in rules:
                self._spent[rule.name] += usd

    def _question(self, turn: Turn, asking: Asking, started: float | None = None) -> Question:
        question, case = super()._question(turn, asking, started), self._case
        if case is None:
            return question
        # What the text of the turn showed then is recorded; the text itself seldom is.
        known = tuple(dict.fromkeys((*question.limits.pins, *case.pins)))
        kept = promise_for(case.promises, question.policy.max_missed)
        threshold = case.care_threshold if kept is None else kept[1]
        limits = replace(question.limits, pins=known, care_threshold=threshold, promises=case.promises)
        return replace(question, limits=limits)

    def _time(self) -> float:
        return self._now

    def _spent_by_rule(self) -> Mapping[str, float]:
        return self._spent
