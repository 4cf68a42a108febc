"""Is it alive, is it ready, what is it: for probes, scrapers and people."""

import asyncio
from importlib.metadata import version
from typing import Final

import orjson
from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from pointsman.classifier.labels import HEADS
from pointsman.serving.api_schema import api_schema
from pointsman.serving.docs_page import render_docs
from pointsman.serving.errors import NotReadyError, StoreUnavailableError, error_answer
from pointsman.serving.schemas import ErrorAnswer, catalog_answer
from pointsman.serving.services import Services, services_of
from pointsman.serving.telemetry import CONTENT_TYPE, READY

router = APIRouter(tags=["health"])

#: Probes of the usual orchestrators wait little longer than this.
_CHECK_TIMEOUT_S: Final = 2.0


@router.get("/healthz")
async def healthz() -> JSONResponse:
    """Answer while the process serves at all."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", responses={503: {"model": ErrorAnswer}})
async def readyz(request: Request) -> JSONResponse:
    """Answer 200 when the bundle is verified and warm and the record store can be read."""
    services = services_of(request)
    try:
        services.model.require_warm()
        services.recorder.require_running()
        await _check_store(services)
    except (NotReadyError, StoreUnavailableError) as exc:
        services.telemetry.observe(READY, 0)
        return error_answer(503, "not_ready", str(exc))
    services.telemetry.observe(READY, 1)
    # The old bundle serves on: ready all the same, with what stands against the one that is named.
    problem = services.watch.problem()
    return JSONResponse({"status": "ready"} | ({} if problem is None else {"bundle_problem": problem}))


async def _check_store(services: Services) -> None:
    """Read from the store; a probe gets its answer though the database hangs."""
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            await to_thread.run_sync(services.store.check, abandon_on_cancel=True)
    except TimeoutError:
        raise StoreUnavailableError(f"The record store did not answer within {_CHECK_TIMEOUT_S:g} s.") from None


@router.get("/info")
async def info(request: Request) -> JSONResponse:
    """Return versions, labels and limits."""
    services = services_of(request)
    settings = services.settings
    return JSONResponse(
        {
            "version": version("pointsman"),
            **services.model.describe(),
            "labels": {head: list(labels) for head, labels in HEADS.items()},
            "limits": {
                "max_body_bytes": settings.max_body_bytes,
                "classify_max_inputs": settings.classify_max_inputs,
                "decide_timeout_s": settings.decide_timeout_s,
                "max_expected_wait_s": settings.max_expected_wait_s,
                "max_queued_decisions": settings.max_queued_decisions,
            },
            "stores_text": settings.store_text,
            **services.watch.describe(),
            **services.upkeep.describe(),
        }
    )


@router.get("/v1/models")
async def models(request: Request) -> Response:
    """Return the catalogue as served: prices, windows, evidence."""
    answer = catalog_answer(services_of(request).model.router.catalog)
    return Response(orjson.dumps(answer), media_type="application/json")


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return Prometheus metrics."""
    return Response(services_of(request).telemetry.exposition(), media_type=CONTENT_TYPE)


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """Return the API's description for machines."""
    return JSONResponse(api_schema(request.app))


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """Return the API's description as one page without scripts; nothing is loaded from elsewhere."""
    return HTMLResponse(render_docs(api_schema(request.app)))
