"""The sidecar that Weave Router asks: its contract's endpoints, as they are named there."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final
from uuid import uuid4

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.records import FeedbackRecord, utc_now
from pointsman.serving.bodies import read_body
from pointsman.serving.errors import DecisionNotFoundError
from pointsman.serving.questions import Delivery, Keep
from pointsman.serving.routes.feedback import commit
from pointsman.serving.services import Services, services_of
from pointsman.serving.telemetry import SAFE_DEFAULTS
from pointsman.serving.weave import CAPABILITIES, ContractError, Given, RouteQuestion, may_be_judged, route_answer

router = APIRouter(tags=["weave"])

_SOURCE: Final = "weave"
_Handler = Callable[[Request], Awaitable[JSONResponse]]


_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    422: {
        "description": "The body is not of the contract.",
        "content": {"application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}},
    }
}


def _in_its_shape(handle: _Handler) -> _Handler:
    """Refuse as the contract does: with `error` as a text."""

    @wraps(handle)
    async def handled(request: Request) -> JSONResponse:
        try:
            return await handle(request)
        except ContractError as exc:
            return JSONResponse({"error": str(exc)}, status_code=422)

    return handled


@router.get("/livez")
async def livez() -> JSONResponse:
    """Answer while the process serves at all."""
    return JSONResponse({"status": "alive"})


@router.get("/capabilities")
async def capabilities() -> JSONResponse:
    """Return which optional parts of `policy_router_v1` there are."""
    return JSONResponse(dict(CAPABILITIES))


@router.post("/route", responses=_REFUSED)
@_in_its_shape
async def route(request: Request) -> JSONResponse:
    """Select one of Weave's candidates."""
    services = services_of(request)
    question = RouteQuestion.read(await _body(request, services))
    catalog = services.model.router.catalog
    models = list(question.by_model(catalog))
    sha256 = str(services.model.describe()["bundle_digest"]).rpartition(":")[2]
    if not models:
        services.telemetry.observe(SAFE_DEFAULTS, cause="no_known_candidate")
        return JSONResponse(route_answer(question, None, catalog, sha256))
    envelope = orjson.dumps({**question.envelope, "models": models})
    answer = await services.decider.answer(Delivery(envelope, {}, "", _keep(question), question.decision_id))
    return JSONResponse(route_answer(question, answer.decision, catalog, sha256))


@router.post("/outcome")
@_in_its_shape
async def outcome(request: Request) -> JSONResponse:
    """Take note of nothing: how a call went says little about how its task went."""
    await _body(request, services_of(request))
    return JSONResponse({"ok": True})


@router.post("/feedback", responses=_REFUSED)
@_in_its_shape
async def feedback(request: Request) -> JSONResponse:
    """Store a person's verdict on the last decision of a route or session, where learning from it is allowed."""
    services = services_of(request)
    given = Given.read(await _body(request, services))
    if given.is_good is None:
        return JSONResponse({"ok": True, "stored": False})
    last_id = await run_in_threadpool(_last_decision, services, given.session_id)
    for decision_id in (given.decision_id, last_id):
        if decision_id is not None and await _is_stored(services, given, decision_id):
            return JSONResponse({"ok": True, "stored": True})
    return JSONResponse({"ok": True, "stored": False})


async def _is_stored(services: Services, given: Given, decision_id: str) -> bool:
    record = FeedbackRecord(
        feedback_id=uuid4().hex,
        decision_id=decision_id,
        created_at=utc_now(),
        outcome="success" if given.is_good else "failure",
        labels={},
        cost_usd=None,
        comment=given.comment if services.settings.store_text else None,
        source=_SOURCE,
    )
    try:
        await commit(services, record)
    except DecisionNotFoundError:
        return False
    return True


def _last_decision(services: Services, session_id: str | None) -> str | None:
    """Return the last decision of a session, whichever worker took it, if it may be judged."""
    if session_id is None:
        return None
    last = services.recorder.last_waiting(session_id) or services.store.last_of_session(session_id)
    return last if may_be_judged(last) else None


def _keep(question: RouteQuestion) -> Keep:
    if question.is_shadow:
        return "nothing"
    return "all" if question.may_learn else "no_text"


async def _body(request: Request, services: Services) -> bytes:
    return await read_body(request, services.settings.max_body_bytes, services.settings.body_timeout_s)
