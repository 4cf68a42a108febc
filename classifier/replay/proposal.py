"""A tuning as people and files take it: the frontier as a table, the policy file, its difference, JSON."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import RISKS
from pointsman.classifier.policy_file import POLICIES, Policy

from .comparison import assumptions_of, totals_answer
from .ledger import Totals
from .reference import ALL_CHEAP, ALL_PREMIUM
from .tune import Point, Tuning

_UNCHECKED = "The choice could not be checked on other turns: on one half of the groups no setting meets the target."
_NOT_WORTH_IT = "Not worth it: the careful model for everything meets the target too, and spends no more on tokens."
#: Rows of a frontier that a screen takes.
MAX_ROWS = 16


def policy_text(tuning: Tuning, path: Path, *, command: str, day: str) -> str:
    """Return the policy file of the chosen setting, to be written at `path`.

    It extends the present policy, so that all else stays what that one says.

    Raises
    ------
    InputError
        Nothing was chosen.
    """
    chosen = tuning.chosen
    if chosen is None:
        raise InputError("no setting met the target, so there is no policy to write. Choose another target.")
    losses = ", ".join(f"{risk}: {loss:g}" for risk, loss in zip(RISKS, chosen.loss_usd, strict=True))
    lines = [
        f"# Proposed on {day} by `{command}`.",
        f"# Target: {tuning.target.describe()}.",
        f"# From {tuning.log.about}; catalogue {tuning.catalog.version}.",
        f"# There: {_found(tuning, chosen.totals)}.",
        *(f"# Chosen on one half of the groups, seen on the other: {text}." for text in _checked(tuning)),
        *((f"# {_NOT_WORTH_IT}",) if tuning.is_premium_better else ()),
        f"extends: {_base(tuning.policy, path)}",
        f'loss_usd: {{{losses}, source: "pointsman tune, {day}"}}',
        "scale: 1",
        *([f"max_missed: {chosen.max_missed:g}"] if chosen.max_missed != tuning.policy.max_missed else []),
    ]
    return "\n".join(lines) + "\n"


def _base(policy: Policy, path: Path) -> str:
    base = Path(policy.path)
    if _is_preset(policy):
        return policy.name
    if base.resolve() == path.resolve():
        raise InputError(f"{path}: is the present policy itself; expected a new file. Name another with --output.")
    return Path(os.path.relpath(base.resolve(), path.resolve().parent)).as_posix()


def _is_preset(policy: Policy) -> bool:
    return Path(policy.path).parent.resolve() == POLICIES.resolve()


def policy_diff(tuning: Tuning, path: Path) -> str:
    """Return how what the two policies say differs, scales worked in; empty where nothing does."""
    chosen = tuning.chosen or tuning.present
    before, after = _said(tuning.present), _said(chosen)
    name = tuning.policy.name if _is_preset(tuning.policy) else tuning.policy.path
    return "".join(difflib.unified_diff(before, after, name, str(path)))


def _said(point: Point) -> list[str]:
    losses = [f"  {risk}: {loss:g}\n" for risk, loss in zip(RISKS, point.loss_usd, strict=True)]
    return ["loss_usd:\n", *losses, f"max_missed: {point.max_missed:g}\n"]


def tuning_text(tuning: Tuning) -> str:
    """Lay a tuning out for people."""
    lines = [
        f"{tuning.log.about}; catalogue {tuning.catalog.version}, priced by {tuning.policy.version}",
        f"Target: {tuning.target.describe()}",
        "",
        *_table(tuning),
        "",
    ]
    if tuning.chosen is None:
        lines.append(f"No setting of {len(tuning.points)} meets the target. The nearest: {_setting(tuning.nearest)}.")
    else:
        found = _found(tuning, tuning.chosen.totals)
        lines.append(f"Chosen of {len(tuning.points)} settings, {_setting(tuning.chosen)}: {found}.")
    if tuning.chosen is tuning.present:
        lines.append("That is the present policy: nothing changes.")
    else:
        lines.append(f"The present policy, {_setting(tuning.present)}: {_found(tuning, tuning.present.totals)}.")
    if tuning.is_premium_better:
        lines.append(_NOT_WORTH_IT)
    checked = [f"Chosen on one half of the groups, seen on the other: {text}." for text in _checked(tuning)]
    lines += checked or [_UNCHECKED]
    return "\n".join([*lines, "", "Assumptions:", *(f"- {text}" for text in assumptions_of(tuning.log))])


def _table(tuning: Tuning) -> list[str]:
    head = f"{'promise':>8}{'low':>8}{'medium':>9}{'high':>9}{'premium':>10}{'tokens USD':>12}{'saved':>9}"
    lines = [f"{'':<14}{head}{'care sent cheap':>20}{'high risk sent cheap':>24}"]
    rows: list[tuple[str, Point | None, Totals]] = [(ALL_PREMIUM, None, tuning.premium)]
    shown = {point.setting: point for point in (*_thinned(tuning.frontier), tuning.present)}
    if tuning.chosen is not None:
        shown[tuning.chosen.setting] = tuning.chosen
    for point in sorted(shown.values(), key=lambda found: -found.totals.spend_usd):
        name = "chosen" if point is tuning.chosen else "present" if point is tuning.present else ""
        rows.append((name, point, point.totals))
    rows.append((ALL_CHEAP, None, tuning.cheap))
    return [*lines, *(_row(tuning, *row) for row in rows)]


def _row(tuning: Tuning, name: str, point: Point | None, totals: Totals) -> str:
    promise = "" if point is None else f"{point.max_missed:.0%}" if tuning.policy.enforce_risk_bound else "off"
    low, medium, high = ("", "", "") if point is None else (f"{loss:g}" for loss in point.loss_usd)
    return (
        f"{name:<14}{promise:>8}{low:>8}{medium:>9}{high:>9}{totals.premium_share:>10.1%}{totals.spend_usd:>12.2f}"
        f"{saved_share(totals, tuning.premium):>9.1%}"
        f"{_missed(tuning, totals.care_missed, totals.needs_care):>20}"
        f"{_missed(tuning, totals.high_missed, totals.high_risk):>24}"
    )


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    """Keep the ends and what lies evenly between them."""
    if len(points) <= MAX_ROWS:
        return points
    return [points[round(i * (len(points) - 1) / (MAX_ROWS - 1))] for i in range(MAX_ROWS)]


def saved_share(totals: Totals, premium: Totals) -> float:
    """Return what is spent less than all-premium, as a share of it."""
    return 1 - totals.spend_usd / premium.spend_usd if premium.spend_usd else 0.0


def _missed(tuning: Tuning, missed: float, among: float) -> str:
    counts = f"{missed:.0f} of {among:.0f}" if tuning.log.labelled else f"{missed:.1f} of {among:.1f}"
    return f"{counts} ({missed / among:.1%})" if among else counts


def _setting(point: Point) -> str:
    losses = " / ".join(f"{loss:g}" for loss in point.loss_usd)
    return f"losses {losses} USD, at most {point.max_missed:.0%} missed asked of the bundle"


def _found(tuning: Tuning, totals: Totals) -> str:
    care = _missed(tuning, totals.care_missed, totals.needs_care)
    high = _missed(tuning, totals.high_missed, totals.high_risk)
    least, most = totals.care_missed_interval()
    interval = f", 90 % interval {least:.1%} to {most:.1%}" if tuning.log.labelled else ""
    month = "" if tuning.target.budget_usd is None else f", {tuning.target.month_usd(totals):.2f} USD a month"
    saved = saved_share(totals, tuning.premium)
    against = f"{saved:.1%} less" if saved >= 0 else f"{-saved:.1%} more"
    return (
        f"{totals.premium_share:.1%} premium, {against} than all-premium{month}, "
        f"sent cheap: {care} that need care{interval}, {high} of high risk"
    )


def _checked(tuning: Tuning) -> list[str]:
    return [] if tuning.checked is None else [_found(tuning, tuning.checked)]


def tuning_answer(tuning: Tuning) -> dict[str, Any]:
    """Return a tuning as JSON values."""
    return {
        "log": tuning.log.about,
        "labelled": tuning.log.labelled,
        "catalog": tuning.catalog.version,
        "policy": tuning.policy.version,
        "target": {
            "max_missed": tuning.target.max_missed,
            "budget_usd": tuning.target.budget_usd,
            "turns_a_month": tuning.target.turns_a_month or None,
        },
        "is_met": tuning.chosen is not None,
        "is_premium_better": tuning.is_premium_better,
        "chosen": None if tuning.chosen is None else _point_answer(tuning, tuning.chosen),
        "nearest": _point_answer(tuning, tuning.nearest),
        "present": _point_answer(tuning, tuning.present),
        "checked": None if tuning.checked is None else totals_answer(tuning.checked),
        "frontier": [_point_answer(tuning, point) for point in tuning.frontier],
        ALL_PREMIUM: totals_answer(tuning.premium),
        ALL_CHEAP: totals_answer(tuning.cheap),
        "n_settings": len(tuning.points),
        "assumptions": list(assumptions_of(tuning.log)),
    }


def _point_answer(tuning: Tuning, point: Point) -> dict[str, Any]:
    losses = dict(zip(RISKS, point.loss_usd, strict=True))
    saved = saved_share(point.totals, tuning.premium)
    return {"loss_usd": losses, "max_missed": point.max_missed, "saved_share": saved, **totals_answer(point.totals)}
