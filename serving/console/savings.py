"""Savings: what was spent against one tier for everything, and what it may have cost in misses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from pointsman.serving.services import services_of
from pointsman.serving.turn_log import day_of

from .cookies import ROOT
from .daily import Daily
from .missed import missed_care
from .pages import PageRoute, page


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    daily: Daily | None = getattr(app.state, "console_savings", None)
    if daily is not None:
        await daily.stop()  # before the store closes under it


router: Final = APIRouter(include_in_schema=False, route_class=PageRoute, lifespan=_lifespan)

_DAYS: Final = 30


@router.get(ROOT + "/savings")
async def show(request: Request) -> Response:
    """Show spending by day and category."""
    services = services_of(request)
    since = day_of(request.query_params.get("since") or None, "since")
    until = day_of(request.query_params.get("until") or None, "until")
    since = since or (datetime.now(UTC) - timedelta(days=_DAYS)).date().isoformat()
    answer, n_waiting = await _daily(request).between(since, until)
    missed = await run_in_threadpool(missed_care, services.store, services.model.router.catalog, since, until)
    total = answer["total"]
    return page(
        request,
        "savings.html",
        since=since,
        until=until,
        answer=answer,
        n_waiting=n_waiting,
        address=f"/savings?{urlencode({'since': since, 'until': until})}",
        missed=missed,
        premium_share=total["n_premium"] / total["n_turns"] if total["n_turns"] else None,
        saved_share=total["saved_usd"] / total["premium_usd"] if total.get("premium_usd") else None,
        chart=_chart(answer["by_day"]),
    )


def _daily(request: Request) -> Daily:
    state = request.app.state
    if not hasattr(state, "console_savings"):
        state.console_savings = Daily(services_of(request))
    kept: Daily = state.console_savings
    return kept


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
