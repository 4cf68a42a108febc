"""The promise a bundle makes: of the turns that need care, at most so many go to a cheap model, and how surely.

Training fits it on calibration data, the bundle's manifest carries it, the policy keeps it. Where the data cannot
support the promise there is no threshold, and the reason says so: nothing is promised then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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
        )

    def describe(self) -> str:
        """Return one line for people."""
        if self.threshold is None:
            return f"no risk bound: {self.reason}"
        return (
            f"at most {self.max_missed:.0%} of turns that need care miss a careful model, at {self.confidence:.0%} "
            f"confidence: no cheap model above care probability {self.threshold:.3f} "
            f"({self.n_needs_care} of {self.n_turns} calibration turns needed care)"
        )
