"""A draft of the policy: checked whole, replayed over recent turns, and put in place of the file that serves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.errors import ConfigError, InputError
from pointsman.classifier.policy_file import POLICIES, Policy
from pointsman.classifier.replay.again import decide_again
from pointsman.classifier.replay.case import Log
from pointsman.classifier.replay.comparison import Comparison, compare
from pointsman.classifier.replay.ledger import Ledger, Taken, Totals, sum_up
from pointsman.classifier.replay.reference import all_on
from pointsman.classifier.replay.tune import SCALES
from pointsman.serving.audit import Act, write_act
from pointsman.serving.services import Services
from pointsman.serving.store import failure_of, writing
from pointsman.serving.turn_log import log_of, logged_cases

#: Newest requests that are replayed for a draft, and for each point of the frontier: decisions share the interpreter.
N_REPLAYED: Final = 2_000
_N_FRONTIER: Final = 600
_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Present:
    """The policy that serves, as its file says.

    Attributes
    ----------
    problem : str
        Why a draft cannot be put in its place; empty where it can.
    """

    text: str
    version: str
    path: Path
    problem: str


def present_policy(services: Services) -> Present:
    """Return the policy that serves."""
    policy = services.model.router.policy
    path = Path(policy.path)
    text = path.read_text(encoding="utf-8")
    if path.parent == POLICIES:
        problem = (
            f"The preset {policy.name!r} is part of the package and is not changed here. Save the draft as a file "
            "on the machine that serves and start with POINTSMAN_POLICY=FILE; from then on drafts can be applied."
        )
    elif not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        problem = f"The service may not write {path.name}. Change its permissions, or replace the file yourself."
    else:
        problem = ""
    return Present(text, _base(policy.version), path, problem)


def replay_draft(services: Services, text: str) -> Comparison:
    """Decide recent turns again under the present policy and a draft of it; blocks.

    Raises
    ------
    InputError
        The draft is wrong, and the message names line and field; or no turn is there to replay.
    """
    rules = services.model.router
    with written(text, Path(rules.policy.path), beside=False) as path:
        draft = replace(Policy.load(path), name="draft", learned_loads=rules.policy.learned_loads)
        draft.check(rules.catalog)
    return compare(_recent(services, N_REPLAYED), rules.catalog, [replace(rules.policy, name="present"), draft])


def apply_draft(services: Services, text: str, expected: str, actor: str) -> str:
    """Put a draft in the place of the file that serves, and take it up; returns the new version. Blocks.

    Raises
    ------
    InputError
        The draft is wrong, or the file is part of the package, cannot be written, or has changed meanwhile.
    """
    present = present_policy(services)
    if present.problem:
        raise InputError(present.problem)
    if present.version != expected:
        raise InputError("The policy has changed since this draft was begun. Open it again and make the change anew.")
    with written(text, present.path, beside=True) as path:
        draft = Policy.load(path)
        draft.check(services.model.router.catalog)
        version = f"{present.path.stem}:{draft.digest()}"
        details = {"from": present.version, "to": version, "before": present.text}
        try:
            with writing(services.store.engine).begin() as connection:
                write_act(connection, Act(actor, "policy.apply", present.path.name, details))
                os.replace(path, present.path)
        except SQLAlchemyError as exc:
            raise failure_of(exc) from exc
    services.upkeep.reload()
    return version


def frontier(services: Services) -> dict[str, Any]:
    """Return what scaled losses would spend and miss on recent turns, beside one tier for everything; blocks.

    Raises
    ------
    InputError
        No turn is there to replay.
    """
    rules = services.model.router
    log, policy, catalog = _recent(services, _N_FRONTIER), rules.policy, rules.catalog
    ledger = Ledger(log.cases, catalog, policy)
    points: list[tuple[str, str, Totals]] = []
    for scale in SCALES:
        scaled = replace(policy, loss_usd=tuple(loss * scale for loss in policy.loss_usd))
        entries = ledger.entries(map(Taken.of, decide_again(log.cases, catalog, scaled)))
        points.append(("present" if scale == 1 else "scaled", f"losses × {scale:g}", sum_up(entries)))
    for role, name in (("careful", "all premium"), ("cheap", "all cheap")):
        points.append((role, name, sum_up(ledger.entries(all_on(role, log.cases, catalog, policy)))))
    points.sort(key=lambda point: point[2].spend_usd)
    return {"about": log.about, "points": points, "chart": _chart(points)}


@contextmanager
def written(text: str, path: Path, *, beside: bool) -> Iterator[Path]:
    """Write a draft where its `extends` finds what the file's own does; gone afterwards unless it was moved."""
    folder = path.parent if beside or path.parent != POLICIES else Path(tempfile.gettempdir())
    if not os.access(folder, os.W_OK):
        folder = Path(tempfile.gettempdir())
    handle, name = tempfile.mkstemp(prefix=".draft-", suffix=".yaml", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text.replace("\r\n", "\n"))
        if path.exists():
            os.chmod(name, path.stat().st_mode & 0o777)
        yield Path(name)
    except ConfigError as exc:
        # The person's own text: told as such, under the name that they know.
        raise InputError(str(exc).replace(name, "draft")) from exc
    finally:
        Path(name).unlink(missing_ok=True)


def _recent(services: Services, newest: int) -> Log:
    since = (datetime.now(UTC) - timedelta(days=_DAYS)).date().isoformat()
    log = log_of(logged_cases(services.store, since, "", newest=newest), f"the newest since {since}")
    if not log.turns:
        raise InputError(f"No turn was recorded in the last {_DAYS} days, so there is nothing to replay.")
    return log


def _chart(points: list[tuple[str, str, Totals]]) -> str:
    spent = [round(totals.spend_usd, 4) for _, _, totals in points]
    missed = [round(100 * totals.care_missed_share, 2) for _, _, totals in points]
    kinds = (
        ("scaled", "losses scaled", "tokens"),
        ("present", "this policy", "failure"),
        ("careful", "all premium", "switch"),
        ("cheap", "all cheap", "cheap"),
    )
    series = [{"label": label, "colour": colour, "points": True} for _, label, colour in kinds]
    lines = [
        [share if point[0] == kind else None for point, share in zip(points, missed, strict=True)]
        for kind, _, _ in kinds
    ]
    chart = {"kind": "points", "x": "USD on tokens", "y": "care missed, %", "series": series, "data": [spent, *lines]}
    return orjson.dumps(chart).decode()


def _base(version: str) -> str:
    """Return a version without what was learned since."""
    return version.partition("+")[0]
