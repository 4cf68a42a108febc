"""The rule that takes a model: least expected cost among those that fit, tempered by the session's manners.

    E[cost(m)] = tokens(m) + switch(m) + sum over c, s, r of P(c) P(s) P(r) P(fail | m, c, s) loss(r)

The heads are taken as independent given the turn, so the sum is a product. Everything here is a pure function of its
arguments: a logged decision can be made again under another policy, without the model or a clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from .assessment import Assessment, CandidateCost, Exclusion, HeadResult, Kind, Stakes, Turn
from .catalog import HARD, Catalog, Model
from .choice import Choice
from .costs import Load, price, reread_cost, tokens_of
from .eligibility import allowed_models, fitting_models, joined, wanted_models
from .evidence import after_corrections, with_odds
from .labels import CATEGORIES
from .limits import UNLIMITED, Limits
from .manners import Situation, corrections_of, settle
from .policy_file import Policy, policy_names
from .reasons import Note, codes, on_bound, on_budget, on_failure, on_stakes, on_translation, sentences
from .session import SessionState, Stage
from .unweighed import choose_background, choose_default, last_resort

__all__ = ["HARD", "Choice", "Policy", "choose", "choose_background", "choose_default", "keep", "policy_names"]

_ANYTHING: Final = (1 / len(CATEGORIES),) * len(CATEGORIES)
#: Below this a strange text is not worth a sentence.
_NOTABLE_DOUBT: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Present:
    """What the session brings along; `assessment` is that of the task a turn goes on with."""

    model: str | None = None
    stage: Stage = "new"
    situation: Situation = "first"
    cached_tokens: int = 0
    corrections: Mapping[str, float] = field(default_factory=dict)
    assessment: Assessment | None = None


@dataclass(slots=True)
class _Case:
    """One turn to weigh: what is given, what follows from it, and the notes taken on the way."""

    turn: Turn
    assessment: Assessment
    catalog: Catalog
    policy: Policy
    limits: Limits
    present: _Present
    stakes: Stakes
    load: Load
    weights: npt.NDArray[np.float64]
    notes: list[Note]
    excluded: list[Exclusion] = field(default_factory=list)


def choose(
    turn: Turn,
    assessment: Assessment,
    session: SessionState | None,
    catalog: Catalog,
    policy: Policy,
    *,
    models: Collection[str] | None = None,
    limits: Limits = UNLIMITED,
    parent: SessionState | None = None,
    now: float | None = None,
) -> Choice:
    """Take the model of least expected cost that fits, unless a limit or the session's manners say otherwise.

    Parameters
    ----------
    turn : Turn
        A turn's first request. For its tool loop see `keep`.
    assessment : Assessment
        Of that turn.
    session : SessionState or None
        What was decided before in this conversation.
    catalog, policy
        `policy.check(catalog)` has passed.
    models : collection of str, optional
        Only these may be taken; short for `limits.models`.
    limits : Limits, optional
        What narrows the choice beside the request, the bundle's care threshold among it.
    parent : SessionState, optional
        The session a subagent works for: it keeps to that model's tier, and its corrections count.
    now : float, optional
        Seconds on the clock of `session.updated_at`, to tell whether a prompt cache still lives; without it, it does.

    Returns
    -------
    Choice
        Of a model that fits whenever one does.
    """
    limits = joined(limits, models)
    if turn.kind is Kind.BACKGROUND:
        return choose_background(turn, catalog, policy, limits=limits)
    present = _present(turn, assessment, session, parent, policy)
    if present.cached_tokens and session is not None and now is not None and _is_cold(session, catalog, now):
        present = replace(present, cached_tokens=0)
    case = _weigh(turn, assessment, catalog, policy, limits, present)
    allowed, case.excluded = allowed_models(catalog, limits, present.model)
    fitting, unfit = fitting_models(allowed, turn, policy, case.load.growth_tokens)
    if not fitting:
        # Growth is an expectation and no limit: a window that holds the request now beats none.
        fitting, unfit = fitting_models(allowed, turn, policy, 0)
    case.excluded += unfit
    if not fitting:
        return last_resort(turn, catalog, policy, limits, case.excluded)
    wanted = wanted_models(limits, fitting, catalog, case.notes)
    threshold = limits.care_threshold
    if threshold is not None and case.stakes.care_probability > threshold:
        fitting = _bounded(case, wanted or fitting, allowed, threshold, is_wish=bool(wanted))
    else:
        fitting = wanted or fitting
    costs = _costs(case, fitting)
    return _choice(case, costs, *((costs[0], None) if wanted else _settled(case, costs)))


def keep(
    turn: Turn,
    session: SessionState,
    catalog: Catalog,
    policy: Policy,
    *,
    models: Collection[str] | None = None,
    limits: Limits = UNLIMITED,
) -> Choice:
    """Stay with the session's model for a further request of its turn; leave it only when the request cannot go there.

    Parameters
    ----------
    turn : Turn
        A tool-loop request, or any other of the turn under way.
    session : SessionState
        Its `model` is set.
    catalog, policy, models, limits
        As for `choose`.
    """
    limits = joined(limits, models)
    present = catalog.model(session.model or "")
    allowed, _ = allowed_models(catalog, limits, session.model)
    fitting, _ = fitting_models(allowed, turn, policy, 0)
    names = [model.name for model in fitting]
    if present in fitting:
        before = session.decision
        fallbacks = () if before is None else tuple(name for name in before.fallbacks if name in names)
        notes = (Note("same_turn", f"Same turn as before: {present.name} goes on."), *on_translation(present, turn))
        effort = None if before is None else before.effort
        return Choice(
            *(present.name, present.provider, fallbacks, (), sentences(notes), True), effort=effort, codes=codes(notes)
        )
    told = f"{session.model or 'the model before'} no longer takes this request in the middle of its turn."
    note = Note("left_mid_turn", told)
    rank = catalog.rank(session.model or "")
    upward = [name for name in names if catalog.rank(name) >= rank]
    if session.assessment is None or not fitting:
        choice = choose_default(turn, catalog, policy, note.text, limits=limits)
    else:
        # What the person asked for does not fit any more either, and the turn is not begun again.
        narrowed = replace(limits, models=frozenset(upward or names), wanted=None)
        choice = choose(turn, session.assessment, None, catalog, policy, limits=narrowed)
        choice = replace(choice, reasons=(note.text, *choice.reasons))
    return replace(choice, codes=(note.code, *choice.codes))


def _weigh(
    turn: Turn, assessment: Assessment, catalog: Catalog, policy: Policy, limits: Limits, present: _Present
) -> _Case:
    notes: list[Note] = []
    floor = policy.pinned_risk(limits.pins) if limits.pins else 0
    if floor:
        assessment = _raised(assessment, floor)
        notes.append(Note("pinned_path", f"The turn mentions {limits.pins[0]}: its risk is raised."))
    categories: Sequence[float] = assessment.category.probabilities
    loss = policy.expected_loss(assessment)
    before = present.assessment
    if before is not None:
        # "Yes, go on" says little of its own: the task it goes on with says the rest.
        memory = policy.task_memory * (1 - assessment.turn.probabilities[0])
        categories = _mixed(categories, before.category.probabilities, memory)
        loss = (1 - memory) * loss + memory * policy.expected_loss(before)
    doubt = policy.novelty_weight * assessment.novelty
    if doubt:
        # An unfamiliar text says less than it seems to: mix with "could be anything".
        categories = _mixed(categories, _ANYTHING, doubt)
        loss = (1 - doubt) * loss + doubt * sum(policy.loss_usd) / len(policy.loss_usd)
        if doubt >= _NOTABLE_DOUBT:
            text = f"Unlike the training data (novelty {assessment.novelty:.2f}): less is taken for sure."
            notes.append(Note("novel_text", text))
    money = policy.money_weight(limits)
    if money > 1 and limits.spent_share is not None:
        # A dear dollar or a cheap miss: the same choice, and the costs shown stay dollars.
        loss /= money
        notes.append(on_budget(limits.spent_share))
    scopes = assessment.scope.probabilities
    weights = np.array([c * s for c in categories for s in scopes])  # (n_categories * n_scopes,)
    requests, output, growth, regrown = (weights @ policy.load_table).tolist()
    stakes = Stakes(loss, assessment.care_probability, present.cached_tokens, requests, output, growth, money)
    load = Load(requests, output, growth, regrown)
    return _Case(turn, assessment, catalog, policy, limits, present, stakes, load, weights, notes)


def _mixed(some: Sequence[float], other: Sequence[float], share: float) -> list[float]:
    return [(1 - share) * p + share * q for p, q in zip(some, other, strict=True)]


def _raised(assessment: Assessment, floor: int) -> Assessment:
    """Move all probability of risks below the floor to it."""
    risks = assessment.risk.probabilities
    lifted = (*(0.0,) * floor, sum(risks[: floor + 1]), *risks[floor + 1 :])
    return replace(assessment, risk=HeadResult("risk", lifted))


def _present(
    turn: Turn, assessment: Assessment, session: SessionState | None, parent: SessionState | None, policy: Policy
) -> _Present:
    pressed = parent is not None and parent.n_corrections >= policy.escalate_after
    if session is not None and session.model is not None:
        stage = policy.stage(assessment)
        in_a_row, corrections = session.heard(stage, assessment.turn.probabilities[2])
        # A context that shrank was rewritten, yet its beginning (system, tools) is still what was cached.
        cached = min(session.context_tokens, turn.context_tokens)
        pressed = pressed or in_a_row >= policy.escalate_after
        task = None if stage == "new" else session.assessment
        # A subagent is one task from its first turn to its last, whatever its words look like.
        own: Situation = "follow" if stage == "new" and parent is not None else stage
        return _Present(session.model, stage, "pressed" if pressed else own, cached, corrections, task)
    if parent is not None and parent.model is not None:
        # A subagent's first turn is a task of its own with nothing cached; what its parent learned still holds.
        return _Present(parent.model, "new", "pressed" if pressed else "subagent", 0, parent.corrections)
    return _Present()


def _is_cold(session: SessionState, catalog: Catalog, now: float) -> bool:
    """Say whether the provider has dropped the session's prompt cache."""
    model = catalog.model(session.model or "")
    return model is None or now - session.updated_at > model.cache_ttl_s


