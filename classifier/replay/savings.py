"""What a log's turns cost on the models that took them, against one tier for everything: by day and category.

Estimates, all on one yardstick; what feedback reports of real bills stands beside the estimate of the same turns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import InputError
from pointsman.classifier.policy_file import Policy

from .case import Case, Log
from .comparison import assumptions_of
from .ledger import Entry, Ledger, Taken
from .reference import all_on


@dataclass(slots=True)
class Spent:
    """Turns summed: what they cost, and what they would have cost on one tier.

    Attributes
    ----------
    spent_usd, premium_usd, cheap_usd : float
        Tokens as decided, on the careful model, and on the cheap one.
    miss_usd, premium_miss_usd, cheap_miss_usd : float
        Expected misses, priced by the policy's losses.
    n_premium : int
        Turns that a careful model took.
    """

    n_turns: int = 0
    n_premium: int = 0
    spent_usd: float = 0.0
    premium_usd: float = 0.0
    cheap_usd: float = 0.0
    miss_usd: float = 0.0
    premium_miss_usd: float = 0.0
    cheap_miss_usd: float = 0.0

    @property
    def saved_usd(self) -> float:
        """Tokens that all-premium would have cost more."""
        return self.premium_usd - self.spent_usd

    @property
    def added_miss_usd(self) -> float:
        """Expected misses beyond those of all-premium."""
        return self.miss_usd - self.premium_miss_usd

    def add(self, taken: Entry, premium: Entry, cheap: Entry) -> None:
        """Count one turn."""
        self.n_turns += 1
        self.n_premium += taken.rank == 2
        self.spent_usd += taken.usd
        self.premium_usd += premium.usd
        self.cheap_usd += cheap.usd
        self.miss_usd += taken.miss_usd
        self.premium_miss_usd += premium.miss_usd
        self.cheap_miss_usd += cheap.miss_usd


@dataclass(frozen=True, slots=True)
class Reported:
    """Turns whose real cost came with feedback, and what is estimated for the same turns."""

    n_turns: int = 0
    usd: float = 0.0
    estimated_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Savings:
    """What `savings_of` found; days and categories in order, the largest category first.

    `n_left_out` counts turns of sessions that used models the catalogue lacks.
    """

    log: Log
    catalog: Catalog
    policy: Policy
    total: Spent
    by_day: Mapping[str, Spent]
    by_category: Mapping[str, Spent]
    reported: Reported
    n_left_out: int = 0
    notes: tuple[str, ...] = field(default=())


def savings_of(log: Log, catalog: Catalog, policy: Policy, *, notes: tuple[str, ...] = ()) -> Savings:
    """Price a log as it was decided, all on careful models, and all on cheap ones.

    Parameters
    ----------
    log : Log
        Of records: every case says what it took.
    catalog : Catalog
        Prices and failure rates.
    policy : Policy
        Its loads say what turns send and receive where the log does not, its losses price misses.
    notes : tuple of str, optional
        What else a reader has to know.

    Raises
    ------
    InputError
        The turns were never decided: they are labelled ones.
    """
    if any(case.taken is None for case in log.cases):
        raise InputError(f"{log.about}: nobody decided these turns, so nothing was spent. Use `pointsman replay`.")
    unknown = {_session(case) for case in log.cases if case.taken not in catalog.by_name}
    known = replace(log, cases=tuple(case for case in log.cases if _session(case) not in unknown))
    ledger = Ledger(known.cases, catalog, policy)
    taken = ledger.entries([Taken(str(case.taken), case.effort) for case in known.cases])
    premium = ledger.entries(all_on("careful", known.cases, catalog, policy))
    cheap = ledger.entries(all_on("cheap", known.cases, catalog, policy))
    rows = list(zip(taken, premium, cheap, strict=True))
    by_category = _grouped(rows, lambda entry: entry.case.truth.category.label if entry.case.truth else "")
    return Savings(
        log=log,
        catalog=catalog,
        policy=policy,
        total=_grouped(rows, lambda _: "").get("", Spent()),
        by_day=dict(sorted(_grouped(rows, lambda entry: entry.case.day).items())),
        by_category=dict(sorted(by_category.items(), key=lambda item: (-item[1].premium_usd, item[0]))),
        reported=_reported(taken),
        n_left_out=len(log.turns) - len(known.turns),
        notes=notes,
    )


def _session(case: Case) -> str:
    return case.turn.next_state_key or case.id


def _grouped(rows: Iterable[tuple[Entry, Entry, Entry]], key: Callable[[Entry], str]) -> dict[str, Spent]:
    sums: dict[str, Spent] = defaultdict(Spent)
    for row in rows:
        sums[key(row[0])].add(*row)
    return dict(sums)


def _reported(entries: Iterable[Entry]) -> Reported:
    billed = [entry for entry in entries if entry.case.reported_usd is not None]
    return Reported(len(billed), sum(entry.case.reported_usd or 0.0 for entry in billed), sum(e.usd for e in billed))


def savings_answer(savings: Savings) -> dict[str, Any]:
    """Return savings as JSON values."""
    return {
        "log": savings.log.about,
        "catalog": savings.catalog.version,
        "policy": savings.policy.version,
        "total": _spent_answer(savings.total),
        "by_day": {day: _spent_answer(spent) for day, spent in savings.by_day.items()},
        "by_category": {category: _spent_answer(spent) for category, spent in savings.by_category.items()},
        "reported": asdict(savings.reported),
        "n_left_out": savings.n_left_out,
        "assumptions": [*savings.notes, *assumptions_of(savings.log)],
    }


def _spent_answer(spent: Spent) -> dict[str, Any]:
    return {**asdict(spent), "saved_usd": spent.saved_usd, "added_miss_usd": spent.added_miss_usd}


def savings_text(savings: Savings) -> str:
    """Lay savings out for people."""
    total = savings.total
    share = total.saved_usd / total.premium_usd if total.premium_usd else 0.0
    lines = [
        f"{savings.log.about}; catalogue {savings.catalog.version}, policy {savings.policy.version}",
        "",
        f"{total.saved_usd:.2f} USD ({share:.1%}) less spent on tokens than with the careful model for everything; "
        f"expected misses cost {total.added_miss_usd:+.2f} USD beside it.",
        "",
        _head("day"),
        *(_line(day, spent) for day, spent in savings.by_day.items()),
        _line("in all", total),
        "",
        _head("category"),
        *(_line(category, spent) for category, spent in savings.by_category.items()),
        "",
    ]
    if savings.reported.n_turns:
        billed = savings.reported
        lines.append(
            f"Feedback reports {billed.usd:.2f} USD for {billed.n_turns} turns, estimated here at "
            f"{billed.estimated_usd:.2f} USD."
        )
    if savings.n_left_out:
        lines.append(f"{savings.n_left_out} turns are left out: their sessions used models the catalogue lacks.")
    return "\n".join(
        [*lines, "Assumptions:", *(f"- {text}" for text in (*savings.notes, *assumptions_of(savings.log)))]
    )


def _head(name: str) -> str:
    columns = f"{'turns':>7}{'premium':>9}{'spent USD':>12}{'all-premium':>13}{'all-cheap':>12}{'saved':>11}"
    return f"{name:<16}{columns}{'misses USD':>12}{'all-premium':>13}{'all-cheap':>12}"


def _line(name: str, spent: Spent) -> str:
    share = spent.n_premium / spent.n_turns if spent.n_turns else 0.0
    return (
        f"{name:<16}{spent.n_turns:>7}{share:>9.1%}{spent.spent_usd:>12.2f}{spent.premium_usd:>13.2f}"
        f"{spent.cheap_usd:>12.2f}{spent.saved_usd:>11.2f}{spent.miss_usd:>12.2f}{spent.premium_miss_usd:>13.2f}"
        f"{spent.cheap_miss_usd:>12.2f}"
    )
