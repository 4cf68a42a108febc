"""Assessing prompts without deciding."""

from functools import partial
from typing import Final

import orjson
from fastapi import APIRouter, Request, Response

from pointsman.classifier.answers import assessment_answer
from pointsman.classifier.assessment import Assessment, Turn
from pointsman.classifier.errors import InputError
from pointsman.serving.api_schema import body_of
from pointsman.serving.bodies import OddBodyError, read_body, unpack
from pointsman.serving.schemas import ClassifyAnswer, ClassifyRequest, ErrorAnswer, parse
from pointsman.serving.services import Services, services_of

# Decisions come in between batches: 256 inputs in one go would keep them waiting past their deadline.
_BATCH_SIZE: Final = 16

router = APIRouter(tags=["classification"])

_BODY: Final = body_of(ClassifyRequest)


@router.post(
    "/v1/classify",
    responses={200: {"model": ClassifyAnswer}, 422: {"model": ErrorAnswer}, 429: {"model": ErrorAnswer}},
    openapi_extra=_BODY,
)
async def classify(request: Request) -> Response:
    """Assess prompts: calibrated probabilities of every head, and how unlike the training data each one is."""
    services = services_of(request)
    settings, model = services.settings, services.model
    body = await read_body(request, settings.max_body_bytes, settings.body_timeout_s)
    read = partial(_turns, services, body, request.headers.get("content-encoding", ""))
    if len(body) > settings.worker_read_bytes:
        turns = await model.read(read, max_waiting=settings.max_queued_classifies)
    else:
        turns = read()
    max_waiting: int | None = settings.max_queued_classifies
    assessments: list[Assessment] = []
    for start in range(0, len(turns), _BATCH_SIZE):
        batch = turns[start : start + _BATCH_SIZE]
        assessments += await model.infer(partial(model.router.classify, batch), max_waiting=max_waiting)
        max_waiting = None  # what was begun is finished
    answer = {
        "assessments": [assessment_answer(assessment) for assessment in assessments],
        "model_version": model.router.model_version,
    }
    return Response(orjson.dumps(answer), media_type="application/json")


def _turns(services: Services, packed: bytes, encoding: str) -> list[Turn]:
    try:
        body = unpack(packed, encoding, services.settings.max_body_bytes)
    except OddBodyError as exc:
        raise InputError(str(exc)) from None
    inputs = parse(ClassifyRequest, body).inputs
    most = services.settings.classify_max_inputs
    if len(inputs) > most:
        raise InputError(f"inputs: {len(inputs)} given, at most {most} are taken at once. Send them in parts.")
    return [item.to_turn() for item in inputs]
