"""What a policy says of projects, teams and keys, and of paths: the parts that narrow a choice before it is weighed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .config_file import Section
from .labels import RISKS
from .limits import Caller, matches

RULE: Final = ("for", "allow", "deny", "residency", "monthly_budget_usd", "soft_from")
CALLERS: Final = ("project", "team", "key_id")
PATH: Final = ("match", "risk")


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for some callers; all rules that name a caller hold together.

    Attributes
    ----------
    callers : tuple of (str, tuple of str)
        `project`, `team` or `key_id`, and the names it may have; empty for everyone.
    allow : tuple of str or None
        Models or roles; None is every candidate.
    deny : tuple of str
        Models or roles.
    residency : tuple of str or None
        Places outside of which no model may process data.
    monthly_budget_usd : float or None
        Of a calendar month in UTC.
    soft_from : float
        Share of the budget from which money begins to count for more.
    """

    callers: tuple[tuple[str, tuple[str, ...]], ...]
    allow: tuple[str, ...] | None
    deny: tuple[str, ...]
    residency: tuple[str, ...] | None
    monthly_budget_usd: float | None
    soft_from: float

    @property
    def name(self) -> str:
        """Name the rule by its callers: `team=payments`, or `everyone`."""
        return " ".join(f"{field}={'|'.join(names)}" for field, names in self.callers) or "everyone"

    def holds_for(self, caller: Caller) -> bool:
        return all(getattr(caller, field) in names for field, names in self.callers)


@dataclass(frozen=True, slots=True)
class PinnedPath:
    """A path that raises the risk of every turn that mentions it to at least this label's place."""

    pattern: str
    risk: int


@dataclass(frozen=True, slots=True)
class Explore:
    """Thompson sampling: where little is at stake, failure rates are drawn from their posteriors, not averaged."""

    max_care_probability: float


def pinned(paths: tuple[PinnedPath, ...], mentioned: set[str]) -> tuple[str, ...]:
    """Return the patterns that one of these paths matches, in the policy's order."""
    return tuple(pin.pattern for pin in paths if any(matches(pin.pattern, path) for path in mentioned))


def read_rules(top: Section) -> tuple[Rule, ...]:
    """Read `rules`, a list; none when the field is missing."""
    return tuple(_rule(section) for section in top.sections("rules")) if "rules" in top else ()


def read_paths(top: Section) -> tuple[PinnedPath, ...]:
    """Read `paths`, a list of patterns with the risk they carry."""
    if "paths" not in top:
        return ()
    found = []
    for section in top.sections("paths"):
        section.allow(PATH)
        risk = RISKS.index(section.text("risk", among=RISKS))
        found += [PinnedPath(pattern, risk) for pattern in section.texts("match")]
    return tuple(found)


def read_explore(top: Section) -> Explore | None:
    """Read `explore`; nobody explores without it."""
    if "explore" not in top:
        return None
    section = top.section("explore")
    section.allow(("max_care_probability",))
    return Explore(section.number("max_care_probability", most=1.0))


def tightest(rules: tuple[Rule, ...], spent: Mapping[str, float]) -> tuple[float, float] | None:
    """Return the spent share of the budget that is furthest into its landing, and where that begins; None without.

    Of budgets equally far, before their landing or past their end, the one with the largest share.
    """
    shares = [
        (spent.get(rule.name, 0.0) / rule.monthly_budget_usd, rule.soft_from)
        for rule in rules
        if rule.monthly_budget_usd
    ]
    return max(shares, key=lambda share: (landed(*share), share), default=None)


def landed(spent_share: float, soft_from: float) -> float:
    """Return how far into its landing a budget is: 0 until it begins, 1 at the budget's end."""
    return min(1.0, max(0.0, (spent_share - soft_from) / (1 - soft_from)))


def _rule(section: Section) -> Rule:
    section.allow(RULE)
    callers: list[tuple[str, tuple[str, ...]]] = []
    if "for" in section:
        named = section.section("for")
        named.allow(CALLERS)
        callers = [(field, named.texts(field)) for field in CALLERS if field in named]
    return Rule(
        callers=tuple(callers),
        allow=section.texts("allow") if "allow" in section else None,
        deny=section.texts("deny") if "deny" in section else (),
        residency=tuple(sorted(section.texts("residency"))) if "residency" in section else None,
        # Not 0: to forbid spending is `deny`'s work, and a share of nothing is no number.
        monthly_budget_usd=section.number("monthly_budget_usd", least=0.01)
        if "monthly_budget_usd" in section
        else None,
        soft_from=section.number("soft_from", most=0.99) if "soft_from" in section else 0.8,
    )
