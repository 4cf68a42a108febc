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
    """What one turn sent: its requests, and by how much its context grew."""

    category: str
    scope: str
    requests: int
    growth_tokens: float


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

    A cell backs off to its scope, and the scope to the policy, each counting as `LOAD_PRIOR_TURNS` turns. How much
    a model puts out is not in the requests that come here: output is taken to grow with the requests.
    """
    sums: dict[tuple[str | None, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    prior = {
        (category, scope): load
        for category, row in zip(CATEGORIES, _prior(policy), strict=True)
        for scope, load in zip(SCOPES, row, strict=True)
    }
    for turn in seen:
        cell = prior.get((turn.category, turn.scope))
        if cell is None:
            continue
        requests = turn.requests / cell.requests
        growth = turn.growth_tokens / cell.growth_tokens if cell.growth_tokens else 1.0
        for key in ((None, turn.scope), (turn.category, turn.scope)):
            found = sums[key]
            found[0], found[1], found[2] = found[0] + 1, found[1] + requests, found[2] + growth
    learned = []
    for (category, scope), load in prior.items():
        requests, growth = _ratios(sums[category, scope], *_ratios(sums[None, scope], 1.0, 1.0))
        learned.append(load.scaled(requests, requests, growth))
    return tuple(learned)


def _prior(policy: Policy) -> list[list[Load]]:
    return [[load.scaled(*times) for load in policy.loads] for times in policy.category_loads]


def _ratios(sums: list[float], requests: float, growth: float) -> tuple[float, float]:
    """Return the mean ratio of seen to expected, after a prior worth `LOAD_PRIOR_TURNS`."""
    n, seen_requests, seen_growth = sums
    total = LOAD_PRIOR_TURNS + n
    return (requests * LOAD_PRIOR_TURNS + seen_requests) / total, (growth * LOAD_PRIOR_TURNS + seen_growth) / total


def _day(created_at: str) -> date:
    return datetime.fromisoformat(created_at).astimezone(UTC).date()
