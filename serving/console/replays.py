"""Recent turns decided again: under a draft of policy or catalogue, and under losses on a scale (the frontier)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from pointsman.classifier.errors import InputError
from pointsman.classifier.replay.again import decide_again
from pointsman.classifier.replay.case import Log
from pointsman.classifier.replay.comparison import Comparison, compare, compare_catalogs
from pointsman.classifier.replay.ledger import Ledger, Taken, Totals, sum_up
from pointsman.classifier.replay.reference import ALL_CHEAP, ALL_PREMIUM, all_on
from pointsman.classifier.replay.tune import SCALES
from pointsman.serving.services import Services
from pointsman.serving.turn_log import log_of, logged_cases

from .drafts import Drafted, read_catalog, read_policy

#: Newest requests that are replayed for a draft, and for each point of the frontier: decisions share the interpreter.
N_REPLAYED: Final = 2_000
N_FRONTIER: Final = 600
N_POINTS: Final = len(SCALES)
_DAYS: Final = 30

#: A point's kind, what it is called in the legend, and its colour.
_KINDS: Final = (
    ("scaled", "losses scaled", "tokens"),
    ("present", "as it is", "failure"),
    ("draft", "draft", "tokens"),
    ("careful", "all premium", "switch"),
    ("cheap", "all cheap", "cheap"),
)
_KIND_OF_ROW: Final = {"present": "present", "draft": "draft", ALL_PREMIUM: "careful", ALL_CHEAP: "cheap"}

_Point = tuple[str, str, Totals]


def replay_draft(services: Services, drafted: Drafted, text: str) -> Comparison:
    """Decide recent turns again as they are decided now and by a draft; blocks.

    Raises
    ------
    InputError
        The draft is wrong, and the message names line and field; or no turn is there to replay.
    """
    rules = services.model.router
    if drafted == "policy":
        draft = replace(read_policy(services, text), name="draft", learned_loads=rules.policy.learned_loads)
        present = replace(rules.policy, name="present")
        return compare(_recent(services, N_REPLAYED), rules.catalog, [present, draft])
    # The same outcomes for both, so that what differs is the draft alone.
    catalog = services.upkeep.with_outcomes(read_catalog(services, text))
    return compare_catalogs(_recent(services, N_REPLAYED), rules.catalog, catalog, rules.policy)


def comparison_chart(comparison: Comparison) -> str:
    """Return what the chart of a replay draws: present and draft between one tier and the other."""
    rows = [row for row in comparison.rows if row.name in _KIND_OF_ROW]
    return _chart([(_KIND_OF_ROW[row.name], row.name, row.totals) for row in rows])


def frontier(services: Services) -> dict[str, Any]:
    """Return what scaled losses would spend and miss on recent turns, beside one tier for everything; blocks.

    Raises
    ------
    InputError
        No turn is there to replay.
    """
    rules = services.model.router
    log, policy, catalog = _recent(services, N_FRONTIER), rules.policy, rules.catalog
    ledger = Ledger(log.cases, catalog, policy)
    points: list[_Point] = []
    for scale in SCALES:
        scaled = replace(policy, loss_usd=tuple(loss * scale for loss in policy.loss_usd))
        entries = ledger.entries(map(Taken.of, decide_again(log.cases, catalog, scaled)))
        points.append(("present" if scale == 1 else "scaled", f"losses × {scale:.3g}", sum_up(entries)))
    for role, name in (("careful", "all premium"), ("cheap", "all cheap")):
        points.append((role, name, sum_up(ledger.entries(all_on(role, log.cases, catalog, policy)))))
    points.sort(key=lambda point: point[2].spend_usd)
    return {"about": log.about, "points": points, "chart": _chart(points)}


def _recent(services: Services, newest: int) -> Log:
    since = (datetime.now(UTC) - timedelta(days=_DAYS)).date().isoformat()
    log = log_of(logged_cases(services.store, since, "", newest=newest), f"the newest since {since}")
    if not log.turns:
        raise InputError(f"No turn was recorded in the last {_DAYS} days, so there is nothing to replay.")
    return log


def _chart(points: Iterable[_Point]) -> str:
    ordered = sorted(points, key=lambda point: point[2].spend_usd)
    spent = [round(totals.spend_usd, 4) for _, _, totals in ordered]
    missed = [round(100 * totals.care_missed_share, 2) for _, _, totals in ordered]
    kinds = [kind for kind in _KINDS if any(point[0] == kind[0] for point in ordered)]
    series = [{"label": label, "colour": colour, "points": True} for _, label, colour in kinds]
    lines = [
        [share if point[0] == kind else None for point, share in zip(ordered, missed, strict=True)]
        for kind, _, _ in kinds
    ]
    chart = {"kind": "points", "x": "USD on tokens", "y": "care missed, %", "series": series, "data": [spent, *lines]}
    return orjson.dumps(chart).decode()