def _bounded(
    case: _Case, fitting: list[Model], allowed: Sequence[Model], threshold: float, *, is_wish: bool
) -> list[Model]:
    """Take the cheap models out, unless nothing else takes the request, or somebody decided otherwise."""
    care = case.stakes.care_probability
    held = [model for model in fitting if model.tier != "cheap"]
    if len(held) == len(fitting):
        return fitting
    if is_wish or not case.policy.enforce_risk_bound:
        case.notes.append(on_bound(care, threshold, code="risk_bound_overridden" if is_wish else "risk_bound_off"))
        return fitting
    if not held:
        # Room to grow is worth less than the promise.
        held = [model for model in fitting_models(allowed, case.turn, case.policy, 0)[0] if model.tier != "cheap"]
    if not held:
        case.notes.append(on_bound(care, threshold, code="risk_bound_unmet"))
        return fitting
    case.notes.append(on_bound(care, threshold, code="risk_bound"))
    names = {model.name for model in held}
    left = [model.name for model in fitting if model.tier == "cheap"]
    case.excluded = [exclusion for exclusion in case.excluded if exclusion.model not in names]
    case.excluded += [Exclusion(name, "risk_bound", "which the risk bound leaves out") for name in left]
    return held


def _costs(case: _Case, fitting: Sequence[Model]) -> list[CandidateCost]:
    """Weigh each model at its best effort; least total first."""
    catalog, policy, present, load, loss = case.catalog, case.policy, case.present, case.load, case.stakes.loss_usd
    rates = (catalog.rates @ case.weights).tolist()
    context, cached, here = case.turn.context_tokens, present.cached_tokens, present.model
    # Every candidate is priced as if it held the session's cache; those that do not pay for that as a switch.
    tokens = tokens_of(context, cached, load)
    middle = context + load.growth_tokens / 2
    luck = _luck(case, fitting)
    counted = corrections_of(fitting, present.corrections, catalog) if present.corrections else {}
    costs = []
    for model in fitting:
        name, tier = model.name, model.prices(middle)
        rate = rates[catalog.places[name]]
        if luck:
            rate = min(1.0, rate * luck[name])
        if counted:
            rate = after_corrections(rate, counted[name], policy.correction_trials, policy.prior_trials)
        switch = 0.0 if here is None or name == here else policy.coherence_usd + reread_cost(tier, cached)
        read = cached * tier.cache_read / 1e6
        cost = CandidateCost(name, price(tier, tokens), switch, rate * loss, None, read, rate)
        if model.efforts:
            cost = _at_best_effort(cost, model, load.output_tokens * tier.output / 1e6, loss)
        costs.append(cost)
    costs.sort(key=_total)
    return costs


