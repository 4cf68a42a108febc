"""The promises a bundle makes: of the turns that need care, at most so many go to a cheap model, and how surely.

Training fits a threshold for each of several shares on calibration data, the bundle's manifest carries them, and a
policy names the share it keeps to (`max_missed`). Where the data cannot support a share there is no threshold, and the
reason says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class RiskBound:
    """A threshold on the care probability of a turn, and what it was fitted to keep.

    Attributes
    ----------
    max_missed : float
        Largest share of turns that need care which may end on a cheap model, in (0, 1).
    confidence : float
        With what probability over calibration sets the promise holds, in (0, 1).
    threshold : float or None
        Turns with a care probability above it take no cheap model; None where the promise cannot be made.
    n_turns, n_needs_care : int
        Calibration turns, and those of them that need care.
    n_groups : int or None
        Repositories, people or sessions that those which need care come from; None where they were not told apart.
    n_effective : float or None
        Independent turns that those which need care are worth, being alike within a group; None as above.
    cheap_share : float or None
        Share of the calibration turns at or below the threshold.
    reason : str or None
        Why there is no threshold; None when there is one.
    """

    max_missed: float
    confidence: float
    threshold: float | None
    n_turns: int
    n_needs_care: int
    cheap_share: float | None
    reason: str | None
    n_groups: int | None = None
    n_effective: float | None = None

    def __post_init__(self) -> None:
        shares = {
            "max_missed": self.max_missed,
            "confidence": self.confidence,
            "threshold": self.threshold,
            "cheap_share": self.cheap_share,
        }
        for name, value in shares.items():
            if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
                msg = f"risk bound: {name} is {value}; expected a number from 0 to 1. Fit the bound again."
                raise ValueError(msg)
        if not 0 <= self.n_needs_care <= self.n_turns:
            msg = f"risk bound: {self.n_needs_care} of {self.n_turns} turns need care; expected a part of them."
            raise ValueError(msg)
        if (self.threshold is None) != (self.reason is not None):
            msg = "risk bound: found a threshold and a reason for having none, or neither; expected one of them."
            raise ValueError(msg)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read the member of a manifest.

        Raises
        ------
        KeyError, TypeError, ValueError
            A field is missing or makes no sense.
        """
        threshold, share = values["threshold"], values["cheap_share"]
        return cls(
            max_missed=float(values["max_missed"]),
            confidence=float(values["confidence"]),
            threshold=None if threshold is None else float(threshold),
            n_turns=int(values["n_turns"]),
            n_needs_care=int(values["n_needs_care"]),
            cheap_share=None if share is None else float(share),
            reason=None if values["reason"] is None else str(values["reason"]),
            n_groups=None if values.get("n_groups") is None else int(values["n_groups"]),
            n_effective=None if values.get("n_effective") is None else float(values["n_effective"]),
        )

    def describe(self) -> str:
        """Return one line for people."""
        if self.threshold is None:
            return f"no risk bound of {self.max_missed:.0%}: {self.reason}"
        groups = "" if self.n_groups is None else f" in {self.n_groups} groups"
        return (
            f"at most {self.max_missed:.0%} of turns that need care miss a careful model, at {self.confidence:.0%} "
            f"confidence: no cheap model above care probability {self.threshold:.3f}, which leaves "
            f"{self.cheap_share or 0:.0%} of turns to them "
            f"({self.n_needs_care} of {self.n_turns} calibration turns needed care{groups})"
        )


#: What a policy needs of the bounds: (max_missed, threshold) of every promise that could be made.
Promises = tuple[tuple[float, float], ...]


def promises_of(bounds: Iterable[RiskBound]) -> Promises:
    """Return the promises that could be made."""
    return tuple((bound.max_missed, bound.threshold) for bound in bounds if bound.threshold is not None)


def promise_for(promises: Promises, max_missed: float) -> tuple[float, float] | None:
    """Return the promise that a policy keeps: the widest no wider than it asks for.

    Where all are wider, as when the data could not support a narrow one, it is the narrowest there is: less than what
    was asked for, and more than nothing.

    Examples
    --------
    >>> promise_for(((0.05, 0.1), (0.1, 0.2), (0.2, 0.4)), 0.15)
    (0.1, 0.2)
    >>> promise_for(((0.05, 0.1), (0.1, 0.2)), 0.01)
    (0.05, 0.1)
    """
    if not promises:
        return None
    kept = [promise for promise in promises if promise[0] <= max_missed]
    return max(kept) if kept else min(promises)


def bound_for(bounds: Sequence[RiskBound], max_missed: float) -> RiskBound | None:
    """Return the bound behind `promise_for`; None where no promise could be made."""
    promise = promise_for(promises_of(bounds), max_missed)
    return next((bound for bound in bounds if (bound.max_missed, bound.threshold) == promise), None)


def read_bounds(values: Mapping[str, Any]) -> tuple[RiskBound, ...]:
    """Read the bounds of a manifest; format 1 has one of them at most.

    Raises
    ------
    KeyError, TypeError, ValueError
        A field is missing or makes no sense, or a wider promise has a lower threshold.
    """
    rows = values.get("risk_bounds")
    if rows is None:
        rows = [] if values.get("risk_bound") is None else [values["risk_bound"]]
    bounds = tuple(sorted((RiskBound.from_json(row) for row in rows), key=lambda bound: bound.max_missed))
    thresholds = [threshold for _, threshold in promises_of(bounds)]
    if thresholds != sorted(thresholds):
        msg = "risk bounds: a wider promise has a lower threshold; expected them to grow together. Fit them again."
        raise ValueError(msg)
    return bounds
