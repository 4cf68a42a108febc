"""Review: people label stored turns, those first whose labels would change most of what is decided."""

import time
from dataclasses import dataclass, field
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.records import DecisionRecord
from pointsman.classifier.review import Candidate, review_queue
from pointsman.serving.errors import DecisionNotFoundError
from pointsman.serving.services import Services, services_of

from .cookies import ROOT
from .forms import read_form
from .guide import guide
from .pages import PageRoute, identity_of, page
from .reviews import (
    agreement,
    disagreements,
    labelled_reviews,
    n_reviews,
    open_turns,
    reviews_of,
    save_review,
    undo_review,
)

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

_LENGTH: Final = 50
#: What came in meanwhile may matter more.
_KEEP_S: Final = 120.0
#: Every so many turns one comes that another reviewer labelled: without those nobody knows how far they agree.
SECOND_EVERY: Final = 4
_N_DISAGREEMENTS: Final = 20


@dataclass(slots=True)
class Queue:
    """What one reviewer sees next: ids with their values, made at a time."""

    made_at: float = float("-inf")
    items: list[tuple[str, float, float]] = field(default_factory=list)


@router.get(ROOT + "/review")
async def show(request: Request) -> Response:
    """Show the turn to label next, or the one that is asked for."""
    services, reviewer = services_of(request), identity_of(request).name
    asked = request.query_params.get("id", "")
    if asked:
        record, value, n_waiting = await run_in_threadpool(_asked, services, asked)
    else:
        record, value, n_waiting = await run_in_threadpool(_next, services, reviewer, _queue(request, reviewer))
    counts = await run_in_threadpool(n_reviews, services.store)
    return page(
        request,
        "review.html",
        record=record,
        value=value,
        n_waiting=n_waiting,
        counts=counts,
        n_mine=counts.get(reviewer, 0),
        guide=guide(),
        stores_text=services.settings.store_text,
        mine=await run_in_threadpool(_own_labels, services, record, reviewer),
    )


@router.post(ROOT + "/review")
async def take(request: Request) -> Response:
    """Save labels, skip the turn, or take the last one back."""
    services, reviewer = services_of(request), identity_of(request).name
    form = await read_form(request)
    action, decision_id = form.get("action"), form.get("decision_id")
    place = f"{request.scope.get('root_path', '')}{ROOT}/review"
    if action == "undo":
        last = await run_in_threadpool(undo_review, services.store, reviewer)
        return RedirectResponse(f"{place}?id={last}" if last else place, status_code=303)
    if action not in ("save", "skip"):
        raise InputError("The form says neither save, skip nor undo. Reload the page.")
    labels = {str(head): form.get(head) for head in HEADS} if action == "save" else {}
    await run_in_threadpool(save_review, services.store, decision_id, reviewer, labels)
    queue = _queue(request, reviewer)
    queue.items = [item for item in queue.items if item[0] != decision_id]
    return RedirectResponse(place, status_code=303)


@router.get(ROOT + "/review/agreement")
async def agree(request: Request) -> Response:
    """Show how far reviewers agree, and where not."""
    services = services_of(request)
    values = await run_in_threadpool(_agreed, services)
    return page(request, "agreement.html", **values)


def make_queue(services: Services, reviewer: str) -> list[tuple[str, float, float]]:
    """Return ids with the value of their label in USD and the chance that it changes the model; blocks."""
    records, seconds = open_turns(services.store, reviewer)
    rules = services.model.router
    ordered = review_queue(
        (Candidate.of(record) for record in records), rules.catalog, rules.policy, limit=len(records)
    )
    items = [(item.id, item.value_usd, item.change_probability) for item in ordered]
    first = [item for item in items if item[0] not in seconds]
    second = [item for item in items if item[0] in seconds]
    mixed: list[tuple[str, float, float]] = []
    while (first or second) and len(mixed) < _LENGTH:
        is_second = second and (not first or len(mixed) % SECOND_EVERY == SECOND_EVERY - 1)
        mixed.append((second if is_second else first).pop(0))
    return mixed


def _next(services: Services, reviewer: str, queue: Queue) -> tuple[DecisionRecord | None, Any, int]:
    if not queue.items or time.monotonic() - queue.made_at > _KEEP_S:
        queue.items, queue.made_at = make_queue(services, reviewer), time.monotonic()
    while queue.items:
        decision_id, usd, chance = queue.items[0]
        try:
            return services.store.decision(decision_id), (usd, chance), len(queue.items)
        except DecisionNotFoundError:
            queue.items.pop(0)  # forgotten since the queue was made
    return None, None, 0


def _asked(services: Services, decision_id: str) -> tuple[DecisionRecord | None, Any, int]:
    return services.store.decision(decision_id), None, 0


def _own_labels(services: Services, record: DecisionRecord | None, reviewer: str) -> dict[str, str]:
    if record is None:
        return {}
    given = reviews_of(services.store, record.decision_id)
    return next((dict(review.labels) for review in given if review.reviewer == reviewer), {})


def _agreed(services: Services) -> dict[str, Any]:
    reviews = labelled_reviews(services.store)
    turns = []
    for decision_id, given in list(disagreements(reviews).items())[:_N_DISAGREEMENTS]:
        turns.append((services.store.decision(decision_id), given))
    return {"counts": n_reviews(services.store), "heads": agreement(reviews), "turns": turns, "names": list(HEADS)}


def _queue(request: Request, reviewer: str) -> Queue:
    state = request.app.state
    if not hasattr(state, "console_queues"):
        state.console_queues = {}
    queues: dict[str, Queue] = state.console_queues
    return queues.setdefault(reviewer, Queue())
