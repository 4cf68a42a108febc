"""One request to decide, with everything that narrows it: which policy, which limits, under which key."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING

from .assessment import Decision, Turn
from .catalog import Catalog
from .identity import hash_parts
from .limits import Caller, Limits, wishes_in
from .policy_file import Policy, policy_names
from .reasons import Note
from .risk_bound import Promises

if TYPE_CHECKING:
    from .router import Assessor


@dataclass(frozen=True, slots=True)
class Rules:
    """A catalogue and a policy that fit each other, and the presets a caller may name instead.

    A preset brings its own losses and manners and its own `max_missed`; rules, pinned paths and budgets stay the
    policy's, whichever preset is named. Replaced as a whole: a decision under way keeps to the ones it began with.
    """

    catalog: Catalog
    policy: Policy
    presets: Mapping[str, Policy]

    @classmethod
    def of(cls, catalog: Catalog, policy: Policy) -> Rules:
        """Check the policy, and those presets that can be used, against the catalogue.

        Raises
        ------
        ConfigError
            The policy names a model or role the catalogue lacks.
        """
        policy.check(catalog)
        presets = {name: _under(policy, preset) for name, preset in shipped_presets().items()}
        for preset in presets.values():
            preset.check(catalog)
        return cls(catalog, policy, presets | {policy.name: policy})


def _under(policy: Policy, preset: Policy) -> Policy:
    """Return a preset that keeps to what the policy in use says of callers, paths and budgets."""
    own = replace(preset, rules=policy.rules, paths=policy.paths, spent_budget_weight=policy.spent_budget_weight)
    return preset if own == preset else replace(own, version=f"{preset.name}:{own.digest()}")


@cache
def shipped_presets() -> dict[str, Policy]:
    """Return the presets of the package by name; read once."""
    return {name: Policy.load(name) for name in policy_names()}


@dataclass(frozen=True, slots=True)
class Asking:
    """What comes with a request, beside the request.

    Attributes
    ----------
    models : collection of str or None
        Only these may be taken.
    policy : str, Policy or None
        A preset's name, or a policy that fits the catalogue, in place of the router's own.
    caller : Caller
        Who asks, and what the person asks for.
    """

    models: Collection[str] | None = None
    policy: str | Policy | None = None
    caller: Caller = field(default_factory=Caller)


@dataclass(frozen=True, slots=True)
class Question:
    """One request to decide, under its limits.

    `key` is the request's and the limits': the same request under other limits is another question. `champion` is what
    assessed turns when it was asked, `challenger` what assesses this one in its place, where it is one to try.
    """

    turn: Turn
    key: str
    catalog: Catalog
    policy: Policy
    limits: Limits
    notes: tuple[Note, ...]
    started: float
    latency_ms: dict[str, float] = field(default_factory=dict)
    champion: Assessor | None = None
    challenger: Assessor | None = None

    def is_asked_like(self, decision: Decision) -> bool:
        """Say whether a decision was made under the same policy, wish and rules."""
        own, its = self.limits, decision.limits
        return decision.policy_version == self.policy.version and (
            (own.wanted, own.models, own.denied, own.residency) == (its.wanted, its.models, its.denied, its.residency)
        )


def make_question(
    turn: Turn,
    asking: Asking,
    rules: Rules,
    *,
    promises: Promises = (),
    spent: Mapping[str, float] | None = None,
    started: float | None = None,
    assessors: tuple[Assessor | None, Assessor | None] = (None, None),
) -> Question:
    """Find the policy and the limits that hold for one request.

    Parameters
    ----------
    turn : Turn
        Its prompt may name a model or a policy.
    asking : Asking
        What came with it.
    rules : Rules
        In use now.
    promises : tuple of (float, float), optional
        The bundle's, of which the policy keeps to one.
    spent : mapping of str to float, optional
        USD spent this month, per rule of the policy that has a budget.
    started : float, optional
        When reading began, on the clock of `perf_counter`.
    assessors : tuple of Assessor or None, optional
        Champion and challenger, as in the question.
    """
    notes: list[Note] = []
    wishes = _wishes(turn, asking.caller, rules.policy, notes)
    policy = _policy(asking.policy, wishes, rules, notes)
    limits = policy.limits(turn, asking.caller, rules.catalog, models=asking.models, spent=spent)
    wanted, wanted_by = _model(wishes, rules.catalog, notes)
    key = turn.request_key
    # Callers under different rules may send the same words.
    ruled = [rule.name for rule in policy.rules_for(asking.caller)]
    if key and (ruled or limits.models is not None or wanted or policy is not rules.policy):
        version = "" if policy is rules.policy else policy.version
        key = hash_parts(key, version, wanted, limits.models is None, *sorted(limits.models or ()), "|", *ruled)
    if wanted or promises or policy.explore is not None:
        seed = (key or uuid.uuid4().hex) if policy.explore is not None else ""
        if wanted or seed:
            limits = replace(limits, wanted=wanted, wanted_by=wanted_by, seed=seed)
        limits = limits.keeping(promises, policy.max_missed)
    began = perf_counter() if started is None else started
    champion, challenger = assessors
    return Question(
        turn, key, rules.catalog, policy, limits, tuple(notes), began, champion=champion, challenger=challenger
    )


#: Per kind (`model`, `policy`): the name, and where it was found.
_Wishes = dict[str, tuple[str, str]]


def _wishes(turn: Turn, caller: Caller, policy: Policy, notes: list[Note]) -> _Wishes:
    """Return what the person names; the header stands before the prompt."""
    found = {kind: (name, "prompt") for kind, name in wishes_in(turn.prompt).items()}
    if caller.model is not None:
        found["model"] = (caller.model, "header")
    if caller.policy is not None:
        found["policy"] = (caller.policy, "header")
    if found and not policy.user_override:
        notes.append(Note("override_off", "The policy lets nobody name a model or a policy."))
        return {}
    return found


def _policy(asked: str | Policy | None, wishes: _Wishes, rules: Rules, notes: list[Note]) -> Policy:
    if "policy" in wishes:
        # Names come from clients: presets only, never a path.
        name, place = wishes["policy"]
        if name in rules.presets:
            notes.append(Note("explicit_policy", f"Asked for in the {place}: policy {name}."))
            return rules.presets[name]
        notes.append(_UNKNOWN_POLICY)
    if isinstance(asked, Policy):
        asked.check(rules.catalog)
        return asked
    if asked is None:
        return rules.policy
    if asked not in rules.presets:
        notes.append(_UNKNOWN_POLICY)
        return rules.policy
    notes.append(Note("explicit_policy"))
    return rules.presets[asked]


_UNKNOWN_POLICY = Note("explicit_policy_unknown", "The named policy is no preset of this service and was ignored.")


def _model(wishes: _Wishes, catalog: Catalog, notes: list[Note]) -> tuple[str | None, str | None]:
    if "model" not in wishes:
        return None, None
    name, place = wishes["model"]
    if name in catalog.by_name or name in catalog.roles:
        return name, place
    # Not by name: reasons hold nothing that a client wrote.
    text = f"The model named in the {place} is neither a model nor a role of the catalogue and was ignored."
    notes.append(Note("explicit_model_unknown", text))
    return None, None
