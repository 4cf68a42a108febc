"""One request to decide again, with all that the first decision was given: from a record, or from a labelled turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import NamedTuple

from pointsman.classifier.assessment import Assessment, HeadResult, Kind, Turn
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.limits import Caller
from pointsman.classifier.records import DecisionRecord, FeedbackRecord
from pointsman.classifier.risk_bound import Promises


class SeenRequests(NamedTuple):
    """What a log shows of one whole turn: its requests, by how much its context grew, and what it put out.

    The output of the last request is in no log: it is taken to be that of the others. None where there are no others.
    """

    requests: int
    growth_tokens: int
    output_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request, in the order of its log.

    Attributes
    ----------
    id : str
        Of the decision, or of the labelled row.
    turn : Turn
        Its text is empty where none was stored.
    assessment : Assessment or None
        What a policy is given; None for background calls and for turns that got the safe default.
    truth : Assessment or None
        What the turn is counted as: certain where a person said so, else the assessment.
    begins : bool
        Whether it is the first request of a turn; only these are counted and priced.
    weighed : bool
        Whether candidates were weighed for it; False where it went on with a turn under way.
    at : float
        Seconds, on one clock for the whole log.
    group : str
        The same for turns of one project or person, which are no independent trials.
    day : str
        UTC, as `2026-11-22`; empty where no time is known.
    models, policy, caller
        What came with the asking.
    pins : tuple of str
        Path patterns that it is known to mention, beside those its text shows.
    care_threshold : float or None
        Kept when it was logged; it holds again where no promises were recorded.
    promises : tuple of (float, float)
        Of the bundle that assessed it; each policy keeps to its own.
    seen : SeenRequests or None
        None where the log does not show the turn's further requests.
    taken, effort : str or None
        What the log says was taken.
    reported_usd : float or None
        What feedback says the turn cost.
    """

    id: str
    turn: Turn
    assessment: Assessment | None
    truth: Assessment | None
    begins: bool = True
    weighed: bool = True
    at: float = 0.0
    group: str = ""
    day: str = ""
    models: tuple[str, ...] | None = None
    policy: str | None = None
    caller: Caller = field(default_factory=Caller)
    pins: tuple[str, ...] = ()
    care_threshold: float | None = None
    promises: Promises = ()
    seen: SeenRequests | None = None
    taken: str | None = None
    effort: str | None = None
    reported_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Log:
    """Cases of one source.

    Attributes
    ----------
    cases : tuple of Case
        In order of time, so that sessions can be rebuilt.
    about : str
        What they are, in words.
    assumptions : tuple of str
        What was assumed to make cases of what was found.
    labelled : bool
        Whether `truth` is what people said, and no estimate.
    """

    cases: tuple[Case, ...]
    about: str
    assumptions: tuple[str, ...] = ()
    labelled: bool = False

    @property
    def turns(self) -> tuple[Case, ...]:
        """The cases that are counted."""
        return tuple(case for case in self.cases if case.begins)


def turns_a_month(log: Log) -> float:
    """Return the log's own rate in turns per 30 days; without times, the turns there are."""
    days = sorted({case.day for case in log.turns if case.day})
    if not days:
        return float(len(log.turns))
    n_days = (date.fromisoformat(days[-1]) - date.fromisoformat(days[0])).days + 1
    return len(log.turns) * 30 / n_days


def certain(assessment: Assessment, labels: Mapping[Head, str]) -> Assessment:
    """Return the assessment with all probability of these heads on these labels."""
    for head, label in labels.items():
        assessment = replace(assessment, **{head: _sure(head, label)})  # type: ignore[arg-type]
    return assessment


def truth_of(labels: Mapping[Head, str]) -> Assessment:
    """Return the assessment that is sure of all four labels."""
    return Assessment(**{head: _sure(head, labels[head]) for head in HEADS}, novelty=0.0, model_version="labels")


def _sure(head: Head, label: str) -> HeadResult:
    return HeadResult(head, tuple(float(name == label) for name in HEADS[head]))


def cases_of(records: Iterable[DecisionRecord], feedback: Iterable[FeedbackRecord] = ()) -> tuple[Case, ...]:
    """Turn records into cases, in order of time.

    Parameters
    ----------
    records : iterable of DecisionRecord
        In any order; all requests of the sessions they belong to.
    feedback : iterable of FeedbackRecord
        Corrected labels become the truth of their turn; of several, the last one counts for each head.
    """
    ordered = sorted(records, key=lambda record: record.created_at)
    labels: dict[str, dict[Head, str]] = defaultdict(dict)
    reported: dict[str, float] = {}
    for given in sorted(feedback, key=lambda item: item.created_at):
        labels[given.decision_id] |= given.labels
        if given.cost_usd is not None:
            reported[given.decision_id] = given.cost_usd
    seen = _seen(ordered)
    begun: set[str] = set()
    cases = []
    for record in ordered:
        weighed = bool(record.expected_cost)
        begins = weighed and record.kind is not Kind.BACKGROUND and record.turn_key not in begun
        if begins and record.turn_key:
            begun.add(record.turn_key)
        case = _case(record, labels.get(record.decision_id, {}))
        cases.append(
            replace(
                case,
                begins=begins,
                weighed=weighed,
                seen=seen.get(record.turn_key) if begins else None,
                reported_usd=reported.get(record.decision_id),
            )
        )
    return tuple(cases)


def _case(record: DecisionRecord, labels: Mapping[Head, str]) -> Case:
    limits, asked = record.limits, record.policy
    if asked is None and "explicit_policy" in record.codes:
        # Asked for in a header or in the prompt: only the version tells which.
        asked = record.policy_version.partition(":")[0]
    assessment = record.assessment
    time = datetime.fromisoformat(record.created_at)
    return Case(
        id=record.decision_id,
        turn=record.to_turn(),
        assessment=assessment,
        truth=None if assessment is None else certain(assessment, labels),
        at=time.timestamp(),
        group=record.project or record.session_id or record.decision_id,
        day=record.created_at[:10],
        models=record.allowed,
        policy=asked,
        caller=Caller(record.project, record.team, record.key_id, limits.wanted),
        pins=limits.pins,
        care_threshold=limits.care_threshold,
        promises=limits.promises,
        taken=record.model,
        effort=record.effort,
    )


def _seen(records: Sequence[DecisionRecord]) -> dict[str, SeenRequests]:
    """Return what each turn sent, in sessions whose tool loops are in the log."""
    looping = {record.next_state_key for record in records if record.kind is Kind.TOOL_LOOP}
    tokens: dict[str, list[int]] = defaultdict(list)
    output: dict[str, int] = defaultdict(int)
    for record in records:
        # A gateway that asks once a turn tells nothing of the requests after it.
        if record.turn_key and record.next_state_key in looping and record.kind is not Kind.BACKGROUND:
            tokens[record.turn_key].append(record.context_tokens)
            output[record.turn_key] = max(output[record.turn_key], record.output_tokens)
    return {
        key: SeenRequests(len(sizes), max(sizes) - min(sizes), _whole(output[key], len(sizes)))
        for key, sizes in tokens.items()
    }


def _whole(output_tokens: int, n_requests: int) -> float | None:
    """Add the output of the last request, which shows in no other."""
    return output_tokens * n_requests / (n_requests - 1) if output_tokens and n_requests > 1 else None
