"""Do live turns still look like those before? Counts per signal, compared between two spans of time.

A signal is one plain thing about a turn, in a few bins: novelty, length, script, each predicted label, and whether the
turn failed. Bins are compared by the population stability index, PSI = sum over bins of (p - q) ln(p / q), known from
credit scoring, where 0.1 is worth a look and 0.25 means another population. Two samples of one population differ, too:
the PSI expected of that, about (bins - 1) (1/n + 1/m), is taken off, so that a quiet day raises no alarm.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from .labels import HEADS

Level = Literal["ok", "watch", "alert", "too_few"]

#: Whether the turn failed, as feedback or what came next says.
FAILURE: Final = "failure"
SIGNALS: Final = ("novelty", "length", "script", *(str(head) for head in HEADS), FAILURE)
_NOVELTY_BINS: Final = 5
_LENGTH_BINS: Final = ("1-15", "16-63", "64-255", "256-1023", "1024-4095", "4096+")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a signal is worth a look, or an alarm; spans with fewer turns are not judged.

    A failure rate alarms when it rose by more than chance explains (`failure_z` standard errors).
    """

    watch: float = 0.1
    alert: float = 0.25
    min_turns: int = 50
    failure_z: float = 3.0


DEFAULTS: Final = Thresholds()


@dataclass(frozen=True, slots=True)
class SeenSignals:
    """One turn: the bin of each signal that is known of it. `day` is UTC, as 2026-11-22."""

    day: str
    bins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Drift:
    """One signal in two spans.

    Attributes
    ----------
    score : float
        PSI less what chance gives, at least 0; for `failure` the rise of the rate.
    reference, recent : dict
        Share of each bin.
    """

    signal: str
    score: float
    level: Level
    n_reference: int
    n_recent: int
    reference: dict[str, float] = field(default_factory=dict)
    recent: dict[str, float] = field(default_factory=dict)


def signals_of(
    day: str,
    *,
    novelty: float | None = None,
    n_chars: int | None = None,
    script: str | None = None,
    labels: Mapping[str, str | None] | None = None,
    failed: bool | None = None,
) -> SeenSignals:
    """Put what is known of a turn into bins; what is None is not known."""
    bins: dict[str, str] = {}
    if novelty is not None:
        place = min(int(novelty * _NOVELTY_BINS), _NOVELTY_BINS - 1)
        bins["novelty"] = f"{place / _NOVELTY_BINS:.1f}-{(place + 1) / _NOVELTY_BINS:.1f}"
    if n_chars:
        # Each bin is four times as wide as the one before.
        bins["length"] = _LENGTH_BINS[min(max(0, (n_chars.bit_length() - 3) // 2), len(_LENGTH_BINS) - 1)]
    if script is not None:
        bins["script"] = script
    bins |= {head: label for head in HEADS if (label := (labels or {}).get(head)) is not None}
    if failed is not None:
        bins[FAILURE] = "failed" if failed else "worked"
    return SeenSignals(day, bins)


def compare(
    reference: Iterable[SeenSignals], recent: Iterable[SeenSignals], thresholds: Thresholds = DEFAULTS
) -> list[Drift]:
    """Compare two spans, signal by signal; signals that neither knows are left out.

    Parameters
    ----------
    reference, recent : iterable of SeenSignals
        Turns of the earlier and of the later span.
    thresholds : Thresholds
        From where on there is a look or an alert.
    """
    before, now = _counts(reference), _counts(recent)
    return [_drift(name, before[name], now[name], thresholds) for name in SIGNALS if before[name] or now[name]]


def by_day(
    reference: Sequence[SeenSignals], seen: Iterable[SeenSignals], thresholds: Thresholds = DEFAULTS
) -> dict[str, list[Drift]]:
    """Compare each day with the reference, in order of time."""
    days: dict[str, list[SeenSignals]] = {}
    for turn in seen:
        days.setdefault(turn.day, []).append(turn)
    return {day: compare(reference, days[day], thresholds) for day in sorted(days)}


def spans_of(
    seen: Collection[SeenSignals], *, recent_days: int, reference_days: int
) -> tuple[list[SeenSignals], list[SeenSignals]]:
    """Split turns into those of the last days that have any and those of the days before them.

    Days are days on which there were turns: a week-end or a pause moves nothing.
    """
    days = sorted({turn.day for turn in seen if turn.day})
    late = set(days[-recent_days:])
    early = set(days[-recent_days - reference_days : -recent_days])
    return [turn for turn in seen if turn.day in early], [turn for turn in seen if turn.day in late]


def stability_index(reference: Mapping[str, int], recent: Mapping[str, int]) -> float:
    """Return the PSI of two counts less what chance gives, at least 0.

    Half a turn is added to each bin, so that one that was never seen before weighs much but not without end.
    """
    names = sorted({*reference, *recent})
    n, m = sum(reference.values()), sum(recent.values())
    if not n or not m or len(names) < 2:
        return 0.0
    total = 0.0
    for name in names:
        p = (reference.get(name, 0) + 0.5) / (n + len(names) / 2)
        q = (recent.get(name, 0) + 0.5) / (m + len(names) / 2)
        total += (q - p) * math.log(q / p)
    return max(0.0, total - (len(names) - 1) * (1 / n + 1 / m))


def _counts(seen: Iterable[SeenSignals]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {name: Counter() for name in SIGNALS}
    for turn in seen:
        for name, value in turn.bins.items():
            counts[name][value] += 1
    return counts


def _drift(name: str, before: Counter[str], now: Counter[str], thresholds: Thresholds) -> Drift:
    n, m = before.total(), now.total()
    if name == FAILURE:
        score, level = _failure(before, now, thresholds)
    else:
        score = stability_index(before, now)
        level = "alert" if score >= thresholds.alert else "watch" if score >= thresholds.watch else "ok"
    if min(n, m) < thresholds.min_turns:
        level = "too_few"
    return Drift(name, round(score, 4), level, n, m, _shares(before), _shares(now))


def _failure(before: Counter[str], now: Counter[str], thresholds: Thresholds) -> tuple[float, Level]:
    """Return the rise of the failure rate, judged by the two-sample test of proportions."""
    n, m = before.total(), now.total()
    if not n or not m:
        return 0.0, "ok"
    rise = now["failed"] / m - before["failed"] / n
    both = (before["failed"] + now["failed"]) / (n + m)
    error = math.sqrt(both * (1 - both) * (1 / n + 1 / m))
    z = rise / error if error else 0.0
    return rise, "alert" if z >= thresholds.failure_z else "watch" if z >= thresholds.failure_z - 1 else "ok"


def _shares(counts: Counter[str]) -> dict[str, float]:
    return {name: round(n / counts.total(), 4) for name, n in sorted(counts.items())}
