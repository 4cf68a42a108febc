"""Live: decisions as they come and as they came, a session as a timeline, and how fast and how sure deciding is."""

from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.labels import CATEGORIES, RISKS
from pointsman.serving.errors import DecisionNotFoundError, OverloadedError
from pointsman.serving.services import Services, services_of
from pointsman.serving.telemetry import SAFE_DEFAULTS

from .cookies import ROOT
from .decisions import Filter, known_values, list_decisions, recent_figures, session_records
from .feed import Feed
from .pages import PageRoute, identity_of, page, templates
from .timeline import MAX_REQUESTS, session_outcomes, spent_on, steps_of

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

#: A browser comes back by itself. Longer streams would hold up a service that is told to stop.
_STREAM_S: Final = 10.0
_MAX_STREAMS: Final = 50


@router.get(ROOT + "/live")
async def show(request: Request) -> Response:
    """List decisions, newest first."""
    services = services_of(request)
    wanted, after = Filter.of(request.query_params), request.query_params.get("after", "")
    values = await run_in_threadpool(_listed, services, wanted, after)
    return page(request, "live.html", **values, wanted=wanted, after=after, safe_defaults=_safe_defaults(services))


@router.get(ROOT + "/live/figures")
async def figures(request: Request) -> Response:
    """Return the figures alone, for a page that is open."""
    services = services_of(request)
    recent = await run_in_threadpool(recent_figures, services.store)
    return page(request, "live_figures.html", recent=recent, safe_defaults=_safe_defaults(services))


@router.get(ROOT + "/live/stream")
async def stream(request: Request) -> Response:
    """Send rows of the list as they come."""
    feed = _feed(request)
    if feed.n_watching >= _MAX_STREAMS:
        raise OverloadedError(_MAX_STREAMS)
    after = request.headers.get("last-event-id") or request.query_params.get("after", "")
    root = str(request.scope.get("root_path", ""))
    events = _events(feed, Filter.of(request.query_params), after, f"{root}{ROOT}")
    return StreamingResponse(events, media_type="text/event-stream")


@router.get(ROOT + "/session")
async def session(request: Request) -> Response:
    """Show one session."""
    services, session_id = services_of(request), request.query_params.get("id", "")
    records = await run_in_threadpool(session_records, services.store, session_id, most=MAX_REQUESTS)
    if not records:
        raise DecisionNotFoundError
    outcomes = await run_in_threadpool(session_outcomes, services.store, session_id)
    steps = steps_of(records, outcomes)
    may_read = "review" in identity_of(request).roles
    return page(
        request,
        "session.html",
        session_id=session_id,
        steps=steps,
        n_requests=len(records),
        is_cut=len(records) == MAX_REQUESTS,
        spent_usd=spent_on(steps),
        n_switches=sum(step.is_switch for step in steps),
        n_corrections=sum(step.is_correction for step in steps),
        shows_text=may_read,
        has_text=any(record.prompt for record in records),
    )


def _listed(services: Services, wanted: Filter, after: str) -> dict[str, Any]:
    store = services.store
    return {
        "listed": list_decisions(store, wanted, after),
        "recent": recent_figures(store),
        "categories": CATEGORIES,
        "risks": RISKS,
        "models": known_values(store, "model"),
        "projects": known_values(store, "project"),
    }


async def _events(feed: Feed, wanted: Filter, after: str, root: str) -> AsyncIterator[str]:
    # Half a second: a page that is cut off between two streams misses nothing, since it says what it saw last.
    yield "retry: 500\n\n"
    row_of = templates().get_template("live_row.html").module.row  # type: ignore[attr-defined]  # a macro
    async for rows in feed.watch(after, _STREAM_S):
        for row in rows:
            html = " ".join(str(row_of(row, lambda path="": root + path, True)).split()) if wanted.takes(row) else ""
            yield f"id: {row.created_at}\ndata: {html}\n\n"


def _safe_defaults(services: Services) -> list[tuple[str, int]]:
    """Return how many answers of this process were the safe default, by cause."""
    found = {}
    for metric in services.telemetry.registry.collect():
        for sample in metric.samples:
            if sample.name == SAFE_DEFAULTS:
                found[sample.labels["cause"]] = int(sample.value)
    return sorted(found.items(), key=lambda item: -item[1])


def _feed(request: Request) -> Feed:
    state = request.app.state
    if not hasattr(state, "console_feed"):
        state.console_feed = Feed(services_of(request).store)
    feed: Feed = state.console_feed
    return feed