def _luck(case: _Case, fitting: Sequence[Model]) -> dict[str, float]:
    """Draw by how much each model's rate differs from its mean, where the policy explores (Thompson sampling)."""
    explore = case.policy.explore
    if explore is None or not case.limits.seed or case.stakes.care_probability > explore.max_care_probability:
        return {}
    case.notes.append(Note("explored", "Little is at stake: failure rates were drawn from what is believed of them."))
    likeliest = int(case.weights.reshape(len(CATEGORIES), -1).sum(axis=1).argmax())
    cells = {model.name: model.posterior.categories[likeliest] for model in fitting}
    return {name: cell.draw(f"{case.limits.seed}:{name}") / cell.mean for name, cell in cells.items()}


def _at_best_effort(plain: CandidateCost, model: Model, output_usd: float, loss: float) -> CandidateCost:
    """Return the candidate at its effort of least cost."""
    found = []
    for effort in model.efforts:
        rate = with_odds(min(plain.failure_probability, 1 - 1e-9), effort.failure_odds)
        tokens = plain.tokens + (effort.output - 1) * output_usd
        found.append(plain._replace(tokens=tokens, failure=rate * loss, effort=effort.name, failure_probability=rate))
    return min(found, key=_total)


def _total(cost: CandidateCost) -> float:
    return cost[1] + cost[2] + cost[3]


