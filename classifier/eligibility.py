"""Which models may take a request at all: limits and rules first, then windows and capabilities."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from .assessment import Exclusion, Turn
from .catalog import Catalog, Model
from .limits import Limits
from .policy_file import Policy
from .reasons import Note


def joined(limits: Limits, models: Collection[str] | None) -> Limits:
    """Put an allow-list that was given apart into the limits."""
    return limits if models is None else replace(limits, models=frozenset(models))


def allowed_models(catalog: Catalog, limits: Limits, *extra: str | None) -> tuple[tuple[Model, ...], list[Exclusion]]:
    """Return the models to weigh, and those that rules leave out.

    Without an allow-list also those that the session, the policy or the person names.
    """
    found = catalog.candidates(limits.models)
    if limits.models is None:
        wanted = () if limits.wanted is None else catalog.roles.get(limits.wanted, (limits.wanted,))
        there = catalog.weighed_names
        # By name: a model's hash is that of its whole row.
        more = dict.fromkeys(name for name in (*extra, *wanted) if name is not None and name not in there)
        found = (*found, *(catalog.by_name[name] for name in more if name in catalog.by_name)) if more else found
    if not limits.denied and limits.residency is None:
        return found, []
    kept, excluded = [], []
    for model in found:
        if model.name in limits.denied:
            excluded.append(Exclusion(model.name, "denied", "which a rule denies"))
        elif limits.residency is not None and not (model.residency and model.residency <= limits.residency):
            places = ", ".join(sorted(limits.residency)) or "no place"
            excluded.append(Exclusion(model.name, "residency", f"which is not known to keep data in {places}"))
        else:
            kept.append(model)
    return tuple(kept), excluded


def fitting_models(
    allowed: Sequence[Model], turn: Turn, policy: Policy, growth_tokens: float
) -> tuple[list[Model], list[Exclusion]]:
    """Split the allowed models into those that fit and the others."""
    fitting, unfit = [], []
    tokens, reserve = turn.context_tokens + growth_tokens, policy.reserve(turn)
    for model in allowed:
        obstacle = model.obstacle(turn.needs, tokens, reserve)
        if obstacle is None:
            fitting.append(model)
        else:
            unfit.append(Exclusion(model.name, *obstacle))
    return fitting, unfit


def wanted_models(limits: Limits, fitting: Sequence[Model], catalog: Catalog, notes: list[Note]) -> list[Model]:
    """Return the fitting models that the person asked for; say so, or that there are none."""
    if limits.wanted is None:
        return []
    names = catalog.roles.get(limits.wanted, (limits.wanted,))
    found = [model for model in fitting if model.name in names]
    place = f"in the {limits.wanted_by}" if limits.wanted_by else "by name"
    if found:
        notes.append(Note("explicit_model", f"Asked for {place}: {limits.wanted}."))
    else:
        text = f"{limits.wanted}, asked for {place}, does not take this request or is not allowed."
        notes.append(Note("explicit_model_unfit", text))
    return found
