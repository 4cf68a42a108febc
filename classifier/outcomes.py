"""From one's own records to what a catalogue and a policy learn: how often models fail, and what turns send.

A judgement given as feedback counts as one trial. Where none was given, the next turn of the session is a weaker one:
"still fails" is a failure of the model before it, anything else a success. Everything here is pure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Final, NamedTuple, Self

from .costs import Load
from .evidence import Tally
from .labels import CATEGORIES, SCOPES
from .policy_file import Policy
from .records import DecisionRecord, FeedbackRecord, Outcome

# Assumptions, to be outvoted by nothing but better feedback. An answer that was given up on says half as much: people
# leave for lunch, too.
_TRIALS: Final[Mapping[Outcome, tuple[float, float]]] = {
    "success": (0.0, 1.0),
    "failure": (1.0, 1.0),
    "corrected": (1.0, 1.0),
    "escalated": (1.0, 1.0),
    "abandoned": (0.5, 0.5),
}
#: A next turn is read by a classifier, and silence is no praise: it counts for this much of a judgement.
IMPLICIT_WEIGHT: Final = 0.3
#: Outcomes age faster than published trials: code bases, prompts and what a name stands for all move on.
HALF_LIFE_DAYS: Final = 60.0
#: What a policy says of a turn counts as this many turns seen.
LOAD_PRIOR_TURNS: Final = 20.0


class SeenTurn(NamedTuple):
    """One turn that was decided: `session` is the same along a session, `correct_probability` that of its own words."""

    decision_id: str
    created_at: str
    session: str
    model: str
    category: str
    correct_probability: float

    @classmethod
    def of(cls, record: DecisionRecord) -> Self | None:
        """Reduce a record; None for further requests of a turn, background calls, and what was not assessed."""
        assessment = record.assessment
        if assessment is None or record.kind not in ("task", "subagent") or not record.expected_cost:
            return None
        return cls(
            record.decision_id,
            record.created_at,
            # Without a session the key may be another person's, too.
            record.next_state_key if record.session_id else "",
            record.model,
            assessment.category.label,
            assessment.turn.of("correct"),
        )


class Judged(NamedTuple):
    """One judgement; `category` is None unless the person corrected it."""

    decision_id: str
    created_at: str
    outcome: Outcome
    category: str | None

    @classmethod
    def of(cls, record: FeedbackRecord) -> Self:
        return cls(record.decision_id, record.created_at, record.outcome, record.labels.get("category"))


class SeenLoad(NamedTuple):
    """What one turn sent and got: its requests, by how much its context grew, and what models put out.

    Output shows in the requests after it, so that of the last request is missing; None or 0 where none shows.
    """

    category: str
    scope: str
    requests: int
    growth_tokens: float
    output_tokens: float | None = None

    @property
    def output_per_request(self) -> float | None:
        """Tokens put out by one request, over all but the last."""
        return self.output_tokens / (self.requests - 1) if self.output_tokens and self.requests > 1 else None


def tally_outcomes(
    turns: Iterable[SeenTurn], judged: Iterable[Judged], *, as_of: date, half_life_days: float = HALF_LIFE_DAYS
) -> dict[str, tuple[Tally, ...]]:
    """Count what became of turns, per model and category.

    Parameters
    ----------
    turns : iterable of SeenTurn
        In any order.
    judged : iterable of Judged
        The last judgement on a decision counts, and replaces what the next turn said.
    as_of : date
        Ages are told from this day.
    half_life_days : float
        After so many days an outcome counts half.

    Returns
    -------
    dict of str to tuple of Tally
        Per model that has any, in label order.
    """
    verdicts: dict[str, Judged] = {}
    for judgement in sorted(judged, key=lambda item: item.created_at):
        verdicts[judgement.decision_id] = judgement
    cells: dict[str, list[Tally]] = defaultdict(lambda: [Tally()] * len(CATEGORIES))

    def count(turn: SeenTurn, category: str, failures: float, trials: float) -> None:
        if category in CATEGORIES:
            age = max(0, (as_of - _day(turn.created_at)).days)
            weight, place = 0.5 ** (age / half_life_days), CATEGORIES.index(category)
            cells[turn.model][place] = cells[turn.model][place].plus(failures * weight, trials * weight)

    before: dict[str, SeenTurn] = {}
    for turn in sorted(turns, key=lambda item: item.created_at):
        last = before.get(turn.session) if turn.session else None
        if last is not None and last.decision_id not in verdicts:
            count(last, last.category, IMPLICIT_WEIGHT * turn.correct_probability, IMPLICIT_WEIGHT)
        before[turn.session] = turn
        if (verdict := verdicts.get(turn.decision_id)) is not None:
            count(turn, verdict.category or turn.category, *_TRIALS[verdict.outcome])
    return {model: tuple(tallies) for model, tallies in cells.items()}


def learn_loads(seen: Iterable[SeenLoad], policy: Policy) -> tuple[Load, ...]:
    """Return what turns send and receive, by category, then scope: the policy's figures moved by turns seen.

    A cell backs off to its scope, and the scope to the policy, each counting as `LOAD_PRIOR_TURNS` turns. Requests,
    growth and the output of a request are learned each by itself; output grows with the requests.
    """
    sums: dict[tuple[str | None, str], _Ratios] = defaultdict(_Ratios)
    prior = {
        (category, scope): load
        for category, row in zip(CATEGORIES, _prior(policy), strict=True)
        for scope, load in zip(SCOPES, row, strict=True)
    }
    for turn in seen:
        cell = prior.get((turn.category, turn.scope))
        if cell is None:
            continue
        for key in ((None, turn.scope), (turn.category, turn.scope)):
            sums[key].add(turn, cell)
    learned = []
    for (category, scope), load in prior.items():
        requests, output, growth = sums[category, scope].after(*sums[None, scope].after(1.0, 1.0, 1.0))
        learned.append(load.scaled(requests, requests * output, growth))
    return tuple(learned)


class _Ratios:
    """Sums of what was seen over what was expected, of requests, output per request and growth."""

    __slots__ = ("_growth", "_output", "_requests")

    def __init__(self) -> None:
        self._requests, self._output, self._growth = [0.0, 0], [0.0, 0], [0.0, 0]

    def add(self, turn: SeenLoad, expected: Load) -> None:
        output, growth = turn.output_per_request, expected.growth_tokens
        _count(self._requests, turn.requests / expected.requests)
        _count(self._growth, turn.growth_tokens / growth if growth else 1.0)
        if output is not None and expected.output_tokens:
            _count(self._output, output * expected.requests / expected.output_tokens)

    def after(self, requests: float, output: float, growth: float) -> tuple[float, float, float]:
        """Return the mean ratios, after a prior worth `LOAD_PRIOR_TURNS`."""
        return _mean(self._requests, requests), _mean(self._output, output), _mean(self._growth, growth)


def _count(found: list[float], ratio: float) -> None:
    found[0] += ratio
    found[1] += 1


def _mean(found: list[float], prior: float) -> float:
    return (prior * LOAD_PRIOR_TURNS + found[0]) / (LOAD_PRIOR_TURNS + found[1])


def _prior(policy: Policy) -> list[list[Load]]:
    return [[load.scaled(*times) for load in policy.loads] for times in policy.category_loads]


def _day(created_at: str) -> date:
    return datetime.fromisoformat(created_at).astimezone(UTC).date()
