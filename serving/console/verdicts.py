"""What the last contests between champion and challenger said, laid out to be drawn: each gate on a scale of its own.

The alias folder keeps them, as `pointsman retrain` and `contest` wrote them. A gate's scale holds its value, its
interval, its limit and the place of no change, so that what is allowed can be seen without reading a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pointsman.classifier.aliases import AliasFolder

#: Width of a gate's drawing, and what stays free at both its ends.
WIDTH: Final = 240.0
_MARGIN: Final = 12.0
#: Where a value of each unit says that nothing changed.
_SAME: Final = {"difference": 0.0, "ratio": 1.0, "share": 1.0}
#: Figures of a set that are shown side by side; the rest stays in the verdict's own page.
_MAX_FIGURES: Final = 20


@dataclass(frozen=True, slots=True)
class Drawn:
    """A gate's numbers as places from 0 to `WIDTH`.

    Attributes
    ----------
    refused : tuple of float
        From where to where the limit refuses.
    """

    value: float
    limit: float
    same: float
    refused: tuple[float, float]
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class GateShown:
    """One gate: what came out, in words and as a drawing where it is a number."""

    name: str
    passed: bool
    reason: str
    about: str = ""
    value: str = ""
    limit: str = ""
    interval: str = ""
    drawn: Drawn | None = None


@dataclass(frozen=True, slots=True)
class VerdictShown:
    """One contest."""

    at: str
    promotes: bool
    reason: str
    champion: Mapping[str, Any]
    challenger: Mapping[str, Any]
    gates: tuple[GateShown, ...]
    sets: Mapping[str, Any]

    @property
    def n_failed(self) -> int:
        """How many gates refused."""
        return sum(not gate.passed for gate in self.gates)

    def is_about(self, champion: str, challenger: str) -> bool:
        """Say whether it judged these two bundles, by digest."""
        return (self.champion.get("digest"), self.challenger.get("digest")) == (champion, challenger)


def verdicts(folder: AliasFolder | None) -> list[VerdictShown]:
    """Return what the last contests said, newest first; none where no alias folder is named."""
    return [] if folder is None else [_verdict(found) for found in folder.verdicts()]


def verdict_on(folder: AliasFolder, champion: str, challenger: str) -> VerdictShown | None:
    """Return the newest verdict on two bundles, by digest; None when they never met."""
    return next((found for found in verdicts(folder) if found.is_about(champion, challenger)), None)


def _verdict(found: Mapping[str, Any]) -> VerdictShown:
    return VerdictShown(
        at=str(found.get("at", "")),
        promotes=bool(found.get("promotes")),
        reason=str(found.get("reason", "")),
        champion=found.get("champion") or {},
        challenger=found.get("challenger") or {},
        gates=tuple(_gate(gate) for gate in found.get("gates") or ()),
        sets={name: _set(figures) for name, figures in (found.get("sets") or {}).items()},
    )


def _set(found: Mapping[str, Any]) -> dict[str, Any]:
    rows = [(name, figure) for name, figure in (found.get("figures") or {}).items() if figure.get("rise") is not None]
    return {"n_rows": found.get("n_rows", 0), "n_groups": found.get("n_groups", 0), "figures": rows[:_MAX_FIGURES]}


def _gate(gate: Mapping[str, Any]) -> GateShown:
    name, passed, reason = str(gate["name"]), bool(gate["passed"]), str(gate["reason"])
    measure = gate.get("measure")
    if not measure or measure.get("value") is None:
        return GateShown(name, passed, reason)
    unit, value, limit = str(measure["unit"]), float(measure["value"]), float(measure["limit"])
    low, high = measure.get("interval") or (None, None)
    interval = None if low is None or high is None else (float(low), float(high))
    return GateShown(
        name,
        passed,
        reason,
        about=str(measure.get("about") or ""),
        value=_written(value, unit),
        limit=f"{'at most' if measure['is_most'] else 'at least'} {_written(limit, unit)}",
        interval="" if interval is None else " to ".join(_written(end, unit) for end in interval),
        drawn=_drawn(value, limit, _SAME[unit], interval, is_most=bool(measure["is_most"])),
    )


def _drawn(value: float, limit: float, same: float, interval: tuple[float, float] | None, *, is_most: bool) -> Drawn:
    known = [value, limit, same, *(interval or ())]
    low, high = min(known), max(known)
    span = (high - low) or 1.0

    def place(number: float) -> float:
        return float(round(_MARGIN + (WIDTH - 2 * _MARGIN) * (number - low) / span, 1))

    refused = (place(limit), WIDTH) if is_most else (0.0, place(limit))
    return Drawn(
        place(value),
        place(limit),
        place(same),
        refused,
        None if interval is None else (place(interval[0]), place(interval[1])),
    )


def _written(number: float, unit: str) -> str:
    if unit == "ratio":
        return f"{number:.2f} ×"
    return f"{number:.1%}" if unit == "share" else f"{number:+.3f}".replace("-", "−")
