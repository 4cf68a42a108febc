"""Models: who serves and who is tried, how right they are, what the catalogue believes, and drafts of the policy."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.answers import model_answer
from pointsman.classifier.labels import HEADS
from pointsman.serving.audit import AUDIT
from pointsman.serving.errors import OverloadedError
from pointsman.serving.registry_mirror import names_registry
from pointsman.serving.services import Services, services_of
from pointsman.serving.store import Store

from .champions import alias_folder, contenders, promote, roll_back
from .cookies import ROOT
from .decisions import fetch
from .drafts import Drafted, apply_draft, present_file, which
from .forms import read_form
from .measured import of_reviews, reviewed_turns
from .pages import PageRoute, identity_of, page
from .replays import N_FRONTIER, N_POINTS, N_REPLAYED, comparison_chart, frontier, replay_draft
from .verdicts import WIDTH, verdicts

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

_Result = TypeVar("_Result")
_N_CHANGES: Final = 25
_N_ACTS: Final = 100
_MAX_WHY: Final = 500
_MAX_POLICY_BYTES: Final = 256 * 1024


@router.get(ROOT + "/models")
async def show(request: Request) -> Response:
    """Show the bundles side by side, and the catalogue."""
    services = services_of(request)
    values = await run_in_threadpool(_shown, services)
    return page(request, "models.html", **values, done=request.query_params.get("done", ""))


@router.get(ROOT + "/models/policy")
async def show_policy(request: Request) -> Response:
    """Show the policy as a draft to change; with `act`, as it was before that act."""
    return await _draft(request, "policy")


@router.get(ROOT + "/models/catalog")
async def show_catalog(request: Request) -> Response:
    """Show the catalogue as a draft to change; with `act`, as it was before that act."""
    return await _draft(request, "catalog")


@router.post(ROOT + "/models/replay")
async def replay(request: Request) -> Response:
    """Replay a draft over recent turns."""
    services = services_of(request)
    form = await read_form(request, limit_bytes=_MAX_POLICY_BYTES)
    drafted, text = which(form.get("which")), form.get("text") + "\n"
    comparison = await _one_at_a_time(request, lambda: replay_draft(services, drafted, text))
    present = await run_in_threadpool(present_file, services, drafted)
    (changes,) = comparison.changes.values()
    return page(
        request,
        "draft_replay.html",
        comparison=comparison,
        chart=comparison_chart(comparison),
        changes=changes[:_N_CHANGES],
        n_changes=len(changes),
        present=present,
        text=text,
        is_same=comparison.rows[0].totals == comparison.rows[1].totals and not changes,
    )


@router.post(ROOT + "/models/apply")
async def apply(request: Request) -> Response:
    """Put a draft in place of the file that serves."""
    services, actor = services_of(request), identity_of(request).name
    form = await read_form(request, limit_bytes=_MAX_POLICY_BYTES)
    drafted, text = which(form.get("which")), form.get("text") + "\n"
    version = await run_in_threadpool(apply_draft, services, drafted, text, form.get("expected"), actor)
    present = await run_in_threadpool(present_file, services, drafted)
    return page(request, "draft.html", present=present, text=present.text, done=version, n_replayed=N_REPLAYED)


@router.get(ROOT + "/models/frontier")
async def show_frontier(request: Request) -> Response:
    """Show what other losses would spend and miss."""
    services = services_of(request)
    return page(request, "frontier.html", **await _one_at_a_time(request, lambda: frontier(services)))


@router.post(ROOT + "/models/apply/bundle")
async def change_bundle(request: Request) -> Response:
    """Promote the challenger, or go back to the bundle before."""
    services, actor = services_of(request), identity_of(request).name
    form = await read_form(request)
    change = promote if form.get("act") == "promote" else roll_back
    why = form.get("why")[:_MAX_WHY]
    version = await run_in_threadpool(change, services, form.get("digest"), actor, why)
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}{ROOT}/models?done={version}", status_code=303)


@router.get(ROOT + "/audit")
async def audit(request: Request) -> Response:
    """Show what operators did, newest first."""
    before = request.query_params.get("before", "")
    place = int(before) if before.isascii() and before.isdecimal() and len(before) < 18 else None
    acts = await run_in_threadpool(_acts, services_of(request).store, place)
    last = acts[_N_ACTS - 1].audit_id if len(acts) > _N_ACTS else None
    return page(request, "audit.html", acts=acts[:_N_ACTS], before=last)


def _shown(services: Services) -> dict[str, Any]:
    rules = services.model.router
    found = contenders(services)
    folder = alias_folder(services)
    held = verdicts(folder)
    sides = [(one.version, one.heads) for one in found if one.role != "served before" and one.is_drawn]
    tried = next((one.digest for one in found if one.role == "challenger"), "")
    met = next((verdict for verdict in held if verdict.is_about(found[0].digest, tried)), None)
    promised = sorted({share for one in found for share, threshold in one.promises.items() if threshold is not None})
    return {
        "contenders": found,
        "labels": HEADS,
        "sides": sides,
        "promised": promised,
        "verdicts": held,
        "gate_width": WIDTH,
        "may_promote": met is not None and met.promotes,
        "reviewed": {one.head: one for one in of_reviews(reviewed_turns(services.store, rules.model_version))},
        "trial": None if services.watch.trial is None else services.watch.trial.describe(),
        "refused": services.watch.describe()["bundle"]["refused"],
        "has_aliases": folder is not None,
        "registry": _registry(services),
        "catalog": rules.catalog,
        "models": [model_answer(model) for model in rules.catalog.models],
        "n_frontier": N_FRONTIER,
        "n_points": N_POINTS,
    }


def _registry(services: Services) -> str:
    """Return the alias of a registry that the service follows; empty where it follows none."""
    bundle = services.settings.bundle
    return str(bundle) if bundle is not None and names_registry(bundle) else ""


def _acts(store: Store, before: int | None) -> list[Any]:
    query = sa.select(AUDIT).order_by(AUDIT.c.audit_id.desc()).limit(_N_ACTS + 1)
    return fetch(store, query if before is None else query.where(AUDIT.c.audit_id < before))


async def _draft(request: Request, drafted: Drafted) -> Response:
    services, before = services_of(request), request.query_params.get("act", "")
    text = None
    if before.isascii() and before.isdecimal() and len(before) < 18 and "operate" in identity_of(request).roles:
        text = await run_in_threadpool(_text_before, services.store, drafted, int(before))
    present = await run_in_threadpool(present_file, services, drafted)
    return page(request, "draft.html", present=present, text=text or present.text, done="", n_replayed=N_REPLAYED)


def _text_before(store: Store, drafted: Drafted, audit_id: int) -> str | None:
    query = sa.select(AUDIT.c.details).where(AUDIT.c.audit_id == audit_id, AUDIT.c.action == f"{drafted}.apply")
    return next((details.get("before") for (details,) in fetch(store, query)), None)


async def _one_at_a_time(request: Request, work: Callable[[], _Result]) -> _Result:
    """Run a replay off the event loop; a second one at the same time is refused."""
    state = request.app.state
    if not hasattr(state, "console_replay"):
        state.console_replay = asyncio.Lock()
    lock: asyncio.Lock = state.console_replay
    if lock.locked():
        raise OverloadedError(1)
    async with lock:
        return await run_in_threadpool(work)
