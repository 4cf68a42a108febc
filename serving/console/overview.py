"""The way in: to the live decisions where there are any, else to the first request."""

from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.answers import decision_answer
from pointsman.serving.questions import Delivery
from pointsman.serving.services import services_of

from .cookies import ROOT
from .decisions import has_decisions
from .forms import read_form
from .pages import PageRoute, page

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

_PROMPT: Final = "Fix the race condition in our payment webhook handler"
_BODY: Final = {"prompt": _PROMPT, "session_id": "console-first-request"}


@router.get(ROOT)
@router.get(ROOT + "/")
async def home(request: Request) -> Response:
    """Lead to the decisions, or to the first one."""
    if await run_in_threadpool(has_decisions, services_of(request).store):
        return RedirectResponse(f"{request.scope.get('root_path', '')}{ROOT}/live", status_code=302)
    return page(request, "first_run.html", **_values(request), decision=None)


@router.get(ROOT + "/start")
async def start(request: Request) -> Response:
    """Say how to send requests, whether there were any or not."""
    return page(request, "first_run.html", **_values(request), decision=None)


@router.post(ROOT + "/start")
async def send_first(request: Request) -> Response:
    """Decide an example like any other request; it is recorded."""
    await read_form(request)
    delivery = Delivery(orjson.dumps(_BODY), {"content-type": "application/json"}, "")
    answer = await services_of(request).decider.answer(delivery)
    return page(request, "first_run.html", **_values(request), decision=decision_answer(answer.decision))


def _values(request: Request) -> dict[str, Any]:
    services = services_of(request)
    return {
        "address": str(request.base_url).rstrip("/"),
        "needs_key": services.access.asks_for_keys(request.scope),
        "prompt": _PROMPT,
        "stores_text": services.settings.store_text,
    }
