"""What was spent this month under each budget of the policy: read from the records, counted on between looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pointsman.classifier.assessment import Decision
from pointsman.classifier.limits import Caller
from pointsman.classifier.router import Router

from .history import Spent, spent_since
from .store import Store


def utc_today() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


class Spending:
    """Sums per rule. Several workers see each other's spending at their next look."""

    def __init__(self, router: Router, clock: Callable[[], datetime] = utc_today) -> None:
        self._router = router
        self._clock = clock
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._read: list[Spent] = []
        self._since: list[Spent] = []
        self._month = ""
        self._sums: dict[str, float] = {}

    def by_rule(self) -> Mapping[str, float]:
        """Return USD spent this month per rule that has a budget."""
        if self._month != self._this_month():
            with self._lock:
                self._turn_to(self._this_month())
        return self._sums

    def note(self, caller: Caller, decision: Decision) -> None:
        """Count a turn that was just decided; its tool loop is part of what it was expected to cost."""
        usd = spend_of(decision)
        rules = [rule.name for rule in self._router.policy.rules_for(caller) if rule.monthly_budget_usd]
        if not usd or not rules:
            return
        with self._lock:
            self._turn_to(self._this_month())
            self._since.append(Spent(caller, usd))
            self._sums = {**self._sums, **{name: self._sums.get(name, 0.0) + usd for name in rules}}

    def read(self, store: Store) -> None:
        """Read the month's spending anew; what was counted since is in it."""
        with self._reading:
            self._read_anew(store)

    def _read_anew(self, store: Store) -> None:
        budgets = [rule for rule in self._router.policy.rules if rule.monthly_budget_usd]
        if not budgets:
            with self._lock:
                self._sums, self._since = {}, []
            return
        with self._lock:
            month = self._this_month()
            self._turn_to(month)
            n_counted = len(self._since)
        read = spent_since(store, month)
        with self._lock:
            if month != self._month:
                # The month ended meanwhile: what was read counts no more, what was noted since does.
                return
            # Decided while the database was read: perhaps not in it yet.
            self._since = self._since[n_counted:]
            self._read = read
            total = [*self._read, *self._since]
            self._sums = {
                rule.name: sum(spent.usd for spent in total if rule.holds_for(spent.caller)) for rule in budgets
            }

    def _this_month(self) -> str:
        return self._clock().strftime("%Y-%m-01T00:00:00.000000Z")

    def _turn_to(self, month: str) -> None:
        """Begin a month at nothing; the lock is held."""
        if month != self._month:
            self._month, self._read, self._since, self._sums = month, [], [], {}


def spend_of(decision: Decision) -> float:
    """Return what a decision's whole turn is expected to cost in tokens; 0 for requests that only go on with one."""
    return next((cost.tokens for cost in decision.expected_cost if cost.model == decision.model), 0.0)
