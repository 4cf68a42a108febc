"""The rule that takes a model: least expected cost among those that fit, tempered by the session's manners.

    E[cost(m)] = tokens(m) + switch(m) + sum over c, r of P(c) P(r) P(fail | m, c) loss(r)

Category and risk are taken as independent given the turn, so the sum is a product of two. Everything here is a pure
function of its arguments: a logged decision can be made again under another policy, without the model or a clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import mul
from typing import Final

from .assessment import Assessment, CandidateCost, Kind, Turn
from .catalog import HARD, Catalog, Model
from .costs import Load, after_corrections, reread_cost, turn_cost
from .labels import CATEGORIES
from .policy_file import Policy, policy_names
from .session import SessionState, Stage

__all__ = ["HARD", "Choice", "Policy", "choose", "choose_background", "choose_default", "keep", "policy_names"]

_ANYTHING: Final = (1 / len(CATEGORIES),) * len(CATEGORIES)


@dataclass(frozen=True, slots=True)
class Choice:
    """What the policy says: a model, those that could stand in for it, and why.

    Attributes
    ----------
    expected_cost : tuple of CandidateCost
        Cheapest total first; empty when nothing was weighed.
    sticky : bool
        The session had this model already.
    """

    model: str
    provider: str
    fallbacks: tuple[str, ...]
    expected_cost: tuple[CandidateCost, ...]
    reasons: tuple[str, ...]
    sticky: bool


@dataclass(frozen=True, slots=True)
class _Stakes:
    """What hangs on a turn: the weighed assessment."""

    categories: Sequence[float]
    loss_usd: float
    load: Load


@dataclass(frozen=True, slots=True)
class _Present:
    """What the session brings along; `assessment` is that of the task a turn goes on with."""

    model: str | None = None
    stage: Stage = "new"
    cached_tokens: int = 0
    corrections: Mapping[str, float] = field(default_factory=dict)
    is_escalated: bool = False
    assessment: Assessment | None = None


def choose(
    turn: Turn,
    assessment: Assessment,
    session: SessionState | None,
    catalog: Catalog,
    policy: Policy,
    *,
    models: Collection[str] | None = None,
    parent: SessionState | None = None,
    now: float | None = None,
) -> Choice:
    """Take the model of least expected cost that fits, unless the session's manners say otherwise.

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
        Only these may be taken.
    parent : SessionState, optional
        The session a subagent works for: its model costs coherence to leave, and its corrections count.
    now : float, optional
        Seconds on the clock of `session.updated_at`, to tell whether a prompt cache still lives; without it, it does.

    Returns
    -------
    Choice
        Of a model that fits whenever one does.
    """
    if turn.kind is Kind.BACKGROUND:
        return choose_background(turn, catalog, policy, models=models)
    present = _present(turn, assessment, session, parent, policy)
    stakes = _stakes(assessment, present, policy)
    if session is not None and now is not None and _is_cold(session, catalog, now):
        present = replace(present, cached_tokens=0)
    allowed = _allowed(catalog, models, present.model)
    fitting, left_out = _fitting(allowed, turn, policy, stakes.load.growth_tokens)
    if not fitting:
        # Growth is an expectation and no limit: a window that holds the request now beats none.
        fitting, left_out = _fitting(allowed, turn, policy, 0)
    if not fitting:
        return _last_resort(turn, catalog, policy, models, left_out)
    costs = sorted((_cost(model, turn, stakes, present, policy) for model in fitting), key=_total)
    chosen, manner = _settle(costs, present, catalog, policy)
    model = catalog.by_name[chosen.model]
    fallbacks = tuple(cost.model for cost in costs if cost is not chosen)
    reasons = (*_stake_reasons(assessment, stakes, policy), *_cost_reasons(chosen, costs), *manner)
    reasons = (*reasons, *_translations(model, turn), *left_out)
    return Choice(model.name, model.provider, fallbacks, tuple(costs), reasons, sticky=model.name == present.model)


def keep(
    turn: Turn,
    session: SessionState,
    catalog: Catalog,
    policy: Policy,
    *,
    models: Collection[str] | None = None,
) -> Choice:
    """Stay with the session's model for a further request of its turn; leave it only when the request cannot go there.

    Parameters
    ----------
    turn : Turn
        A tool-loop request, or any other of the turn under way.
    session : SessionState
        Its `model` is set.
    catalog, policy, models
        As for `choose`.
    """
    present = catalog.model(session.model or "")
    fitting, _ = _fitting(_allowed(catalog, models, session.model), turn, policy, 0)
    names = [model.name for model in fitting]
    if present in fitting:
        before = session.decision.fallbacks if session.decision else ()
        fallbacks = tuple(name for name in before if name in names)
        reasons = (f"Same turn as before: {present.name} goes on.", *_translations(present, turn))
        return Choice(present.name, present.provider, fallbacks, (), reasons, sticky=True)
    reason = f"{session.model or 'the model before'} no longer takes this request in the middle of its turn."
    rank = catalog.rank(session.model or "")
    upward = [name for name in names if catalog.rank(name) >= rank]
    if session.assessment is None or not fitting:
        return choose_default(turn, catalog, policy, reason, models=models)
    choice = choose(turn, session.assessment, None, catalog, policy, models=upward or names)
    return replace(choice, reasons=(reason, *choice.reasons))


def choose_background(turn: Turn, catalog: Catalog, policy: Policy, *, models: Collection[str] | None = None) -> Choice:
    """Take the background model for a client's own call; a careful one only when nothing else takes the request.

    Parameters
    ----------
    turn, catalog, policy, models
        As for `choose`.
    """
    named = policy.named("background", catalog)
    fitting, left_out = _fitting(_allowed(catalog, models, *named), turn, policy, 0)
    if not fitting:
        return _last_resort(turn, catalog, policy, models, left_out)
    once = Load.of(1, policy.loads[0].output_tokens / policy.loads[0].requests, 0)

    def place(model: Model) -> tuple[bool, bool, float]:
        price = turn_cost(model.tier(turn.context_tokens), turn.context_tokens, 0, once)
        other = model.name not in named
        return other and catalog.rank(model.name) == 2, other, price

    names = [model.name for model in sorted(fitting, key=place)]
    first = catalog.by_name[names[0]]
    reason = f"Background call ({turn.background or 'of the client'}): the least that takes it."
    translations = _translations(first, turn)
    return Choice(first.name, first.provider, tuple(names[1:]), (), (reason, *translations, *left_out), sticky=False)


def choose_default(
    turn: Turn, catalog: Catalog, policy: Policy, reason: str, *, models: Collection[str] | None = None
) -> Choice:
    """Take the safe default, or the nearest to it that fits: for turns nothing is known about.

    Parameters
    ----------
    turn, catalog, policy, models
        As for `choose`.
    reason : str
        Why nothing was weighed; never user text.
    """
    named = policy.named("default", catalog)
    fitting, left_out = _fitting(_allowed(catalog, models, *named), turn, policy, 0)
    if not fitting:
        return _last_resort(turn, catalog, policy, models, left_out, reason)
    # Stable: among equals the catalogue's own order, best liked first.
    ranked = sorted(fitting, key=lambda model: (model.name not in named, -catalog.rank(model.name)))
    first, *rest = ranked
    fallbacks = tuple(model.name for model in rest)
    return Choice(
        first.name, first.provider, fallbacks, (), (reason, *_translations(first, turn), *left_out), sticky=False
    )


def _stakes(assessment: Assessment, present: _Present, policy: Policy) -> _Stakes:
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
    return _Stakes(categories, loss, Load.expected(policy.loads, assessment.scope.probabilities))


def _mixed(some: Sequence[float], other: Sequence[float], share: float) -> list[float]:
    return [(1 - share) * p + share * q for p, q in zip(some, other, strict=True)]


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
        return _Present(session.model, stage, cached, corrections, pressed, task)
    if parent is not None and parent.model is not None:
        # A subagent's first turn is a task of its own with nothing cached; what its parent learned still holds.
        return _Present(parent.model, "new", 0, parent.corrections, pressed)
    return _Present()


def _is_cold(session: SessionState, catalog: Catalog, now: float) -> bool:
    """Say whether the provider has dropped the session's prompt cache."""
    model = catalog.model(session.model or "")
    return model is None or now - session.updated_at > model.cache_ttl_s


