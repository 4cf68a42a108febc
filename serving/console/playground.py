"""The playground: a prompt or a whole body, the decision on it, and what moved it. Nothing of it is recorded."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.assessment import Assessment, Kind, Turn
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.policy import policy_names
from pointsman.serving.questions import Delivery, read_question
from pointsman.serving.services import Services, services_of

from .cookies import ROOT
from .forms import Form, read_form
from .neighbours import Embeddings, labelled_turns
from .occlusion import LEAST, effects, parts_of, without_each
from .pages import PageRoute, identity_of, page
from .trial import Trial, decide_trial, from_share, to_share, under_presets

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

#: Decisions that people wait for come in between batches.
_BATCH_SIZE: Final = 16
_MAX_TURNS_BEFORE: Final = 8


@router.get(ROOT + "/playground")
async def show(request: Request) -> Response:
    """Show the empty form."""
    return page(request, "playground.html", **_choices(services_of(request)))


@router.post(ROOT + "/playground")
async def decide(request: Request) -> Response:
    """Decide what the form holds."""
    services = services_of(request)
    trial = await _tried(services, await _form(request, services))
    return page(request, "playground_result.html", **_result(services, trial), is_shared=False)


@router.post(ROOT + "/playground/shared")
async def open_shared(request: Request) -> Response:
    """Decide what a share link holds."""
    services = services_of(request)
    form = await _form(request, services)
    try:
        shared = orjson.loads(form.get("shared"))
    except orjson.JSONDecodeError:
        shared = None
    trial = from_share(shared, services.model.router)
    return page(request, "playground_result.html", **_result(services, trial), is_shared=True)


@router.post(ROOT + "/playground/words")
async def words(request: Request) -> Response:
    """Leave out each word once."""
    services = services_of(request)
    trial = await _tried(services, await _form(request, services))
    if trial.assessment is None:
        raise InputError("Nothing was assessed, so no word moved anything.")
    parts = parts_of(trial.turn.prompt)
    left_out = await _assess(services, without_each(trial.turn, parts))
    found = effects(parts, trial.assessment, left_out)
    most = {name: max([LEAST, *(abs(getattr(part, name)) for part in found)]) for name in ("care", "category")}
    values: dict[str, Any] = {"parts": found, "most": most, "least": LEAST, "assessment": trial.assessment}
    return page(request, "playground_words.html", **values)


@router.post(ROOT + "/playground/nearest")
async def nearest(request: Request) -> Response:
    """Show the labelled turns that read most alike."""
    services = services_of(request)
    trial = await _tried(services, await _form(request, services))
    if "review" not in identity_of(request).roles:
        return page(request, "playground_nearest.html", found=[], why="forbidden")
    turns = await run_in_threadpool(labelled_turns, services.store)
    if not turns:
        return page(request, "playground_nearest.html", found=[], why="no_text" if _keeps_no_text(services) else "none")
    embeddings = _embeddings(request)
    router = services.model.router
    missing = embeddings.missing(turns, router.model_version)
    for start in range(0, len(missing), _BATCH_SIZE):
        batch = missing[start : start + _BATCH_SIZE]
        vectors = await _embed(services, [turn.record.to_turn() for turn in batch])
        if vectors is None:
            return page(request, "playground_nearest.html", found=[], why="no_embedding")
        embeddings.keep(batch, vectors)
    vector = await _embed(services, [trial.turn])
    found = [] if vector is None else embeddings.nearest(turns, vector[0])
    return page(request, "playground_nearest.html", found=found, why="no_embedding" if vector is None else "")


async def _form(request: Request, services: Services) -> Form:
    return await read_form(request, limit_bytes=services.settings.max_body_bytes)


async def _tried(services: Services, form: Form) -> Trial:
    policy, present = form.get("policy"), form.get("present")
    if policy not in ("", *policy_names()) or present not in ("", *services.model.router.catalog.by_name):
        raise InputError("The form names a policy or a model that this service lacks. Reload the page.")
    body = _body(form)
    limit = services.settings.max_body_bytes
    read = partial(read_question, services.model.router, Delivery(body, {}, ""), limit_bytes=limit)
    question = await services.model.read(read, max_waiting=services.settings.max_queued_decisions)
    turn = question.turn
    if not turn.prompt or turn.kind is Kind.BACKGROUND:
        return Trial(turn, None, policy, present)
    (assessment,) = await _assess(services, [turn])
    return Trial(turn, assessment, policy or question.policy or "", present)


def _body(form: Form) -> bytes:
    if form.get("asking") == "body":
        if not form.get("body"):
            raise InputError("The body is empty. Paste a request as a client sent it.")
        return form.get("body").encode()
    if not form.get("prompt"):
        raise InputError("The prompt is empty. Write what a person would ask an agent.")
    before = zip(form.all("role")[:_MAX_TURNS_BEFORE], form.all("text"), strict=False)
    digest: dict[str, Any] = {
        "prompt": form.get("prompt"),
        "context": [{"role": role, "text": text} for role, text in before if text.strip()],
    }
    tokens = form.get("context_tokens")
    if tokens:
        if not (tokens.isascii() and tokens.isdecimal() and len(tokens) < 9):
            raise InputError("The tokens of the context are no whole number. Leave the field empty for an estimate.")
        digest["context_tokens"] = int(tokens)
    return orjson.dumps(digest)


async def _assess(services: Services, turns: Sequence[Turn]) -> list[Assessment]:
    model = services.model
    max_waiting: int | None = services.settings.max_queued_classifies
    found: list[Assessment] = []
    for start in range(0, len(turns), _BATCH_SIZE):
        batch = turns[start : start + _BATCH_SIZE]
        found += await model.infer(partial(model.router.classify, batch), max_waiting=max_waiting)
        max_waiting = None  # what was begun is finished
    return found


async def _embed(services: Services, turns: Sequence[Turn]) -> Any:
    embed = partial(services.model.router.embed, turns)
    return await services.model.infer(embed, max_waiting=services.settings.max_queued_classifies)


def _choices(services: Services) -> dict[str, Any]:
    router = services.model.router
    return {
        "policies": policy_names(),
        "own_policy": router.policy.name,
        "models": [model.name for model in router.catalog.models],
    }


def _result(services: Services, trial: Trial) -> dict[str, Any]:
    router = services.model.router
    decision = decide_trial(router, trial)
    bound = router.risk_bound
    return {
        "trial": trial,
        "decision": decision,
        "heads": [(head, getattr(trial.assessment, head)) for head in HEADS] if trial.assessment else [],
        "most_usd": max((cost.total for cost in decision.expected_cost), default=0.0),
        "presets": under_presets(router, trial),
        "own_policy": router.policy.name,
        "threshold": None if bound is None else bound.threshold,
        "share": orjson.dumps(to_share(trial)).decode(),
        "share_text": orjson.dumps(to_share(trial, with_text=True)).decode() if trial.turn.prompt else "",
    }


def _keeps_no_text(services: Services) -> bool:
    return not services.settings.store_text


def _embeddings(request: Request) -> Embeddings:
    state = request.app.state
    if not hasattr(state, "console_embeddings"):
        state.console_embeddings = Embeddings()
    kept: Embeddings = state.console_embeddings
    return kept
