"""Searches what a miss should cost, and which promise of the bundle to keep, for a share missed or for a budget.

Every setting tried is a whole replay, sessions included, so what is found is what the policy would have done. What was
chosen on some turns looks better on them than on others: the same choice is made again on one half of the groups and
measured on the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import InputError
from pointsman.classifier.policy_file import DEFAULT_MAX_MISSED, Policy
from pointsman.classifier.risk_bound import promise_for

from .again import decide_again
from .case import Log
from .ledger import Entry, Ledger, Taken, Totals, sum_up
from .reference import all_on

#: Times the present losses: three orders of magnitude, each step 1.8 times the one before.
SCALES: Final = tuple(round(1.8**step, 4) for step in range(-6, 7))
#: Times the loss at medium and at high risk, beside the scale.
MEDIUM: Final = (0.5, 1.0, 2.5)
HIGH: Final = (0.5, 1.0, 4.0)

Losses = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What a setting has to keep to; one of the two.

    Attributes
    ----------
    max_missed : float or None
        Largest share of the turns that need care, and of the high-risk turns, that may go to a cheap model.
    budget_usd : float or None
        Most that the tokens of a month may cost, at `turns_a_month`.
    """

    max_missed: float | None = None
    budget_usd: float | None = None
    turns_a_month: float = 0.0

    def __post_init__(self) -> None:
        if (self.max_missed is None) == (self.budget_usd is None):
            raise InputError("expected either a share that may be missed or a budget. Give --max-missed or --budget.")
        if self.max_missed is not None and not 0 <= self.max_missed < 1:
            raise InputError(f"--max-missed {self.max_missed:g}: expected a share from 0 to less than 1, like 0.02.")
        if self.budget_usd is not None and not (self.budget_usd > 0 and self.turns_a_month > 0):
            raise InputError(f"--budget {self.budget_usd:g}: expected USD a month above 0, and turns in that month.")

    def is_met(self, totals: Totals) -> bool:
        if self.max_missed is not None:
            return max(totals.care_missed_share, totals.high_missed_share) <= self.max_missed
        return self.month_usd(totals) <= (self.budget_usd or 0.0)

    def month_usd(self, totals: Totals) -> float:
        """Return what a month of such turns costs in tokens."""
        return totals.spend_usd / totals.n_turns * self.turns_a_month if totals.n_turns else 0.0

    def order(self, totals: Totals) -> tuple[float, ...]:
        """Return what the better of two settings that meet the target has less of."""
        if self.max_missed is not None:
            return (totals.spend_usd, totals.care_missed, totals.high_missed)
        return (totals.care_missed, totals.high_missed, totals.spend_usd)

    def distance(self, totals: Totals) -> float:
        """Return how far a setting is from meeting it."""
        if self.max_missed is not None:
            return max(totals.care_missed_share, totals.high_missed_share)
        return self.month_usd(totals)

    def describe(self) -> str:
        if self.max_missed is not None:
            return f"at most {self.max_missed:.1%} of turns that need care, and of high-risk turns, on a cheap model"
        return f"at most {self.budget_usd:g} USD a month for {self.turns_a_month:g} turns"


@dataclass(frozen=True, slots=True)
class Point:
    """One setting, and what it comes to: on all turns, and on either half of the groups."""

    loss_usd: Losses
    totals: Totals
    halves: tuple[Totals, Totals]
    max_missed: float = DEFAULT_MAX_MISSED

    @property
    def setting(self) -> tuple[Losses, float]:
        """What was tried: losses, and the promise asked of the bundle."""
        return self.loss_usd, self.max_missed


@dataclass(frozen=True, slots=True)
class Tuning:
    """What `tune` found.

    Attributes
    ----------
    present : Point
        The policy as it is.
    points : tuple of Point
        All that was tried, the present one among them.
    frontier : tuple of Point
        Those that no other beats on spending and on turns missed at once; least spending first.
    chosen : Point or None
        None where no setting meets the target; `nearest` is then the closest.
    checked : Totals or None
        The target's choice on one half of the groups, measured on the other, both ways; None where a half has none.
    """

    log: Log
    catalog: Catalog
    policy: Policy
    target: Target
    present: Point
    points: tuple[Point, ...]
    frontier: tuple[Point, ...]
    chosen: Point | None
    nearest: Point
    checked: Totals | None
    premium: Totals
    cheap: Totals

    @property
    def is_premium_better(self) -> bool:
        """Whether the careful model for everything meets the target too, misses no more and costs no more."""
        found = None if self.chosen is None else self.chosen.totals
        return found is not None and self.target.is_met(self.premium) and self.premium.spend_usd <= found.spend_usd