def _allowed(catalog: Catalog, models: Collection[str] | None, *extra: str | None) -> tuple[Model, ...]:
    """Return the models to weigh; without an allow-list also those that the session or the policy names."""
    found = catalog.candidates(models)
    if models is not None:
        return found
    more = [catalog.by_name[name] for name in extra if name is not None and name in catalog.by_name]
    return (*found, *(model for model in more if model not in found))


def _fitting(
    allowed: Sequence[Model], turn: Turn, policy: Policy, growth_tokens: float
) -> tuple[list[Model], tuple[str, ...]]:
    """Split the allowed models into those that fit and one sentence each for the others."""
    fitting, left_out = [], []
    tokens = turn.context_tokens + growth_tokens
    for model in allowed:
        obstacle = model.obstacle(turn.needs, tokens, policy.reserve(turn))
        if obstacle is None:
            fitting.append(model)
        else:
            left_out.append(f"Left out: {model.name}, {obstacle}.")
    return fitting, tuple(left_out)


def _cost(model: Model, turn: Turn, stakes: _Stakes, present: _Present, policy: Policy) -> CandidateCost:
    context, load = turn.context_tokens, stakes.load
    tier = model.tier(context + load.growth_tokens / 2)
    # Every candidate is priced as if it held the session's cache; those that do not pay for that as a switch.
    cached = present.cached_tokens
    switch = 0.0
    if present.model is not None and model.name != present.model:
        switch = policy.coherence_usd + reread_cost(tier, cached)
    rate = sum(map(mul, stakes.categories, model.failure))
    rate = after_corrections(
        rate, present.corrections.get(model.name, 0.0), policy.correction_trials, policy.prior_trials
    )
    return CandidateCost(model.name, turn_cost(tier, context, cached, load), switch, rate * stakes.loss_usd)


