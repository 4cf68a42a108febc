"""How numbers and times are written on pages."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from math import sqrt
from typing import Any, Final

from pointsman.classifier.reasons import usd

from .measured import HeadFigures


def percent(share: float | None, digits: int = 0) -> str:
    """Write a share; a dash for none."""
    return "–" if share is None else f"{share:.{digits}%}"


def dollars(amount: float | None) -> str:
    """Write an amount in USD with as many digits as matter; a dash for none."""
    if amount is None:
        return "–"
    if abs(amount) < 0.00005:
        return "$0.00"
    sign = "−" if amount < 0 else ""
    return f"{sign}${abs(amount):,.2f}" if abs(amount) >= 100 else f"{sign}${usd(abs(amount))}"


def count(number: float) -> str:
    """Write a count with its thousands apart."""
    return f"{number:,.0f}"


def milliseconds(value: float | None) -> str:
    """Write a time; a dash for none."""
    if value is None:
        return "–"
    return f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def signed(number: float, digits: int = 3) -> str:
    """Write a difference with its sign."""
    return f"{number:+.{digits}f}".replace("-", "−")


def clock(created_at: str) -> str:
    """Write the time of day of a record's time."""
    return created_at[11:19]


def moment(created_at: str) -> str:
    """Write a record's time to the second."""
    return f"{created_at[:10]} {created_at[11:19]}"


def ago(created_at: str) -> str:
    """Write how long ago a record's time is."""
    try:
        then = datetime.fromisoformat(created_at.replace("Z", "+00:00"))
    except ValueError:
        return created_at
    seconds = max(0.0, (datetime.now(UTC) - then).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "just now"


def level(value: float, most: float = 1.0) -> int:
    """Return a value's place on a scale of colours, 0 to 5."""
    return max(0, min(5, round(5 * value / most))) if most else 0


def radius(n: int, of: int) -> float:
    """Return how large a point is drawn: its area grows with its share."""
    return 2.5 + 8 * sqrt(n / of) if of else 2.5


def of_head(sides: Iterable[tuple[str, Mapping[str, HeadFigures]]], head: str) -> list[tuple[str, HeadFigures]]:
    """Return the figures of one head that can be drawn, with the name of what they are of."""
    return [(name, found[head]) for name, found in sides if head in found and found[head].bins]


def short(name: str, most: int = 12) -> str:
    """Cut a long name."""
    return name if len(name) <= most else f"{name[:most]}…"


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "zip": zip,
    "percent": percent,
    "dollars": dollars,
    "count": count,
    "milliseconds": milliseconds,
    "signed": signed,
    "radius": radius,
    "of_head": of_head,
    "clock": clock,
    "moment": moment,
    "ago": ago,
    "level": level,
    "short": short,
}
