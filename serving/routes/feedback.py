"""Feedback on decisions: acknowledged once committed."""

import asyncio
from typing import Annotated, Final
from uuid import uuid4

import orjson
from fastapi import APIRouter, Header, Request, Response

from pointsman.classifier.errors import InputError
from pointsman.classifier.records import MAX_NAME_LENGTH, FeedbackRecord, check_labels, utc_now
from pointsman.serving.api_schema import body_of
from pointsman.serving.bodies import read_body
from pointsman.serving.errors import DecisionNotFoundError, StoreUnavailableError
from pointsman.serving.schemas import ErrorAnswer, FeedbackAnswer, FeedbackRequest, parse
from pointsman.serving.services import Services, services_of

router = APIRouter(tags=["feedback"])

_BODY: Final = body_of(FeedbackRequest)
# A judgement with a comment; anything near the limit of /v1/decide is a mistake.
_MAX_BYTES: Final = 64 * 1024
# Decisions are written about 0.1 s after their answer.
_PAUSES_S: Final = (0.1, 0.4)


@router.post(
    "/v1/feedback",
    status_code=201,
    responses={
        201: {"model": FeedbackAnswer},
        404: {"model": ErrorAnswer},
        409: {"model": ErrorAnswer},
        422: {"model": ErrorAnswer},
        503: {"model": ErrorAnswer},
    },
    openapi_extra=_BODY,
)
async def give_feedback(request: Request, idempotency_key: Annotated[str | None, Header()] = None) -> Response:
    """Judge one decision. The same feedback sent again under one Idempotency-Key (or feedback_id) is kept once."""
    services = services_of(request)
    body = await read_body(request, _MAX_BYTES, services.settings.body_timeout_s)
    given = parse(FeedbackRequest, body)
    record = _record(services, given, idempotency_key)
    await commit(services, record)
    answer = {"feedback_id": record.feedback_id, "decision_id": record.decision_id}
    return Response(orjson.dumps(answer), status_code=201, media_type="application/json")


def _record(services: Services, given: FeedbackRequest, idempotency_key: str | None) -> FeedbackRecord:
    if idempotency_key and len(idempotency_key) > MAX_NAME_LENGTH:
        raise InputError(f"Idempotency-Key has {len(idempotency_key)} characters; expected at most {MAX_NAME_LENGTH}.")
    if idempotency_key and given.feedback_id and idempotency_key != given.feedback_id:
        raise InputError("feedback_id and the Idempotency-Key header differ. Send one of them, or the same in both.")
    check_labels(given.labels)
    return FeedbackRecord(
        feedback_id=idempotency_key or given.feedback_id or uuid4().hex,
        decision_id=given.decision_id,
        created_at=utc_now(),
        outcome=given.outcome,
        labels=dict(given.labels),
        cost_usd=given.cost_usd,
        comment=given.comment if services.settings.store_text else None,
        source=given.source,
    )


async def commit(services: Services, record: FeedbackRecord) -> None:
    """Store one feedback, or raise when the store does not take it in time.

    A decision that another replica gave may be a moment away from the store: one that is not found is looked for again.
    """
    for pause_s in _PAUSES_S:
        try:
            await _commit_once(services, record)
        except DecisionNotFoundError:
            await asyncio.sleep(pause_s)
        else:
            return
    await _commit_once(services, record)


async def _commit_once(services: Services, record: FeedbackRecord) -> None:
    committed = asyncio.wrap_future(services.recorder.submit_feedback(record))
    try:
        await asyncio.wait_for(committed, services.settings.store_timeout_s)
    except TimeoutError:
        raise StoreUnavailableError("The record store did not commit in time. Send the feedback again.") from None
