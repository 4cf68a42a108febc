"""Shapes of requests and answers, and their conversion to and from classifier types.

Pydantic reads what is small and strict (`/v1/classify`, `/v1/feedback`) and describes answers for OpenAPI. Decisions
are built as plain dicts (`classifier/answers.py`): the hot path validates nothing twice. A test holds both together.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pointsman.classifier.answers import model_answer
from pointsman.classifier.assessment import Decision, Message, Turn
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import Head
from pointsman.classifier.records import MAX_NAME_LENGTH, Outcome

_Model = TypeVar("_Model", bound=BaseModel)
_Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeadAnswer(_Shape):
    """One head: the most probable label, and all probabilities."""

    label: str
    probability: float
    probabilities: dict[str, float]


class CostAnswer(_Shape):
    """Expected cost of one candidate in USD."""

    model: str
    total: float
    tokens: float
    switch: float
    failure: float
    effort: str | None
    cached: float
    failure_probability: float


class ExclusionAnswer(_Shape):
    """A model that was no candidate, and why."""

    model: str
    code: str
    detail: str


class StakesAnswer(_Shape):
    """What hangs on the turn, whichever model takes it."""

    loss_usd: float
    care_probability: float
    cached_tokens: int
    requests: float
    output_tokens: float
    growth_tokens: float
    money_weight: float


class DecisionAnswer(_Shape):
    """The answer of `/v1/decide`; the heads are null when nothing was assessed."""

    model: str
    provider: str
    effort: str | None
    fallbacks: list[str]
    decision_id: str
    kind: Literal["task", "tool_loop", "background", "subagent"]
    category: HeadAnswer | None
    risk: HeadAnswer | None
    scope: HeadAnswer | None
    turn: HeadAnswer | None
    novelty: float | None
    context_tokens: int
    expected_cost: list[CostAnswer]
    excluded: list[ExclusionAnswer]
    stakes: StakesAnswer | None
    reasons: list[str]
    codes: list[str]
    sticky: bool
    session_id: str | None
    model_version: str
    policy_version: str
    catalog_version: str
    latency_ms: float


class MessageInput(_Shape):
    """An earlier message."""

    role: str
    text: str


class ClassifyInput(_Shape):
    """A prompt with the messages before it, oldest first."""

    prompt: str = Field(min_length=1)
    context: list[MessageInput] = []

    def to_turn(self) -> Turn:
        return Turn(prompt=self.prompt, context=tuple(Message(item.role, item.text) for item in self.context))


class ClassifyRequest(_Shape):
    """The body of `/v1/classify`."""

    inputs: list[ClassifyInput] = Field(min_length=1)


class AssessmentAnswer(_Shape):
    """All heads of one input."""

    category: HeadAnswer
    risk: HeadAnswer
    scope: HeadAnswer
    turn: HeadAnswer
    novelty: float


class ClassifyAnswer(_Shape):
    """The answer of `/v1/classify`, in the order of the inputs."""

    assessments: list[AssessmentAnswer]
    model_version: str


class FeedbackRequest(_Shape):
    """The body of `/v1/feedback`."""

    decision_id: _Name
    outcome: Outcome
    labels: dict[Head, str] = {}
    cost_usd: float | None = Field(None, ge=0, allow_inf_nan=False)
    comment: str | None = Field(None, max_length=10_000, description="Stored only when the service stores text.")
    source: str | None = Field(None, max_length=MAX_NAME_LENGTH)
    feedback_id: _Name | None = Field(None, description="The Idempotency-Key header does the same.")


class FeedbackAnswer(_Shape):
    """Feedback that is committed."""

    feedback_id: str
    decision_id: str


class SessionAnswer(_Shape):
    """Where a session stands; category and risk are null when nothing was assessed."""

    session_id: str
    model: str
    provider: str
    effort: str | None
    decision_id: str
    created_at: str
    category: str | None
    risk: str | None
    reasons: list[str]
    codes: list[str]


class SpentAnswer(_Shape):
    """Turns summed, in USD: tokens and expected misses as decided, all on the careful model, all on the cheap one."""

    n_turns: int
    n_premium: int
    spent_usd: float
    premium_usd: float
    cheap_usd: float
    miss_usd: float
    premium_miss_usd: float
    cheap_miss_usd: float
    saved_usd: float
    added_miss_usd: float


class ReportedAnswer(_Shape):
    """Turns whose cost feedback reports, and what is estimated for the same turns."""

    n_turns: int
    usd: float
    estimated_usd: float


class SavingsAnswer(_Shape):
    """The answer of `/v1/savings`: estimates, and what they rest on."""

    log: str
    catalog: str
    policy: str
    total: SpentAnswer
    by_day: dict[str, SpentAnswer]
    by_category: dict[str, SpentAnswer]
    reported: ReportedAnswer
    n_left_out: int
    assumptions: list[str]


class ErrorDetail(_Shape):
    """A machine code, and a message for people."""

    code: str
    message: str


class ErrorAnswer(_Shape):
    """Every refusal."""

    error: ErrorDetail


def parse(shape: type[_Model], body: bytes) -> _Model:
    """Read a JSON body, or raise `InputError` that says what was found and expected, without the caller's text."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as exc:
        problems = [_problem(error["loc"], error["msg"], error["input"]) for error in exc.errors()[:5]]
        raise InputError("; ".join(problems)) from None


def decision_headers(decision: Decision) -> dict[str, str]:
    """Return the decision for gateways that read headers only; "none" where nothing was assessed.

    Always the same names: a gateway copies them over what a client may have sent.
    """
    assessment = decision.assessment
    category = assessment.category.label if assessment else "none"
    risk = assessment.risk.label if assessment else "none"
    model = header_value(decision.model)
    return {
        "x-pointsman-model": model,
        "x-pointsman-provider": header_value(decision.provider),
        "x-pointsman-category": category,
        "x-pointsman-risk": risk,
        "x-pointsman-decision-id": header_value(decision.decision_id),
        "x-pointsman-kind": decision.kind.value,
        "x-route-model": model,
        "x-route-class": category,
        "x-route-risk": risk,
    }


def header_value(text: str) -> str:
    """Return the text as a header can carry it: outside printable ASCII, percent-encoded UTF-8."""
    if text.isascii() and text.isprintable():
        return text
    return quote(text, safe="".join(chr(code) for code in range(0x20, 0x7F)), errors="replace")


def catalog_answer(catalog: Catalog) -> dict[str, Any]:
    """Return the catalogue as served: windows, prices in USD per million tokens, what is believed, and its grounds."""
    families = [asdict(family) for family in catalog.families]
    return {
        "version": catalog.version,
        "roles": dict(catalog.roles),
        "models": [model_answer(model) for model in catalog.models],
        "families": families,
        "currencies": [asdict(currency) for currency in catalog.currencies],
    }


def _problem(location: tuple[int | str, ...], message: str, found: object) -> str:
    # Type and place only: the input is the caller's text, and so may an unknown key be.
    place = ".".join(str(part)[:40] for part in location) or "body"
    return f"{place}: {message} (found {type(found).__name__})"
