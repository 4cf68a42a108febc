"""What to hold a policy against: one tier for everything, and the word list that gateways are often given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from pointsman.classifier.assessment import Kind
from pointsman.classifier.catalog import Catalog, Model
from pointsman.classifier.eligibility import fitting_models
from pointsman.classifier.policy_file import Policy

from .case import Case
from .ledger import Taken

ALL_PREMIUM: Final = "all-premium"
ALL_CHEAP: Final = "all-cheap"
KEYWORDS: Final = "keyword baseline"

#: Words that would make a person who writes rules by hand ask for the careful model: the commonest ones for what
#: `data/labels.md` calls security, migration, debugging and production work. Fixed before anything was measured.
ALARMING: Final = (
    *("security", "secure", "vulnerab", "auth", "login", "password", "token", "secret", "credential", "encrypt"),
    *("permission", "migrat", "upgrade", "production", "prod", "deploy", "live", "outage", "incident", "rollback"),
    *("database", "schema", "payment", "billing", "refund", "invoice", "delete", "debug", "bug", "crash", "error"),
    *("exception", "traceback", "broken", "fail", "race condition", "deadlock", "concurren", "memory leak"),
    *("refactor", "architecture", "critical"),
)
_ALARM: Final = re.compile("|".join(rf"\b{re.escape(word)}" for word in ALARMING), re.IGNORECASE)


def sounds_alarming(prompt: str) -> bool:
    """Say whether a prompt holds a word, or the beginning of one, that the keyword baseline looks for."""
    return _ALARM.search(prompt) is not None


def all_on(role: str, cases: Iterable[Case], catalog: Catalog, policy: Policy) -> list[Taken]:
    """Send every turn to a role's first model that takes it; to the other role where none does.

    Parameters
    ----------
    role : str
        `careful` or `cheap`.
    cases : iterable of Case
        Allow-lists and rules are not kept: this is what a bare configuration would do.
    catalog, policy
        Models in the order of the role; the policy says how much room an answer is kept.
    """
    return _each(cases, catalog, policy, lambda _: role)


def by_keywords(cases: Sequence[Case], catalog: Catalog, policy: Policy) -> list[Taken] | None:
    """Send turns with an alarming word to the careful model, the rest to the cheap one.

    Returns
    -------
    list of Taken or None
        None where a turn's text is not there to be read.
    """
    if any(not case.turn.prompt for case in cases if case.begins):
        return None
    alarmed: dict[str, bool] = {}

    def role(case: Case) -> str:
        # The requests of a tool loop follow the turn that began it.
        key = case.turn.key or case.id
        if case.begins or key not in alarmed:
            alarmed[key] = sounds_alarming(case.turn.prompt)
        return "careful" if alarmed[key] else "cheap"

    return _each(cases, catalog, policy, role)


def _each(cases: Iterable[Case], catalog: Catalog, policy: Policy, role: Callable[[Case], str]) -> list[Taken]:
    models = {name: [catalog.by_name[model] for model in catalog.roles[name]] for name in ("careful", "cheap")}
    # The best liked first, whatever they cost: the other role only stands in.
    orders = {"careful": models["careful"] + models["cheap"], "cheap": models["cheap"] + models["careful"]}
    background = [catalog.by_name[name] for name in catalog.roles["background"]]
    return [
        _first(case, background if case.turn.kind is Kind.BACKGROUND else orders[role(case)], policy) for case in cases
    ]


def _first(case: Case, models: list[Model], policy: Policy) -> Taken:
    fitting, _ = fitting_models(models, case.turn, policy, 0)
    return Taken((fitting or models)[0].name)
