"""Policies side by side on one log: what each would have cost and missed, and which decisions it would have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pointsman.classifier.assessment import Decision
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.policy_file import Policy

from .again import decide_again
from .case import Log
from .ledger import Entry, Ledger, Taken, Totals, sum_up
from .reference import ALL_CHEAP, ALL_PREMIUM, KEYWORDS, all_on, by_keywords

LOGGED: Final = "as logged"
#: The first policy with the labels in place of the probabilities: what a classifier without mistakes would make of it.
LABELS_KNOWN: Final = "labels known"


@dataclass(frozen=True, slots=True)
class Change:
    """One turn that two policies send to different models.

    Attributes
    ----------
    reasons, codes
        Of the second policy's decision; `reasons_before` are the first one's.
    usd, miss_usd : float
        What the second costs more in tokens, and in expected misses.
    """

    id: str
    day: str
    session: str
    category: str
    risk: str
    care: float
    model_before: str
    model: str
    reasons_before: tuple[str, ...]
    reasons: tuple[str, ...]
    codes: tuple[str, ...]
    usd: float
    miss_usd: float


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    totals: Totals
    version: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    rows : tuple of Row
        Policies in the order given, then the references, then what the log says was done.
    changes : mapping of str to tuple of Change
        Per policy, against the first one.
    left_out : mapping of str to str
        References that could not be priced, and why.
    """

    log: Log
    catalog: Catalog
    yardstick: Policy
    rows: tuple[Row, ...]
    changes: Mapping[str, tuple[Change, ...]]
    left_out: Mapping[str, str]

    def row(self, name: str) -> Row:
        """Return the line of this name."""
        return next(row for row in self.rows if row.name == name)


def compare(log: Log, catalog: Catalog, policies: Sequence[Policy]) -> Comparison:
    """Decide a log under several policies, and price all of them by the first one's losses and loads.

    Parameters
    ----------
    log : Log
        At least one of its cases begins a turn.
    catalog : Catalog
        Prices, windows and failure rates.
    policies : sequence of Policy
        The present one first.

    Raises
    ------
    ConfigError
        A policy names a model or role the catalogue lacks.
    """
    base = policies[0]
    ledger = Ledger(log.cases, catalog, base)
    rows: list[Row] = []
    changes: dict[str, tuple[Change, ...]] = {}
    first: tuple[list[Decision], list[Entry]] | None = None
    for name, policy in zip(_names(policies), policies, strict=True):
        decisions = decide_again(log.cases, catalog, policy)
        entries = ledger.entries(map(Taken.of, decisions))
        rows.append(Row(name, sum_up(entries), policy.version))
        if first is None:
            first = decisions, entries
        else:
            changes[name] = _changes(log, first, (decisions, entries))
    left_out: dict[str, str] = {}
    for name, taken in _references(log, catalog, base, left_out).items():
        rows.append(Row(name, sum_up(ledger.entries(taken))))
    return Comparison(log, catalog, base, tuple(rows), changes, left_out)


def compare_catalogs(log: Log, present: Catalog, draft: Catalog, policy: Policy) -> Comparison:
    """Decide a log by two catalogues under one policy, and price each by its own list prices.

    Parameters
    ----------
    log : Log
        At least one of its cases begins a turn.
    present, draft : Catalog
        Prices, windows and failure rates; the references are priced by the draft.
    policy : Policy
        Decides, and gives losses and loads.

    Raises
    ------
    ConfigError
        The policy names a model or role a catalogue lacks.
    """
    rows: list[Row] = []
    decided: list[tuple[list[Decision], list[Entry]]] = []
    for name, catalog in (("present", present), ("draft", draft)):
        decisions = decide_again(log.cases, catalog, policy)
        entries = Ledger(log.cases, catalog, policy).entries(map(Taken.of, decisions))
        rows.append(Row(name, sum_up(entries), catalog.version))
        decided.append((decisions, entries))
    ledger = Ledger(log.cases, draft, policy)
    for name, role in ((ALL_PREMIUM, "careful"), (ALL_CHEAP, "cheap")):
        rows.append(Row(name, sum_up(ledger.entries(all_on(role, log.cases, draft, policy)))))
    return Comparison(log, draft, policy, tuple(rows), {"draft": _changes(log, *decided)}, {})


