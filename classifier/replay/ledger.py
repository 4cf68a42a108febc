"""Prices turns on the models that took them, and counts what went where.

One yardstick for all policies: the same catalogue, the same expected requests and output, the same losses. A turn is
priced by its truth: labels where there are any, else the probabilities it was decided with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pointsman.classifier.assessment import Assessment, Decision, Kind
from pointsman.classifier.catalog import Catalog, Model
from pointsman.classifier.costs import Load, price, reread_cost, tokens_of
from pointsman.classifier.evidence import Beta, with_odds
from pointsman.classifier.labels import RISKS
from pointsman.classifier.policy_file import Policy

from .case import Case

_HIGH: Final = RISKS.index("high")


class Taken(NamedTuple):
    """What took a request."""

    model: str
    effort: str | None = None

    @classmethod
    def of(cls, decision: Decision) -> Taken:
        return cls(decision.model, decision.effort)


class Entry(NamedTuple):
    """One turn on the model that took it.

    Attributes
    ----------
    usd : float
        Tokens of the whole turn with its tool loop; a cache that a switch lost is paid for.
    miss_usd : float
        P(fail) times the yardstick's loss.
    care, high : float
        1 or 0 where labels say so, else the probability, that the turn needs care, or is of high risk.
    rank : int
        Of the model: 2 careful, 1 standard, 0 cheap.
    switched : bool
        Whether the session had another model before.
    """

    case: Case
    model: str
    usd: float
    miss_usd: float
    care: float
    high: float
    rank: int
    switched: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """Entries summed.

    Attributes
    ----------
    spend_usd, miss_usd : float
        As in `Entry`.
    premium_share, cheap_share : float
        Of the turns, on careful and on cheap models.
    needs_care, high_risk : float
        Turns, expected ones where there are no labels.
    care_missed, high_missed : float
        Those of them that went to a cheap model.
    switches : int
        Turns on another model than their session had.
    """

    n_turns: int
    spend_usd: float
    miss_usd: float
    premium_share: float
    cheap_share: float
    needs_care: float
    care_missed: float
    high_risk: float
    high_missed: float
    switches: int

    @property
    def total_usd(self) -> float:
        """Tokens and misses."""
        return self.spend_usd + self.miss_usd

    @property
    def care_missed_share(self) -> float:
        """Of the turns that need care; 0 without any."""
        return self.care_missed / self.needs_care if self.needs_care else 0.0

    @property
    def high_missed_share(self) -> float:
        """Of the high-risk turns; 0 without any."""
        return self.high_missed / self.high_risk if self.high_risk else 0.0

    def care_missed_interval(self) -> tuple[float, float]:
        """Return the central 90 % interval of the share missed (Jeffreys prior, turns taken as independent)."""
        return Beta((self.care_missed + 0.5) / (self.needs_care + 1), self.needs_care + 1).interval()

    def high_missed_interval(self) -> tuple[float, float]:
        """Return the same of high-risk turns."""
        return Beta((self.high_missed + 0.5) / (self.high_risk + 1), self.high_risk + 1).interval()


class _Seat(NamedTuple):
    """What a session's prompt cache holds, and since when."""

    model: str
    context_tokens: int
    at: float


@dataclass(frozen=True, slots=True)
class _Weighed:
    """What a turn's truth says under the yardstick, whichever model takes it."""

    load: Load
    rates: tuple[float, ...]
    loss_usd: float
    care: float
    high: float


