"""What a session was last told: for people at a client, who see a model's name and wonder why."""

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.identity import bounded_id
from pointsman.serving.errors import SessionNotFoundError
from pointsman.serving.history import last_of_session
from pointsman.serving.schemas import ErrorAnswer, SessionAnswer
from pointsman.serving.services import Services, services_of

router = APIRouter(tags=["sessions"])


@router.get(
    "/v1/sessions/{session_id:path}",
    responses={200: {"model": SessionAnswer}, 404: {"model": ErrorAnswer}, 503: {"model": ErrorAnswer}},
)
async def read_session(request: Request, session_id: str) -> Response:
    """Return the model that a session is on and why: the reasons are those of the turn under way, never its words.

    Background calls and subagents are left out. Decisions are recorded off the way of requests, a moment after them.
    """
    answer = await run_in_threadpool(_answer, services_of(request), session_id)
    return Response(orjson.dumps(answer), media_type="application/json")


def _answer(services: Services, session_id: str) -> dict[str, Any]:
    # As it was stored: long ids are hashed, what no database holds is replaced.
    stored = bounded_id(session_id) or ""
    last = last_of_session(services.store, stored)
    if last is None:
        raise SessionNotFoundError
    begun = last_of_session(services.store, stored, turn_key=last.turn_key) or last
    assessment = begun.assessment
    return {
        "session_id": session_id,
        "model": last.model,
        "provider": last.provider,
        "effort": last.effort,
        "decision_id": last.decision_id,
        "created_at": last.created_at,
        "category": None if assessment is None else assessment.category.label,
        "risk": None if assessment is None else assessment.risk.label,
        "reasons": begun.reasons,
        "codes": begun.codes,
    }
