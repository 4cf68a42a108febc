"""Savings: what was spent against one tier for everything, and what it may have cost in misses."""

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from pointsman.serving.routes.savings import savings_between
from pointsman.serving.services import Services, services_of
from pointsman.serving.turn_log import day_of

from .cookies import ROOT
from .missed import missed_care
from .pages import PageRoute, page

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

_DAYS: Final = 30
#: The arithmetic goes over thousands of turns: whoever reloads the page gets the same figures for a while.
_KEEP_S: Final = 60.0
_N_KEPT: Final = 8


@router.get(ROOT + "/savings")
async def show(request: Request) -> Response:
    """Show spending by day and category."""
    services = services_of(request)
    since = day_of(request.query_params.get("since") or None, "since")
    until = day_of(request.query_params.get("until") or None, "until")
    since = since or (datetime.now(UTC) - timedelta(days=_DAYS)).date().isoformat()
    answer = await _kept(request, services, since, until)
    missed = await run_in_threadpool(missed_care, services.store, services.model.router.catalog, since, until)
    total = answer["total"]
    return page(
        request,
        "savings.html",
        since=since,
        until=until,
        answer=answer,
        missed=missed,
        premium_share=total["n_premium"] / total["n_turns"] if total["n_turns"] else None,
        saved_share=total["saved_usd"] / total["premium_usd"] if total["premium_usd"] else None,
        chart=_chart(answer["by_day"]),
    )


async def _kept(request: Request, services: Services, since: str, until: str) -> dict[str, Any]:
    state = request.app.state
    if not hasattr(state, "console_savings"):
        state.console_savings = {}
    kept: dict[tuple[str, str], tuple[float, dict[str, Any]]] = state.console_savings
    now = time.monotonic()
    known = kept.get((since, until))
    if known is not None and now - known[0] < _KEEP_S:
        return known[1]
    answer = await run_in_threadpool(savings_between, services, since, until)
    if not answer["total"]["n_turns"]:
        return answer  # cheap to find out, and the first turn should show at once
    kept[since, until] = (now, answer)
    while len(kept) > _N_KEPT:
        del kept[next(iter(kept))]
    return answer


def _chart(by_day: dict[str, Any]) -> str:
    """Return what the chart draws, with empty days between."""
    if not by_day:
        return ""
    first, last = (date.fromisoformat(day) for day in (min(by_day), max(by_day)))
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    times = [int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) for day in days]
    lines = (
        ("premium_usd", "all premium", "premium"),
        ("spent_usd", "spent", "spent"),
        ("cheap_usd", "all cheap", "cheap"),
    )
    values = [[round(by_day[day][name], 4) if day in by_day else 0 for day in days] for name, _, _ in lines]
    series = [{"label": label, "colour": colour} for _, label, colour in lines]
    return orjson.dumps({"kind": "days", "y": "USD a day", "series": series, "data": [times, *values]}).decode()