class Ledger:
    """Prices one log under any number of policies; what does not depend on the policy is worked out once.

    Parameters
    ----------
    cases : sequence of Case
        In order of time.
    catalog : Catalog
        Prices and failure rates.
    yardstick : Policy
        Its losses price misses, its loads say what turns send and receive.
    """

    def __init__(self, cases: Sequence[Case], catalog: Catalog, yardstick: Policy) -> None:
        self.cases = tuple(cases)
        self.catalog = catalog
        self.yardstick = yardstick
        self._weighed = [self._weigh(case) if case.begins and case.truth is not None else None for case in self.cases]

    def entries(self, taken: Iterable[Taken]) -> list[Entry]:
        """Return one entry per turn; `taken` names a model of the catalogue for every case."""
        seats: dict[str, _Seat] = {}
        entries: list[Entry] = []
        places: dict[str, int] = {}
        for case, weighed, (name, effort) in zip(self.cases, self._weighed, taken, strict=True):
            turn, model = case.turn, self.catalog.by_name[name]
            if turn.kind is Kind.BACKGROUND:
                continue
            before = seats.get(turn.state_key) if turn.state_key else None
            if weighed is not None and case.truth is not None:
                places[turn.key] = len(entries)
                entries.append(self._entry(case, weighed, model, effort, before))
            elif before is not None and before.model != name and turn.key in places:
                # Left in the middle of its turn: the new model reads all of it afresh.
                lost = reread_cost(model.prices(turn.context_tokens), turn.context_tokens)
                entry = entries[places[turn.key]]
                entries[places[turn.key]] = entry._replace(usd=entry.usd + lost, switched=True)
            if turn.next_state_key:
                seats[turn.next_state_key] = _Seat(name, turn.context_tokens, case.at)
        return entries

    def _entry(self, case: Case, weighed: _Weighed, model: Model, effort: str | None, before: _Seat | None) -> Entry:
        context, load = case.turn.context_tokens, weighed.load
        cached = 0
        if before is not None and before.model == model.name and case.at - before.at <= model.cache_ttl_s:
            cached = min(before.context_tokens, context)
        rate = weighed.rates[self.catalog.places[model.name]]
        asked = next((known for known in model.efforts if known.name == effort), None)
        if asked is not None:
            rate = with_odds(min(rate, 1 - 1e-9), asked.failure_odds)
            load = Load(load.requests, load.output_tokens * asked.output, load.growth_tokens, load.regrown_tokens)
        return Entry(
            case=case,
            model=model.name,
            usd=price(model.prices(context + load.growth_tokens / 2), tokens_of(context, cached, load)),
            miss_usd=rate * weighed.loss_usd,
            care=weighed.care,
            high=weighed.high,
            rank=self.catalog.rank(model.name),
            switched=before is not None and before.model != model.name,
        )

    def _weigh(self, case: Case) -> _Weighed:
        truth = case.truth
        assert truth is not None, "asked for turns with a truth only"  # noqa: S101
        weights = cell_weights(truth)
        return _Weighed(
            load=_load(case, expected_load(truth, self.yardstick)),
            rates=tuple((self.catalog.rates @ weights).tolist()),
            loss_usd=self.yardstick.expected_loss(truth),
            care=truth.care_probability,
            high=truth.risk.probabilities[_HIGH],
        )


def cell_weights(assessment: Assessment) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return P(category) P(scope), shape (n_categories * n_scopes,), in the order of a catalogue's rates."""
    return np.outer(assessment.category.probabilities, assessment.scope.probabilities).reshape(-1)


def expected_load(assessment: Assessment, policy: Policy) -> Load:
    """Return what a turn is expected to send and receive."""
    return Load(*(cell_weights(assessment) @ policy.load_table).tolist())


def _load(case: Case, expected: Load) -> Load:
    """Take the requests, the growth and the output that were seen; without output, it grows with the requests."""
    seen = case.seen
    if seen is None:
        return expected
    output = seen.output_tokens
    if output is None:
        output = expected.output_tokens * seen.requests / expected.requests
    return Load.of(seen.requests, output, seen.growth_tokens)


def sum_up(entries: Sequence[Entry]) -> Totals:
    """Sum entries."""
    n, cheap = len(entries), [entry for entry in entries if entry.rank == 0]
    return Totals(
        n_turns=n,
        spend_usd=sum(entry.usd for entry in entries),
        miss_usd=sum(entry.miss_usd for entry in entries),
        premium_share=sum(entry.rank == 2 for entry in entries) / n if n else 0.0,
        cheap_share=len(cheap) / n if n else 0.0,
        needs_care=sum(entry.care for entry in entries),
        care_missed=sum(entry.care for entry in cheap),
        high_risk=sum(entry.high for entry in entries),
        high_missed=sum(entry.high for entry in cheap),
        switches=sum(entry.switched for entry in entries),
    )
