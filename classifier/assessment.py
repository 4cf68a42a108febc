"""The values that travel through a decision: `Turn`, `Assessment`, `Decision`.

All frozen. Nothing here computes; each stage returns one of these and the next one reads it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from .labels import CATEGORIES, HEADS, RISKS, SCOPES, Head
from .limits import UNLIMITED, Limits


class Kind(StrEnum):
    """What sort of request this is, as far as routing goes."""

    TASK = "task"
    TOOL_LOOP = "tool_loop"
    BACKGROUND = "background"
    SUBAGENT = "subagent"


Background = Literal["title", "topic", "summary", "count_tokens", "quota", "web_fetch", "web_search", "permission"]

#: What a body may ask of a model; the same names stand in a catalogue entry's `capabilities`.
CAPABILITIES: Final = (
    "tools",
    "images",
    "documents",
    "thinking_enabled",
    "thinking_adaptive",
    "effort",
    "mid_system",
    "structured_output",
)


@dataclass(frozen=True, slots=True)
class Message:
    """One earlier message of the conversation, as the classifier reads it (at most 600 characters)."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a coding agent, reduced to what routing needs.

    Attributes
    ----------
    prompt : str
        The person's own words; empty when there are none, and then `reason` says why.
    context : tuple of Message
        Up to four messages before the prompt, oldest first, each cut to 600 characters.
    kind : Kind
    background : str or None
        Which background call, when `kind` is background.
    context_tokens : int
        Estimate of the tokens the body sends: system, tools and messages.
    session_id, agent_id : str or None
        As the client names them; the agent id only on subagent requests.
    key : str
        Same for every request of the same turn: tool results, retries, moved cache marks.
    request_key : str
        Same for a retry of the same request only; differs along a tool loop.
    state_key, next_state_key : str
        Where the session's state is found before this turn and kept after it. Equal when the client
        names its session; else derived from the prompts so far.
    story_key : str
        `next_state_key` of the turn before, in whoever's session the same words were said; for reading one log, where
        they are one person's, never for state.
    needs : frozenset of str
        Capabilities the body asks for, out of `CAPABILITIES`.
    n_images, n_documents : int
        Counted over the whole body.
    output_tokens : int
        Estimate of what models have put out since the prompt: of a turn's requests before this one.
    client_model : str or None
        The model the client asked for.
    max_output_tokens : int or None
        What the client reserved for the answer.
    reason : str or None
        Why the body could not be read fully, in words a person understands; never user text.
    """

    prompt: str
    context: tuple[Message, ...] = ()
    kind: Kind = Kind.TASK
    background: Background | None = None
    context_tokens: int = 0
    session_id: str | None = None
    agent_id: str | None = None
    key: str = ""
    request_key: str = ""
    state_key: str = ""
    next_state_key: str = ""
    story_key: str = ""
    needs: frozenset[str] = frozenset()
    n_images: int = 0
    n_documents: int = 0
    output_tokens: int = 0
    client_model: str | None = None
    max_output_tokens: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class HeadResult:
    """Calibrated probabilities of one head, in label order; they sum to 1."""

    head: Head
    probabilities: tuple[float, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        return HEADS[self.head]

    @property
    def label(self) -> str:
        return self.labels[self.probabilities.index(max(self.probabilities))]

    @property
    def probability(self) -> float:
        return max(self.probabilities)

    def of(self, label: str) -> float:
        """Return the probability of one label."""
        return self.probabilities[self.labels.index(label)]


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the classifier thinks of one turn.

    `novelty` is in [0, 1]: 0 reads like the training data, 1 like nothing in it.
    """

    category: HeadResult
    risk: HeadResult
    scope: HeadResult
    turn: HeadResult
    novelty: float
    model_version: str

    @property
    def care_probability(self) -> float:
        """Probability that the turn needs care (`labels.needs_care`), heads taken as independent."""
        category, risk, scope = self.category.probabilities, self.risk.probabilities, self.scope.probabilities
        hard = category[_DEBUGGING] + category[_MIGRATION] + category[_SECURITY]
        return risk[_HIGH] + risk[_MEDIUM] * (1 - (1 - hard) * (1 - scope[_REPO]))


_DEBUGGING, _MIGRATION, _SECURITY = (CATEGORIES.index(name) for name in ("debugging", "migration", "security"))
_MEDIUM, _HIGH, _REPO = RISKS.index("medium"), RISKS.index("high"), SCOPES.index("repo")


class CandidateCost(NamedTuple):
    """Expected cost of one candidate in USD, split into the terms of the rule; `effort` is None where none is named.

    A named tuple: a dozen are made for each decision, and a frozen dataclass takes three times as long to make.

    Attributes
    ----------
    tokens : float
        The whole turn with its tool loop; `cached`, a part of it, is what the first request reads from the cache.
    switch : float
        What leaving the session's model costs.
    failure : float
        `failure_probability` times the loss of the turn (`Stakes.loss_usd`).
    """

    model: str
    tokens: float
    switch: float
    failure: float
    effort: str | None = None
    cached: float = 0.0
    failure_probability: float = 0.0

    @property
    def total(self) -> float:
        return self.tokens + self.switch + self.failure


class Exclusion(NamedTuple):
    """A model that was no candidate: a code for machines, and why as a clause."""

    model: str
    code: str
    detail: str


class Stakes(NamedTuple):
    """What hangs on one turn, whichever model takes it.

    Attributes
    ----------
    loss_usd : float
        What a miss costs on average; `money_weight` divides it.
    care_probability : float
        As the risk bound compares it: pinned paths have raised it.
    cached_tokens : int
        Of the context, what the session's model holds in its prompt cache.
    requests, output_tokens, growth_tokens : float
        Expected of the turn with its tool loop.
    money_weight : float
        How much a dollar spent counts; above 1 while a budget runs out.
    """

    loss_usd: float
    care_probability: float
    cached_tokens: int
    requests: float
    output_tokens: float
    growth_tokens: float
    money_weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer: which model takes this turn, and everything needed to see why.

    Attributes
    ----------
    model, provider : str
        Catalogue names.
    fallbacks : tuple of str
        Other models that fit, best first.
    effort : str or None
        The effort to ask of the model, where its catalogue row names efforts.
    expected_cost : tuple of CandidateCost
        Per model, cheapest total first, each at its best effort; empty when nothing was weighed.
    excluded : tuple of Exclusion
        Models that were no candidates.
    stakes : Stakes or None
        What was weighed; None when nothing was.
    reasons : tuple of str
        Short sentences a person can read; never user text.
    codes : tuple of str
        The same for machines, out of `reasons.CODES`.
    limits : Limits
        What narrowed the choice beside the request itself.
    sticky : bool
        The model is the one the session already had, and was kept because of it.
    latency_ms : dict
        Parts of the time spent, in milliseconds: `read`, `classify`, `decide`, `total`.
    """

    model: str
    provider: str
    fallbacks: tuple[str, ...]
    decision_id: str
    kind: Kind
    assessment: Assessment | None
    context_tokens: int
    expected_cost: tuple[CandidateCost, ...]
    reasons: tuple[str, ...]
    sticky: bool
    model_version: str
    policy_version: str
    session_id: str | None = None
    agent_id: str | None = None
    turn_key: str = ""
    latency_ms: dict[str, float] = field(default_factory=dict)
    effort: str | None = None
    excluded: tuple[Exclusion, ...] = ()
    stakes: Stakes | None = None
    codes: tuple[str, ...] = ()
    limits: Limits = UNLIMITED
    catalog_version: str = ""
