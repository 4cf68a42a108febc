"""Choices where nothing is weighed: a client's own calls, the safe default, and requests that no model takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from .assessment import Exclusion, Turn
from .catalog import HARD, Catalog, Model
from .choice import Choice, unweighed
from .costs import Load, turn_cost
from .eligibility import allowed_models, fitting_models, joined, wanted_models
from .limits import UNLIMITED, Limits
from .policy_file import Policy
from .reasons import Note, on_translation


def choose_background(
    turn: Turn,
    catalog: Catalog,
    policy: Policy,
    *,
    models: Collection[str] | None = None,
    limits: Limits = UNLIMITED,
) -> Choice:
    """Take the background model for a client's own call; a careful one only when nothing else takes the request.

    Parameters
    ----------
    turn, catalog, policy, models, limits
        As for `choose`.
    """
    limits = joined(limits, models)
    named = policy.named("background", catalog)
    allowed, excluded = allowed_models(catalog, limits, *named)
    fitting, unfit = fitting_models(allowed, turn, policy, 0)
    if not fitting:
        return last_resort(turn, catalog, policy, limits, (*excluded, *unfit))
    once = Load.of(1, policy.loads[0].output_tokens / policy.loads[0].requests, 0)

    def place(model: Model) -> tuple[bool, bool, float]:
        price = turn_cost(model.prices(turn.context_tokens), turn.context_tokens, 0, once)
        other = model.name not in named
        return other and catalog.rank(model.name) == 2, other, price

    first, *rest = sorted(fitting, key=place)
    note = Note("background", f"Background call ({turn.background or 'of the client'}): the least that takes it.")
    return unweighed(first, rest, (note, *on_translation(first, turn)), (*excluded, *unfit))


def choose_default(
    turn: Turn,
    catalog: Catalog,
    policy: Policy,
    reason: str,
    *,
    models: Collection[str] | None = None,
    limits: Limits = UNLIMITED,
) -> Choice:
    """Take the safe default, or the nearest to it that fits: for turns nothing is known about.

    Parameters
    ----------
    turn, catalog, policy, models, limits
        As for `choose`.
    reason : str
        Why nothing was weighed; never user text.
    """
    limits = joined(limits, models)
    named = policy.named("default", catalog)
    allowed, excluded = allowed_models(catalog, limits, *named)
    fitting, unfit = fitting_models(allowed, turn, policy, 0)
    default = Note("safe_default", reason)
    if not fitting:
        return last_resort(turn, catalog, policy, limits, (*excluded, *unfit), default)
    notes = [default]
    wanted = wanted_models(limits, fitting, catalog, notes)
    # Stable: among equals the catalogue's own order, best liked first.
    ranked = sorted(
        fitting, key=lambda model: (model not in wanted, model.name not in named, -catalog.rank(model.name))
    )
    return unweighed(ranked[0], ranked[1:], (*notes, *on_translation(ranked[0], turn)), (*excluded, *unfit))


def last_resort(
    turn: Turn, catalog: Catalog, policy: Policy, limits: Limits, excluded: Sequence[Exclusion], *notes: Note
) -> Choice:
    """Take the largest window when no model takes the request: somebody has to answer it, or say why not."""
    allowed, _ = allowed_models(catalog, limits)
    note = Note("no_model_fits", "No model takes this request: the safe default, or whichever has the largest window.")
    if not allowed:
        note = Note("none_allowed", "None of the allowed models is in the catalogue: the safe default.")
        # The asking's own list gives way before the rules do.
        ruled = replace(limits, models=frozenset(catalog.by_name))
        is_ruled = bool(limits.denied) or limits.residency is not None
        allowed = allowed_models(catalog, ruled)[0] if is_ruled else catalog.candidates()
    if not allowed:
        allowed = catalog.candidates()
        note = Note("none_allowed", "The rules leave no model for this request: the safe default.")
    named = policy.named("default", catalog)

    def place(model: Model) -> tuple[bool, int, bool]:
        return bool((turn.needs & HARD) - model.capabilities), -model.input_max, model.name not in named

    first, *rest = sorted(allowed, key=place)
    return unweighed(first, rest, (*notes, note), tuple(excluded))
