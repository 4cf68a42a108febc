"""Decision and feedback rows: the format that serving writes and training reads.

One JSON object per decision and per feedback, each with its own `schema_version`. A decision row holds all
that the policy was given (probabilities by label, tokens, needs, allowed models, session keys), so that any
policy can be replayed over old rows without the model. Text of the person is in it only when asked for.

A row of a newer schema is refused; a key that an older row lacks takes its default. Changing the meaning of a
key, or removing one, raises the version and adds a reader for the old one here.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar, get_args

from .assessment import Assessment, CandidateCost, Decision, Exclusion, HeadResult, Kind, Message, Stakes, Turn
from .errors import InputError
from .labels import HEADS, Head
from .limits import UNLIMITED, Caller, Limits
from .prompt_form import script_of

DECISION_SCHEMA: Final = 1
FEEDBACK_SCHEMA: Final = 1

Outcome = Literal["success", "failure", "corrected", "escalated", "abandoned"]
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

# Clients name sessions, agents and models; a name longer than this is not one (indexes have limits too).
MAX_NAME_LENGTH: Final = 256

JsonDict = dict[str, Any]
_Value = TypeVar("_Value")


def utc_now() -> str:
    """Return the time as rows hold it: UTC, ISO 8601, fixed width, so that text order is time order."""
    # A fifth of the time that `strftime` takes.
    return datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRecord:
    """One decision with everything it was made from.

    Attributes
    ----------
    assessment : Assessment or None
        Of the turn the request belongs to; None when it was not assessed: background calls, safe defaults.
    state_key, next_state_key : str
        Where the session's state was found and kept; in order of `created_at` they rebuild every session.
    allowed : tuple of str or None
        The models the caller allowed; None is the whole catalogue.
    policy : str or None
        The policy the caller named; None is the service's own.
    effort, excluded, stakes, codes, limits, catalog_version
        As in the decision.
    project, team, key_id : str or None
        Who asked, as the gateway said.
    expected_spend_usd : float or None
        Tokens of the whole turn on the chosen model; None where nothing was weighed.
    n_chars : int or None
        Length of the prompt; None in rows that were written before it was kept.
    script : str or None
        Of the prompt (`prompt_form.script_of`); None as above.
    prompt, context
        None unless the service stores text.
    """

    decision_id: str
    created_at: str
    kind: Kind
    model: str
    provider: str
    fallbacks: tuple[str, ...]
    reasons: tuple[str, ...]
    sticky: bool
    context_tokens: int
    model_version: str
    policy_version: str
    assessment: Assessment | None = None
    expected_cost: tuple[CandidateCost, ...] = ()
    background: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    turn_key: str = ""
    request_key: str = ""
    state_key: str = ""
    next_state_key: str = ""
    needs: tuple[str, ...] = ()
    n_images: int = 0
    n_documents: int = 0
    output_tokens: int = 0
    client_model: str | None = None
    max_output_tokens: int | None = None
    allowed: tuple[str, ...] | None = None
    policy: str | None = None
    latency_ms: dict[str, float] = field(default_factory=dict)
    effort: str | None = None
    excluded: tuple[Exclusion, ...] = ()
    stakes: Stakes | None = None
    codes: tuple[str, ...] = ()
    limits: Limits = UNLIMITED
    catalog_version: str = ""
    project: str | None = None
    team: str | None = None
    key_id: str | None = None
    expected_spend_usd: float | None = None
    n_chars: int | None = None
    script: str | None = None
    prompt: str | None = None
    context: tuple[Message, ...] | None = None

    @classmethod
    def of(
        cls,
        turn: Turn,
        decision: Decision,
        *,
        created_at: str,
        allowed: tuple[str, ...] | None = None,
        policy: str | None = None,
        caller: Caller | None = None,
    ) -> "DecisionRecord":
        """Join what was read with what was decided; the text is left out (see `with_text`)."""
        return cls(
            decision_id=decision.decision_id,
            created_at=created_at,
            kind=decision.kind,
            model=decision.model,
            provider=decision.provider,
            fallbacks=decision.fallbacks,
            reasons=decision.reasons,
            sticky=decision.sticky,
            context_tokens=decision.context_tokens,
            model_version=decision.model_version,
            policy_version=decision.policy_version,
            assessment=decision.assessment,
            expected_cost=decision.expected_cost,
            background=turn.background,
            session_id=_name(decision.session_id),
            agent_id=_name(decision.agent_id),
            turn_key=decision.turn_key,
            request_key=turn.request_key,
            state_key=turn.state_key,
            next_state_key=turn.next_state_key,
            needs=tuple(sorted(turn.needs)),
            n_images=turn.n_images,
            n_documents=turn.n_documents,
            output_tokens=turn.output_tokens,
            client_model=_name(turn.client_model),
            max_output_tokens=turn.max_output_tokens,
            allowed=allowed,
            policy=policy,
            latency_ms=dict(decision.latency_ms),
            effort=decision.effort,
            excluded=decision.excluded,
            stakes=decision.stakes,
            codes=decision.codes,
            limits=decision.limits,
            catalog_version=decision.catalog_version,
            project=None if caller is None else _name(caller.project),
            team=None if caller is None else _name(caller.team),
            key_id=None if caller is None else _name(caller.key_id),
            n_chars=len(turn.prompt),
            script=script_of(turn.prompt) if turn.prompt else None,
            expected_spend_usd=next((c.tokens for c in decision.expected_cost if c.model == decision.model), None),
        )

    def with_text(self, turn: Turn) -> "DecisionRecord":
        """Add the person's text, for services that store it."""
        return replace(self, prompt=turn.prompt, context=turn.context)

    def to_turn(self) -> Turn:
        """Return the turn as the policy saw it; its text is empty unless it was stored."""
        return Turn(
            prompt=self.prompt or "",
            context=self.context or (),
            kind=self.kind,
            background=self.background,  # type: ignore[arg-type]  # written by `of` from the same Literal
            context_tokens=self.context_tokens,
            session_id=self.session_id,
            agent_id=self.agent_id,
            key=self.turn_key,
            request_key=self.request_key,
            state_key=self.state_key,
            next_state_key=self.next_state_key,
            needs=frozenset(self.needs),
            n_images=self.n_images,
            n_documents=self.n_documents,
            output_tokens=self.output_tokens,
            client_model=self.client_model,
            max_output_tokens=self.max_output_tokens,
        )

    def to_json(self) -> JsonDict:
        """Return the row as plain JSON values."""
        row: JsonDict = {"record": "decision", "schema_version": DECISION_SCHEMA}
        row.update({name: getattr(self, name) for name in _PLAIN})
        row.update({name: list(getattr(self, name)) for name in _LISTS})
        row["kind"] = self.kind.value
        row["allowed"] = None if self.allowed is None else list(self.allowed)
        row["assessment"] = None if self.assessment is None else assessment_to_json(self.assessment)
        row["expected_cost"] = [cost._asdict() for cost in self.expected_cost]
        row["excluded"] = [exclusion._asdict() for exclusion in self.excluded]
        row["stakes"] = None if self.stakes is None else self.stakes._asdict()
        row["limits"] = self.limits.to_json()
        row["latency_ms"] = dict(self.latency_ms)
        row["context"] = None if self.context is None else [asdict(message) for message in self.context]
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "DecisionRecord":
        """Read a row of this schema or an older one.

        Raises
        ------
        InputError
            The row is of a newer schema, lacks a key that every version has, or holds unusable probabilities.
        """
        _check_schema(row, "decision", DECISION_SCHEMA)
        return _reading("decision", lambda: cls(**_decision_values(row)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackRecord:
    """A later judgement on one decision.

    `labels` corrects heads (any subset); `comment` is the person's text, and None unless the service stores text.
    """

    feedback_id: str
    decision_id: str
    created_at: str
    outcome: Outcome
    labels: dict[Head, str] = field(default_factory=dict)
    cost_usd: float | None = None
    comment: str | None = None
    source: str | None = None

    def to_json(self) -> JsonDict:
        """Return the row as plain JSON values."""
        return {"record": "feedback", "schema_version": FEEDBACK_SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "FeedbackRecord":
        """Read a row of this schema or an older one.

        Raises
        ------
        InputError
            The row is of a newer schema, lacks a key, or names an unknown outcome or label.
        """
        _check_schema(row, "feedback", FEEDBACK_SCHEMA)
        record = _reading("feedback", lambda: cls(**_known(row, cls.__slots__)))
        check_outcome(record.outcome)
        check_labels(record.labels)
        return record


def check_outcome(outcome: str) -> None:
    """Refuse an outcome that feedback does not know."""
    if outcome not in OUTCOMES:
        raise InputError(f"outcome is not one of {', '.join(OUTCOMES)}.")


def check_labels(labels: Mapping[Any, str]) -> None:
    """Refuse corrected labels that no head has."""
    for head, label in labels.items():
        if head not in HEADS:
            raise InputError(f"labels names an unknown head; expected any of {', '.join(HEADS)}.")
        if label not in HEADS[head]:
            raise InputError(f"labels.{head} is not one of {', '.join(HEADS[head])}.")


_LISTS: Final = ("fallbacks", "reasons", "codes", "needs")
_NESTED: Final = (
    *("kind", "allowed", "assessment", "expected_cost", "excluded", "stakes", "limits", "latency_ms", "context"),
)
_PLAIN: Final = tuple(name for name in DecisionRecord.__slots__ if name not in (*_LISTS, *_NESTED))


def _name(value: str | None) -> str | None:
    return None if value is None else value[:MAX_NAME_LENGTH]


def _check_schema(row: Mapping[str, Any], record: str, newest: int) -> None:
    found, version = row.get("record"), row.get("schema_version")
    if found != record:
        raise InputError(f"expected a {record} row, its 'record' key says otherwise. Rows of each kind are read apart.")
    if not isinstance(version, int) or version < 1:
        raise InputError(f"{record} row has no usable schema_version; expected a whole number from 1 to {newest}.")
    if version > newest:
        raise InputError(
            f"{record} row has schema_version {version}; this code reads up to {newest}. Upgrade pointsman."
        )


def _known(row: Mapping[str, Any], names: tuple[str, ...]) -> JsonDict:
    return {name: row[name] for name in names if name in row}


def _decision_values(row: Mapping[str, Any]) -> JsonDict:
    values = _known(row, DecisionRecord.__slots__)
    values["kind"] = Kind(row["kind"])
    values.update({name: tuple(row.get(name, ())) for name in _LISTS})
    values["expected_cost"] = tuple(CandidateCost(**cost) for cost in row.get("expected_cost", ()))
    values["excluded"] = tuple(Exclusion(**exclusion) for exclusion in row.get("excluded", ()))
    values["limits"] = Limits.from_json(row.get("limits") or {})
    if row.get("stakes") is not None:
        values["stakes"] = Stakes(**row["stakes"])
    if row.get("assessment") is not None:
        values["assessment"] = assessment_from_json(row["assessment"])
    if row.get("allowed") is not None:
        values["allowed"] = tuple(row["allowed"])
    if row.get("context") is not None:
        values["context"] = tuple(Message(**message) for message in row["context"])
    return values


def assessment_to_json(assessment: Assessment) -> JsonDict:
    """Return probabilities by label."""
    row: JsonDict = {"novelty": assessment.novelty, "model_version": assessment.model_version}
    for head, labels in HEADS.items():
        row[head] = dict(zip(labels, getattr(assessment, head).probabilities, strict=True))
    return row


def assessment_from_json(row: Mapping[str, Any]) -> Assessment:
    """Read what `assessment_to_json` wrote."""
    # By label, not by place: a row outlives a change of label order.
    heads = {head: HeadResult(head, tuple(row[head][label] for label in labels)) for head, labels in HEADS.items()}
    return Assessment(**heads, novelty=row["novelty"], model_version=row["model_version"])


def _reading(record: str, read: Callable[[], _Value]) -> _Value:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise InputError(f"{record} row cannot be read ({type(exc).__name__}): a key is missing or malformed.") from exc