def _references(log: Log, catalog: Catalog, policy: Policy, left_out: dict[str, str]) -> dict[str, list[Taken]]:
    found = {
        ALL_PREMIUM: all_on("careful", log.cases, catalog, policy),
        ALL_CHEAP: all_on("cheap", log.cases, catalog, policy),
    }
    by_words = by_keywords(log.cases, catalog, policy)
    if by_words is None:
        left_out[KEYWORDS] = "it needs the text of every turn, and the records hold none"
    else:
        found[KEYWORDS] = by_words
    if log.labelled:
        known = [replace(case, assessment=case.truth, care_threshold=None, promises=()) for case in log.cases]
        found[LABELS_KNOWN] = [Taken.of(decision) for decision in decide_again(known, catalog, policy)]
    logged = as_logged(log, catalog)
    if logged is not None:
        found[LOGGED] = logged
    elif any(case.taken for case in log.cases):
        left_out[LOGGED] = "some models it names are not in the catalogue"
    return found


def as_logged(log: Log, catalog: Catalog) -> list[Taken] | None:
    """Return what the log says was taken; None where it says nothing, or names models the catalogue lacks."""
    taken = [Taken(case.taken, case.effort) for case in log.cases if case.taken and case.taken in catalog.by_name]
    return taken if taken and len(taken) == len(log.cases) else None


def _names(policies: Sequence[Policy]) -> list[str]:
    """Name policies by their files; those of one name by their paths."""
    names = [policy.name for policy in policies]
    return [name if names.count(name) == 1 else policy.path for name, policy in zip(names, policies, strict=True)]


def _changes(
    log: Log, before: tuple[list[Decision], list[Entry]], after: tuple[list[Decision], list[Entry]]
) -> tuple[Change, ...]:
    then = {case.id: decision for case, decision in zip(log.cases, before[0], strict=True)}
    now = {case.id: decision for case, decision in zip(log.cases, after[0], strict=True)}
    return tuple(
        _change(old, then[old.case.id], new, now[new.case.id])
        for old, new in zip(before[1], after[1], strict=True)
        if old.model != new.model
    )


def _change(old: Entry, then: Decision, new: Entry, now: Decision) -> Change:
    case, truth = new.case, new.case.truth
    return Change(
        id=case.id,
        day=case.day,
        session=case.turn.session_id or "",
        category=truth.category.label if truth else "",
        risk=truth.risk.label if truth else "",
        care=new.care,
        model_before=old.model,
        model=new.model,
        reasons_before=then.reasons,
        reasons=now.reasons,
        codes=now.codes,
        usd=new.usd - old.usd,
        miss_usd=new.miss_usd - old.miss_usd,
    )


def comparison_answer(comparison: Comparison, *, n_changes: int | None = None) -> dict[str, Any]:
    """Return a comparison as JSON values, with the first changes of each policy, or all of them."""
    return {
        "log": comparison.log.about,
        "labelled": comparison.log.labelled,
        "catalog": comparison.catalog.version,
        "yardstick": comparison.yardstick.version,
        "rows": [{"name": row.name, "version": row.version, **totals_answer(row.totals)} for row in comparison.rows],
        "changes": {
            name: {
                "n": len(changes),
                "turns": [_change_answer(change) for change in changes[:n_changes]],
            }
            for name, changes in comparison.changes.items()
        },
        "left_out": dict(comparison.left_out),
        "assumptions": list(assumptions_of(comparison.log)),
    }


def totals_answer(totals: Totals) -> dict[str, Any]:
    """Return totals as JSON values."""
    return {
        "n_turns": totals.n_turns,
        "spend_usd": totals.spend_usd,
        "miss_usd": totals.miss_usd,
        "total_usd": totals.total_usd,
        "premium_share": totals.premium_share,
        "cheap_share": totals.cheap_share,
        "needs_care": totals.needs_care,
        "care_missed": totals.care_missed,
        "care_missed_interval": list(totals.care_missed_interval()),
        "high_risk": totals.high_risk,
        "high_missed": totals.high_missed,
        "high_missed_interval": list(totals.high_missed_interval()),
        "switches": totals.switches,
    }