def tune(log: Log, catalog: Catalog, policy: Policy, target: Target) -> Tuning:
    """Find losses that meet a target.

    Parameters
    ----------
    log : Log
        At least one of its cases begins a turn.
    catalog : Catalog
        Prices, windows and failure rates.
    policy : Policy
        The present one: the search is around its losses, with its promise and, in coarser steps, with the others that
        the bundle can make. All else of it stays, and its loads price every setting.
    target : Target
        What to meet; of the settings that meet it, a share missed takes the cheapest, a budget the one that misses
        least.

    Raises
    ------
    ConfigError
        The policy names a model or role the catalogue lacks.
    """
    policy.check(catalog)
    ledger = Ledger(log.cases, catalog, policy)

    def point(losses: Losses, max_missed: float) -> Point:
        decisions = decide_again(log.cases, catalog, replace(policy, loss_usd=losses, max_missed=max_missed))
        return point_of(losses, ledger.entries(map(Taken.of, decisions)), max_missed)

    present = point(policy.loss_usd, policy.max_missed)
    tried = [(losses, policy.max_missed) for losses in settings_around(policy.loss_usd)]
    tried += [(losses, other) for other in other_promises(log, policy) for losses in scaled(policy.loss_usd)]
    points = (present, *(point(*setting) for setting in tried if setting != present.setting))
    chosen = choose_point(points, target, lambda found: found.totals)
    return Tuning(
        log=log,
        catalog=catalog,
        policy=policy,
        target=target,
        present=present,
        points=points,
        frontier=frontier_of(points),
        chosen=chosen,
        nearest=chosen or min(points, key=lambda found: (target.distance(found.totals), target.order(found.totals))),
        checked=cross_checked(points, target),
        premium=sum_up(ledger.entries(all_on("careful", log.cases, catalog, policy))),
        cheap=sum_up(ledger.entries(all_on("cheap", log.cases, catalog, policy))),
    )


def settings_around(losses: Losses) -> tuple[Losses, ...]:
    """Return losses to try: scaled as a whole, medium and high risk moved against low; all in order of risk."""
    low, medium, high = losses
    tried = (
        (_rounded(low * scale), _rounded(medium * scale * more), _rounded(high * scale * most))
        for scale, more, most in product(SCALES, MEDIUM, HIGH)
    )
    return tuple(dict.fromkeys(found for found in tried if found[0] <= found[1] <= found[2]))


def scaled(losses: Losses) -> tuple[Losses, ...]:
    """Return losses scaled as a whole, three orders of magnitude in seven steps."""
    return tuple(tuple(_rounded(loss * scale) for loss in losses) for scale in SCALES[::2])


def other_promises(log: Log, policy: Policy) -> tuple[float, ...]:
    """Return the shares missed that the bundle behind a log could promise, and the policy does not keep."""
    if not policy.enforce_risk_bound:
        return ()
    kept = {promise_for(case.promises, policy.max_missed) for case in log.turns}
    every = {promise for case in log.turns for promise in case.promises}
    return tuple(sorted(share for share, _ in every - kept))


def _rounded(amount: float) -> float:
    """Round to two digits that matter: a loss is a guess, and a file should not look like more."""
    return float(f"{amount:.2g}")


def point_of(losses: Losses, entries: Sequence[Entry], max_missed: float = DEFAULT_MAX_MISSED) -> Point:
    """Sum entries, all of them and by halves."""
    halves = tuple(sum_up([entry for entry in entries if _half(entry.case.group) == half]) for half in (0, 1))
    return Point(losses, sum_up(entries), (halves[0], halves[1]), max_missed)


def _half(group: str) -> int:
    """Return on which side a group lies; the same for ever."""
    return hashlib.blake2b(f"tune/{group}".encode(), digest_size=1).digest()[0] % 2


def choose_point(points: Iterable[Point], target: Target, of: Callable[[Point], Totals]) -> Point | None:
    """Return the best of the points whose totals meet the target; None where there is none."""
    met = [point for point in points if target.is_met(of(point))]
    return min(met, key=lambda point: target.order(of(point)), default=None)


def frontier_of(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats on spending and on turns missed at once, least spending first."""
    best: list[Point] = []
    for point in sorted(points, key=lambda found: (found.totals.spend_usd, found.totals.care_missed)):
        if not best or point.totals.care_missed < best[-1].totals.care_missed - 1e-9:
            best.append(point)
    return tuple(best)


def cross_checked(points: Sequence[Point], target: Target) -> Totals | None:
    """Choose on one half of the groups and measure on the other, both ways; sum the two measurements."""
    measured = []
    for here, there in ((0, 1), (1, 0)):
        if not (points[0].halves[here].n_turns and points[0].halves[there].n_turns):
            return None
        found = choose_point(points, target, _on_half(here))
        if found is None:
            return None
        measured.append(found.halves[there])
    return _added(*measured)


def _on_half(half: int) -> Callable[[Point], Totals]:
    return lambda point: point.halves[half]


def _added(one: Totals, other: Totals) -> Totals:
    n = one.n_turns + other.n_turns
    summed = {name: getattr(one, name) + getattr(other, name) for name in Totals.__slots__}
    for share in ("premium_share", "cheap_share"):
        summed[share] = (getattr(one, share) * one.n_turns + getattr(other, share) * other.n_turns) / n
    return Totals(**summed)
