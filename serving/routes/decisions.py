"""Deciding, and reading a decision back."""

from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor

from pointsman.classifier.answers import decision_answer
from pointsman.classifier.records import DecisionRecord
from pointsman.serving.bodies import NoRoomError, held_body
from pointsman.serving.errors import DecisionNotFoundError, StoreUnavailableError
from pointsman.serving.questions import Delivery
from pointsman.serving.schemas import DecisionAnswer, ErrorAnswer, decision_headers
from pointsman.serving.services import Services, services_of

# Envoy asks with the method of the request it holds, and would take a 405 for a refusal of its client.
_OTHER_METHODS: Final = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]
#: All that deciding under a path answers to.
METHODS: Final = frozenset({"POST", *_OTHER_METHODS})


class _AnyPath(Convertor[str]):
    """Starlette's own `path` stops at a line break, which a client may well send as %0A."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any", _AnyPath())
router = APIRouter(tags=["decisions"])

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {200: {"model": DecisionAnswer}, 413: {"model": ErrorAnswer}}
_EXAMPLES: Final[dict[str, Any]] = {
    "digest": {"prompt": "Fix the race condition in our payment webhook handler", "session_id": "s-1"},
    "envelope": {
        "request": {"messages": [{"role": "user", "content": "fix the typo in the README"}]},
        "headers": {"x-claude-code-session-id": "s-1"},
        "models": ["claude-opus-5-5", "claude-haiku-5-5"],
        "policy": "careful",
    },
    "client's own body": {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "add a test"}]},
}
_BODY: Final = {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "examples": {name: {"value": value} for name, value in _EXAMPLES.items()},
            }
        }
    }
}


@router.post("/v1/decide", responses=_RESPONSES, openapi_extra=_BODY)
async def decide(request: Request) -> Response:
    """Decide which model takes a turn. Any body is answered; an odd one with the safe default and the reason.

    Three forms: an envelope `{"request": BODY, "headers": {...}, "session_id": ..., "models": [...], "policy": ...,
    "context_tokens": ...}` (the last one where the body was cut),
    the body of an Anthropic Messages, Chat Completions or Responses request as the client sent it, or a digest
    `{"prompt": ..., "context": [{"role", "text"}], "context_tokens": ..., "session_id": ...}`.
    """
    return await decided(request, "")


@router.api_route("/v1/decide/{path:any}", methods=_OTHER_METHODS, include_in_schema=False)
@router.post("/v1/decide/{path:any}", responses=_RESPONSES, openapi_extra=_BODY)
async def decide_under_path(request: Request, path: str) -> Response:
    """Decide on a client's own request, sent with its own path and headers (`/v1/decide/v1/messages?beta=true`)."""
    return await decided(request, path)


@router.get("/v1/decisions/{decision_id}", responses={404: {"model": ErrorAnswer}})
async def read_decision(request: Request, decision_id: str) -> Response:
    """Return the record of one decision, with the parts of its time and the feedback on it."""
    services = services_of(request)
    waiting = services.recorder.waiting(decision_id)
    row = await run_in_threadpool(_stored, services, decision_id, waiting)
    return Response(orjson.dumps(row), media_type="application/json")


async def decided(request: Request, path: str) -> Response:
    """Answer a request to decide; `path` is what its own path has after `/v1/decide/`."""
    services = services_of(request)
    settings, decider = services.settings, services.decider
    try:
        async with held_body(request, settings.max_body_bytes, settings.body_timeout_s, decider.room) as body:
            answer = await decider.answer(Delivery(body, _headers(request), path))
    except (NoRoomError, MemoryError):
        answer = decider.answer_unread()
    return Response(
        orjson.dumps(decision_answer(answer.decision)),
        headers=decision_headers(answer.decision),
        media_type="application/json",
    )


def _headers(request: Request) -> dict[str, str]:
    """Return the headers, the first of each name; `dict` of Starlette's own looks through all of them for each."""
    headers: dict[str, str] = {}
    for name, value in request.headers.raw:
        headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return headers


def _stored(services: Services, decision_id: str, waiting: DecisionRecord | None) -> dict[str, Any]:
    # The spool first: a record is in both for a moment as it leaves. The store counts: feedback is there alone.
    waiting = waiting or services.recorder.spooled(decision_id)
    try:
        record = services.store.decision(decision_id)
        feedback = [given.to_json() for given in services.store.feedback_of(decision_id)]
    except (DecisionNotFoundError, StoreUnavailableError):
        if waiting is None:
            raise
        record, feedback = waiting, []
    return record.to_json() | {"feedback": feedback}
