"""What recorded turns cost against one tier for everything."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.replay.savings import savings_answer, savings_of
from pointsman.serving.schemas import ErrorAnswer, SavingsAnswer
from pointsman.serving.services import Services, services_of
from pointsman.serving.turn_log import day_of, log_of, logged_cases

router = APIRouter(tags=["savings"])

#: Where a caller names no first day.
_DAYS: Final = 30
#: Newest requests that are looked at: the arithmetic shares the interpreter with decisions that people wait for.
MAX_REQUESTS: Final = 20_000


@router.get(
    "/v1/savings",
    responses={
        200: {"model": SavingsAnswer},
        422: {"model": ErrorAnswer},
        503: {"model": ErrorAnswer},
    },
)
async def savings(request: Request, since: str | None = None, until: str | None = None) -> Response:
    """Return what turns cost as decided, on the careful model alone and on the cheap one alone, by day and category.

    `since` is the first day (UTC, like 2026-11-22; 30 days ago when left out), `until` the first to leave out. All are
    estimates; `assumptions` says what they rest on.
    """
    services = services_of(request)
    begin = day_of(since, "since") or (datetime.now(UTC) - timedelta(days=_DAYS)).date().isoformat()
    answer = await run_in_threadpool(savings_between, services, begin, day_of(until, "until"))
    return Response(orjson.dumps(answer), media_type="application/json")


def savings_between(services: Services, since: str, until: str) -> dict[str, Any]:
    """Return the savings of days from one on and before another, empty for no end; blocks."""
    cases = logged_cases(services.store, since, until, newest=MAX_REQUESTS)
    notes: tuple[str, ...] = ()
    if len(cases) == MAX_REQUESTS:
        notes = (f"Only the newest {MAX_REQUESTS} requests were looked at; `pointsman savings` reads all of them.",)
    rules = services.model.router
    return savings_answer(savings_of(log_of(cases, f"since {since}"), rules.catalog, rules.policy, notes=notes))
