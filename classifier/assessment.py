"""The values that travel through a decision: `Turn`, `Assessment`, `Decision`.

All frozen. Nothing here computes; each stage returns one of these and the next one reads it.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from .labels import HEADS, Head


class Kind(StrEnum):
    """What sort of request this is, as far as routing goes."""

    TASK = "task"
    TOOL_LOOP = "tool_loop"
    BACKGROUND = "background"
    SUBAGENT = "subagent"


Background = Literal["title", "topic", "summary", "count_tokens", "quota"]

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
    needs : frozenset of str
        Capabilities the body asks for, out of `CAPABILITIES`.
    n_images, n_documents : int
        Counted over the whole body.
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
    needs: frozenset[str] = frozenset()
    n_images: int = 0
    n_documents: int = 0
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


@dataclass(frozen=True, slots=True)
class CandidateCost:
    """Expected cost of one candidate in USD, split into the terms of the rule."""

    model: str
    tokens: float
    switch: float
    failure: float

    @property
    def total(self) -> float:
        return self.tokens + self.switch + self.failure


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer: which model takes this turn, and everything needed to see why.

    Attributes
    ----------
    model, provider : str
        Catalogue names.
    fallbacks : tuple of str
        Other models that fit, best first.
    expected_cost : tuple of CandidateCost
        Per candidate, cheapest total first; empty when nothing was weighed.
    reasons : tuple of str
        Short sentences a person can read; never user text.
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