def _settled(case: _Case, costs: Sequence[CandidateCost]) -> tuple[CandidateCost, Note | None]:
    policy, present = case.policy, case.present
    return settle(
        costs,
        present.model,
        present.situation,
        rank=case.catalog.rank,
        margin=policy.follow_up_margin,
        careful=policy.named("escalate_to", case.catalog),
        escalate_after=policy.escalate_after,
    )


def _choice(case: _Case, costs: Sequence[CandidateCost], chosen: CandidateCost, manner: Note | None) -> Choice:
    model = case.catalog.by_name[chosen.model]
    other = _beside(chosen, costs, case.catalog)
    told = [*((manner,) if manner is not None else ()), *case.notes, *on_translation(model, case.turn)]
    why = "only_candidate" if other is None else "least_cost" if chosen is costs[0] else None
    return Choice(
        model=model.name,
        provider=model.provider,
        fallbacks=tuple(cost.model for cost in costs if cost is not chosen),
        expected_cost=tuple(costs),
        reasons=(
            on_stakes(case.assessment, case.stakes, chosen, other),
            on_failure(chosen, other),
            *sentences(told),
        ),
        sticky=model.name == case.present.model,
        effort=chosen.effort,
        excluded=tuple(case.excluded),
        stakes=case.stakes,
        codes=codes(told) if why is None else (why, *codes(told)),
    )


def _beside(chosen: CandidateCost, costs: Sequence[CandidateCost], catalog: Catalog) -> CandidateCost | None:
    """Return what to compare the chosen model with: the best of another tier, else the next best."""
    rank, next_best = catalog.rank(chosen.model), None
    for cost in costs:
        if cost is not chosen:
            if catalog.rank(cost.model) != rank:
                return cost
            next_best = next_best or cost
    return next_best