def _total(cost: CandidateCost) -> float:
    return cost.tokens + cost.switch + cost.failure


def _settle(
    costs: Sequence[CandidateCost], present: _Present, catalog: Catalog, policy: Policy
) -> tuple[CandidateCost, tuple[str, ...]]:
    """Temper the cheapest by the manners: up at once, down or sideways only where a task begins."""
    escalated = policy.named("escalate_to", catalog) if present.is_escalated else ()
    pool = [cost for cost in costs if cost.model in escalated] or costs
    stay = next((cost for cost in pool if cost.model == present.model), None)
    if pool is not costs:
        return stay or pool[0], (f"Corrected {policy.escalate_after} times in a row: a careful model answers.",)
    if present.model is None:
        return pool[0], ()
    if stay is None:
        upward = [cost for cost in pool if catalog.rank(cost.model) >= catalog.rank(present.model or "")]
        best = pool[0] if present.stage == "new" or not upward else upward[0]
        return best, (f"{present.model}, in use so far, does not take this request.",)
    if present.stage == "new":
        return _at_boundary(pool[0], stay)
    return _inside_task(pool, stay, present, catalog, policy)


def _at_boundary(best: CandidateCost, stay: CandidateCost) -> tuple[CandidateCost, tuple[str, ...]]:
    if _total(best) < _total(stay):
        saved = _usd(_total(stay) - _total(best))
        return best, (f"A new task: leaving {stay.model} saves {saved} USD, the switch included.",)
    return stay, (f"A new task, but leaving {stay.model} would not pay.",)


def _inside_task(
    pool: Sequence[CandidateCost], stay: CandidateCost, present: _Present, catalog: Catalog, policy: Policy
) -> tuple[CandidateCost, tuple[str, ...]]:
    corrected = present.stage == "correct"
    rank = catalog.rank(stay.model)
    up = next((cost for cost in pool if catalog.rank(cost.model) > rank), None)
    margin = 0.0 if corrected else policy.follow_up_margin * _total(stay)
    if up is not None and _total(stay) - _total(up) > margin:
        why = f"the last answer of {stay.model} was called wrong" if corrected else "staying would cost clearly more"
        return up, (f"Up to {up.model}: {why}.",)
    return stay, (f"The task goes on: {stay.model} stays.",)


def _last_resort(
    turn: Turn,
    catalog: Catalog,
    policy: Policy,
    models: Collection[str] | None,
    left_out: tuple[str, ...],
    *reasons: str,
) -> Choice:
    """Take the largest window when no model takes the request: somebody has to answer it, or say why not."""
    allowed = catalog.candidates(models)
    why = "No model takes this request: the safe default, or whichever has the largest window."
    if not allowed:
        allowed, why = catalog.candidates(), "None of the allowed models is in the catalogue: the safe default."
    named = policy.named("default", catalog)

    def place(model: Model) -> tuple[bool, int, bool]:
        return bool((turn.needs & HARD) - model.capabilities), -model.input_max, model.name not in named

    first, *rest = sorted(allowed, key=place)
    fallbacks = tuple(model.name for model in rest)
    return Choice(first.name, first.provider, fallbacks, (), (*reasons, why, *left_out), sticky=False)


def _stake_reasons(assessment: Assessment, stakes: _Stakes, policy: Policy) -> tuple[str, ...]:
    category, risk = assessment.category, assessment.risk
    first = (
        f"{category.label.capitalize()} {category.probability:.2f}, {risk.label} risk {risk.probability:.2f}: "
        f"a miss costs about {_usd(stakes.loss_usd)} USD here."
    )
    if policy.novelty_weight * assessment.novelty < 0.05:
        return (first,)
    return first, f"Unlike the training data (novelty {assessment.novelty:.2f}): less is taken for sure."


def _cost_reasons(chosen: CandidateCost, costs: Sequence[CandidateCost]) -> tuple[str, ...]:
    first = (
        f"{chosen.model} is expected to cost {_usd(_total(chosen))} USD "
        f"(tokens {_usd(chosen.tokens)}, switch {_usd(chosen.switch)}, failure {_usd(chosen.failure)})."
    )
    other = next((cost for cost in costs if cost.model != chosen.model), None)
    return (first,) if other is None else (first, f"Next: {other.model} at {_usd(_total(other))} USD.")


def _translations(model: Model, turn: Turn) -> tuple[str, ...]:
    """Name what a gateway has to rewrite before this model takes the body."""
    soft = sorted((turn.needs - HARD) - model.capabilities)
    reasons: tuple[str, ...] = ()
    if soft:
        reasons = (f"The gateway must drop or rewrite {', '.join(soft)} for {model.name}.",)
    if turn.max_output_tokens is not None and turn.max_output_tokens > model.max_output:
        reasons += (f"The gateway must lower the output limit to {model.max_output} for {model.name}.",)
    return reasons


def _usd(amount: float) -> str:
    return f"{amount:.2f}" if amount >= 0.1 else f"{amount:.4f}"