def _change_answer(change: Change) -> dict[str, Any]:
    return {name: getattr(change, name) for name in Change.__slots__}


#: What every figure here rests on, whatever the log.
ASSUMPTIONS = (
    "Prices are the catalogue's list prices.",
    "A turn costs what the yardstick policy expects it to send and receive, or what the log shows. The output of a "
    "turn's last request is in no log: it is taken to be that of the others, and without others what is expected.",
    "A session that stays on its model reads its context from the prompt cache, as long as the provider keeps it; one "
    "that switches writes it afresh.",
    "A miss costs what the yardstick says, as often as the catalogue says the model fails on such turns: an estimate, "
    "and no bill.",
)


def assumptions_of(log: Log) -> tuple[str, ...]:
    """Return what the figures of a log rest on."""
    counted = () if log.labelled else ("Turns needing care are expected numbers: sums of the stored probabilities.",)
    return (*ASSUMPTIONS, *counted, *log.assumptions)


def comparison_text(comparison: Comparison, *, n_changes: int) -> str:
    """Lay a comparison out for people."""
    log = comparison.log
    lines = [f"{log.about}; catalogue {comparison.catalog.version}, priced by {comparison.yardstick.version}", ""]
    lines += table(comparison.rows, labelled=log.labelled)
    lines += [f"{name} is left out: {why}." for name, why in comparison.left_out.items()]
    base = comparison.rows[0].name
    for name, changes in comparison.changes.items():
        lines += ["", f"{name} changes {len(changes)} of {comparison.rows[0].totals.n_turns} turns against {base}"]
        # Where most hangs on it first.
        for change in sorted(changes, key=lambda change: -abs(change.miss_usd))[:n_changes]:
            lines += _change_lines(change)
        if len(changes) > n_changes:
            lines.append(f"  … {len(changes) - n_changes} more (--changes N, or --json for all)")
    lines += ["", "Assumptions:", *(f"- {assumption}" for assumption in assumptions_of(log))]
    return "\n".join(lines)


def table(rows: Sequence[Row], *, labelled: bool) -> list[str]:
    """Lay rows out as a table; shares of the first `all-premium` row where there is one."""
    premium = next((row.totals.spend_usd for row in rows if row.name == ALL_PREMIUM), 0.0)
    width = max(18, *(len(row.name) + 2 for row in rows))
    head = f"{'':<{width}}{'turns':>7}{'tokens USD':>12}{'of premium':>12}{'premium':>9}"
    lines = [
        head + f"{'care sent cheap':>20}{'high risk sent cheap':>24}{'switches':>10}{'misses USD':>12}{'total USD':>11}"
    ]
    for row in rows:
        totals = row.totals
        share = f"{totals.spend_usd / premium:.1%}" if premium else "-"
        care = _missed(totals.care_missed, totals.needs_care, labelled)
        high = _missed(totals.high_missed, totals.high_risk, labelled)
        lines.append(
            f"{row.name:<{width}}{totals.n_turns:>7}{totals.spend_usd:>12.2f}{share:>12}{totals.premium_share:>9.1%}"
            f"{care:>20}{high:>24}{totals.switches:>10}{totals.miss_usd:>12.2f}{totals.total_usd:>11.2f}"
        )
    return lines


def _missed(missed: float, among: float, labelled: bool) -> str:
    counts = f"{missed:.0f} of {among:.0f}" if labelled else f"{missed:.1f} of {among:.1f}"
    return f"{counts} ({missed / among:.1%})" if among else counts


def _change_lines(change: Change) -> list[str]:
    care = "needs care" if change.care == 1 else f"care {change.care:.2f}"
    where = " ".join(part for part in (change.day, change.id, change.category, change.risk) if part)
    return [
        f"  {where}, {care}: {change.model_before} -> {change.model} ({change.usd:+.4f} USD)",
        *(f"      {reason}" for reason in change.reasons),
    ]
