"""One shape for every figure: ours beside a reference, from repetitions that take turns; an interval of the ratio."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

#: Resamplings behind an interval; it holds the middle 95 % of them.
N_RESAMPLINGS = 2_000
_SHARES = (2.5, 97.5)

Statistic = Callable[[np.ndarray], float]


class Goal(NamedTuple):
    """What a row aims at: a limit on our own figure, on the ratio, or on what ours has over the reference."""

    figure: Literal["ours", "ratio", "excess"]
    limit: float
    at_least: bool = False

    def __str__(self):
        return f"{self.figure} {'>=' if self.at_least else '<='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `n` counts the repetitions behind it; `low` and `high` bound the ratio."""

    part: str
    what: str
    unit: str
    ours: float
    n: int = 1
    beside: str = ""
    reference: float | None = None
    low: float | None = None
    high: float | None = None
    goal: Goal | None = None

    @property
    def ratio(self):
        return None if self.reference is None else self.ours / self.reference

    @property
    def excess(self):
        return None if self.reference is None else self.ours - self.reference

    @property
    def is_met(self):
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        figure = getattr(self, self.goal.figure)
        return bool(figure >= self.goal.limit if self.goal.at_least else figure <= self.goal.limit)


@dataclass(frozen=True, slots=True)
class Samples:
    """One value per repetition, ours and the reference's of the same repetition at the same place."""

    ours: np.ndarray
    reference: np.ndarray

    def scaled(self, factor):
        return Samples(self.ours * factor, self.reference * factor)

    def ratio_interval(self, statistic):
        """Bound the ratio of two statistics: whole repetitions are drawn again, so noise that hits both cancels."""
        rng = np.random.default_rng(0)
        drawn = rng.integers(len(self.ours), size=(N_RESAMPLINGS, len(self.ours)))
        ratios = [statistic(self.ours[rows]) / statistic(self.reference[rows]) for rows in drawn]
        low, high = np.percentile(ratios, _SHARES)
        return float(low), float(high)

    def row(self, part, what, unit, beside, *, statistic: Statistic = np.median, goal=None):
        """Return the row that these repetitions make."""
        low, high = self.ratio_interval(statistic)
        ours, reference = float(statistic(self.ours)), float(statistic(self.reference))
        return Row(part, what, unit, ours, len(self.ours), beside, reference, low, high, goal)


def take_turns(ours, reference, n, *, clock=time.thread_time, n_warm=10, between=lambda: None):
    """Time both `n` times in turns, in seconds; which comes first is drawn anew each time.

    `clock` is this thread's processor time unless told otherwise: what other programs do on the machine is not counted.
    `between` runs before each of them, untimed.
    """
    rng = random.Random(0)
    times = {ours: [], reference: []}
    for number in range(n_warm + n):
        for work in rng.sample((ours, reference), 2):
            between()
            started = clock()
            work()
            elapsed = clock() - started
            if number >= n_warm:
                times[work].append(elapsed)
    return Samples(np.array(times[ours]), np.array(times[reference]))
