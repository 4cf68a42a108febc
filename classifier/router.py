"""A request in, a decision out: read, recall or classify, weigh, remember.

A request is decided once. Its retries get the same decision, its tool loop the same model, both without inference. A
classifier that fails costs the safe default, never an exception.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeGuard

from .asking import Asking, Question, Rules, make_question
from .assessment import Assessment, Decision, Kind, Turn
from .catalog import Catalog
from .identity import hash_parts
from .limits import Caller
from .memory_sessions import MemorySessions
from .policy import Choice, Policy, choose, choose_background, choose_default, keep
from .reasons import Note, codes, sentences
from .request import parse_body, read_digest, read_request
from .risk_bound import RiskBound, bound_for, promises_of
from .session import SessionState, SessionStore

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float32]

DEFAULT_CATALOG: Final = "anthropic-dashscope"
DEFAULT_POLICY: Final = "balanced"


#: What a store is asked to do: from the state there is to the state to keep and the decision.
_Make = Callable[[SessionState | None], tuple[SessionState, Decision]]


class Assessor(Protocol):
    """Says what a turn is; `pointsman.classifier.assessor.Assessor` is the real one."""

    @property
    def version(self) -> str:
        """Version of the model behind it."""

    def assess(self, turns: Sequence[Turn]) -> list[Assessment]:
        """Assess turns in one batch, in order."""


class Canary(Protocol):
    """Lets a challenger assess a share of the turns that are decided."""

    def choose(self, turn: Turn, caller: Caller) -> Assessor | None:
        """Return the challenger for a turn that is its, else None."""

    def note_failure(self, error: Exception) -> None:
        """Take note that the challenger failed; the champion assesses the turn then."""


class Router:
    """Decides which model takes a turn. Safe to share between threads.

    Parameters
    ----------
    assessor : Assessor
        Says what a turn is.
    catalog, policy
        What to choose from and how; `policy.check(catalog)` is called here.
    sessions : SessionStore, optional
        Where sessions are kept; in memory when left out.
    clock : callable, optional
        Seconds; wall time, since a store may be shared between machines.
    on_failure : callable, optional
        Called with the exception whenever the assessor fails; `n_failures` counts them in any case.
    spent : callable, optional
        Returns the USD spent this month per rule of the policy that has a budget (`Rule.name`).

    Raises
    ------
    ConfigError
        The policy names a model or role the catalogue lacks.
    """

    def __init__(
        self,
        assessor: Assessor,
        catalog: Catalog,
        policy: Policy,
        sessions: SessionStore | None = None,
        *,
        clock: Callable[[], float] = time.time,
        on_failure: Callable[[Exception], None] | None = None,
        spent: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        self._rules = Rules.of(catalog, policy)
        self.sessions: SessionStore = MemorySessions() if sessions is None else sessions
        self.n_failures = 0
        self.on_failure = on_failure
        self._assessor = assessor
        self._clock = clock
        self.spent = spent
        self.canary: Canary | None = None

    @classmethod
    def load(
        cls,
        bundle: Path | str | None = None,
        *,
        catalog: Path | str | None = None,
        policy: Path | str | None = None,
        sessions: SessionStore | None = None,
        n_threads: int = 1,
    ) -> Self:
        """Load what ships, or what is named instead.

        Parameters
        ----------
        bundle : path, optional
            Folder of a bundle.
        catalog : path or str, optional
            Catalogue file or profile name; `anthropic-dashscope` when left out.
        policy : path or str, optional
            Policy file or preset; `balanced` when left out.
        sessions : SessionStore, optional
            Where sessions are kept; in memory when left out.
        n_threads : int
            Threads of one inference.

        Raises
        ------
        ConfigError
            Catalogue or policy is wrong; the message names file, line and field.
        BundleError
            The bundle is missing, altered, or of a newer format.
        """
        # Configuration first: it is checked in milliseconds. The import is late, so that reading needs no ONNX.
        chosen = Catalog.load(catalog or DEFAULT_CATALOG)
        rule = Policy.load(policy or DEFAULT_POLICY)
        Rules.of(chosen, rule)
        from .assessor import Assessor as BundledAssessor

        path = None if bundle is None else Path(bundle)
        return cls(BundledAssessor.load(path, n_threads=n_threads), chosen, rule, sessions)

    @property
    def model_version(self) -> str:
        """Version of the classifier's model."""
        return self._assessor.version

    @property
    def assessor(self) -> Assessor:
        """What assesses turns now."""
        return self._assessor

    @property
    def risk_bounds(self) -> tuple[RiskBound, ...]:
        """What the bundle can promise of turns that need care, narrowest first; empty where it promises nothing."""
        return _risk_bounds(self._assessor)

    @property
    def risk_bound(self) -> RiskBound | None:
        """The one of them that the policy in use keeps to; None where no promise could be made."""
        return bound_for(self.risk_bounds, self.policy.max_missed)

    @property
    def catalog(self) -> Catalog:
        """The catalogue in use."""
        return self._rules.catalog

    @property
    def policy(self) -> Policy:
        """The policy in use."""
        return self._rules.policy

    def use(
        self, *, catalog: Catalog | None = None, policy: Policy | None = None, assessor: Assessor | None = None
    ) -> None:
        """Decide by another catalogue, policy or assessor from the next request on; what is wrong changes nothing.

        A request under way keeps to the assessor it began with.

        Raises
        ------
        ConfigError
            The policy names a model or role the catalogue lacks.
        """
        if catalog is not None or policy is not None:
            self._rules = Rules.of(catalog or self.catalog, policy or self.policy)
        if assessor is not None:
            self._assessor = assessor

    def read(
        self,
        body: object,
        headers: Mapping[str, str] | None = None,
        *,
        path: str | None = None,
        session_id: str | None = None,
    ) -> Turn:
        """Reduce a request body, or a digest `{"prompt": ...}` of one, to a turn; never raises.

        Parameters
        ----------
        body : bytes, str or mapping
            As received, or already parsed.
        headers, path, session_id
            As for `read_request`.
        """
        if isinstance(body, bytes | bytearray | str) and _may_be_digest(body):
            # Parsed here, it need not be parsed again; what is no JSON is left to the reader, which says so.
            parsed, reason = parse_body(body)
            body = body if reason else parsed
        if isinstance(body, Mapping) and "prompt" in body and "messages" not in body and "input" not in body:
            return read_digest(body, headers, session_id=session_id)
        return read_request(body, headers, path=path, session_id=session_id)

    def decide(
        self,
        body: object,
        headers: Mapping[str, str] | None = None,
        *,
        path: str | None = None,
        session_id: str | None = None,
        models: Collection[str] | None = None,
        policy: str | Policy | None = None,
        caller: Caller | None = None,
    ) -> Decision:
        """Decide a request; never raises on what a client sends.

        Parameters
        ----------
        body, headers, path, session_id
            As for `read`.
        models : collection of str, optional
            Only these may be taken.
        policy : str or Policy, optional
            A preset's name, or a policy that fits the catalogue, in place of the router's own.
        caller : Caller, optional
            Who asks; read from the headers when left out.

        Returns
        -------
        Decision
            The same one for a request sent again.
        """
        started = perf_counter()
        turn = self.read(body, headers, path=path, session_id=session_id)
        question = self._question(turn, Asking(models, policy, caller or Caller.of(headers)), started)
        question.latency_ms["read"] = _ms_since(started)
        return self._decide(question)

    def decide_turn(
        self,
        turn: Turn,
        *,
        models: Collection[str] | None = None,
        policy: str | Policy | None = None,
        caller: Caller | None = None,
    ) -> Decision:
        """Decide a turn that was read before: recalled where possible, else classified and weighed."""
        return self._decide(self._question(turn, Asking(models, policy, caller or Caller())))

    def recall(
        self,
        turn: Turn,
        *,
        models: Collection[str] | None = None,
        policy: str | Policy | None = None,
        caller: Caller | None = None,
    ) -> Decision | None:
        """Answer without inference, or return None when the turn has to be classified.

        Retries get the decision they had; further requests of a known turn its model; background calls their own model;
        requests without a person's text the safe default.
        """
        return self._recall(self._question(turn, Asking(models, policy, caller or Caller())))

    def settle(
        self,
        turn: Turn,
        assessment: Assessment,
        *,
        models: Collection[str] | None = None,
        policy: str | Policy | None = None,
        caller: Caller | None = None,
    ) -> Decision:
        """Finish a decision whose turn was assessed elsewhere, in a batch for instance, and remember it."""
        return self._settle(self._question(turn, Asking(models, policy, caller or Caller())), assessment)

    def default(
        self,
        turn: Turn,
        reason: str,
        *,
        models: Collection[str] | None = None,
        policy: str | Policy | None = None,
        caller: Caller | None = None,
    ) -> Decision:
        """Give a turn that cannot be classified now the safe default, and say why.

        It is remembered like any decision: the turn's retries and its tool loop stay with it. A turn that was decided
        before keeps its decision.
        """
        question = self._question(turn, Asking(models, policy, caller or Caller()))
        return self._recall(question) or self._default(question, reason)

    def classify(self, turns: Sequence[Turn]) -> list[Assessment]:
        """Assess turns without choosing anything.

        Raises
        ------
        InferenceError
            The runtime failed.
        """
        return self._assessor.assess(turns)

    def embed(self, turns: Sequence[Turn]) -> FloatArray | None:
        """Return unit embeddings of turns, shape (n_turns, n_dimensions); None where the assessor has none.

        Raises
        ------
        InferenceError
            The runtime failed.
        """
        embed: Callable[[Sequence[Turn]], FloatArray] | None = getattr(self._assessor, "embed", None)
        return None if embed is None else embed(turns)

    def _decide(self, question: Question) -> Decision:
        recalled = self._recall(question)
        if recalled is not None:
            return recalled
        before = perf_counter()
        try:
            assessment, question = self._assess(question)
        except Exception as error:  # whatever it was, the request behind this one still has to go somewhere
            question.latency_ms["classify"] = _ms_since(before)
            return self._failed(question, error)
        question.latency_ms["classify"] = _ms_since(before)
        return self._settle(question, assessment)

    def _assess(self, question: Question) -> tuple[Assessment, Question]:
        """Assess a turn with what was chosen for it; a challenger that fails is no reason not to ask the champion."""
        champion, challenger = question.champion or self._assessor, question.challenger
        if challenger is not None:
            try:
                (assessment,) = challenger.assess([question.turn])
            except Exception as error:
                if self.canary is not None:
                    self.canary.note_failure(error)
                limits = question.limits.keeping(promises_of(_risk_bounds(champion)), question.policy.max_missed)
                question = replace(question, limits=limits, challenger=None)
            else:
                return assessment, replace(question, notes=(*question.notes, _CANARY))
        (assessment,) = champion.assess([question.turn])
        return assessment, question

    def _recall(self, question: Question) -> Decision | None:
        turn = question.turn
        state = self._state(turn.next_state_key)
        known = state.recall(question.key) if state is not None else None
        if known is not None:
            return known
        if turn.kind is Kind.BACKGROUND:
            return self._background(question)
        if state is not None and _under_way(state, question) is not None:
            return self._keep(question, self._going_on(question, state))
        if turn.prompt:
            return None
        before = self._state(turn.state_key)
        if turn.kind is Kind.TOOL_LOOP and _has_model(before):
            # The client folded its prompt into a summary, and its turn goes on.
            return self._keep(question, self._going_on(question, before))
        return self._default(question, turn.reason or "No person's text was found in this request.")

    def _background(self, question: Question) -> Decision:
        turn, where, limits = question.turn, (question.catalog, question.policy), question.limits

        def make(state: SessionState | None) -> tuple[SessionState, Decision]:
            if turn.background != "permission":
                choice = choose_background(turn, *where, limits=limits)
            elif _has_model(state):
                # It judges the tool loop under way, which a lesser model must not wave through.
                choice = keep(turn, state, *where, limits=limits)
            else:
                choice = choose_default(turn, *where, _UNSEEN, limits=limits)
            # The session learns nothing from it but the answer itself.
            return state or SessionState(), self._decision(question, choice)

        return self._keep(question, make)

    def _settle(self, question: Question, assessment: Assessment) -> Decision:
        turn, policy = question.turn, question.policy
        before = self._before(turn)
        parent_key = _parent_key(turn)
        parent = self._state(parent_key)

        def make(state: SessionState | None) -> tuple[SessionState, Decision]:
            under_way = _under_way(state, question)
            if under_way is not None:
                return self._go_on(question, under_way)  # another request of this turn was faster
            base, now = before(state), self._clock()
            choice = choose(
                turn, assessment, base, question.catalog, policy, limits=question.limits, parent=parent, now=now
            )
            decision = self._decision(question, choice, assessment)
            begun = (base or SessionState(parent=parent_key or None)).began(
                turn, decision, policy.stage(assessment), now
            )
            return _answered_before(begun, state), decision

        return self._keep(question, make)

    def _going_on(self, question: Question, state: SessionState) -> _Make:
        def make(now: SessionState | None) -> tuple[SessionState, Decision]:
            base = now or state
            if base.turn_key == state.turn_key:
                return self._go_on(question, _under_way(base, question) or base)
            # The person went on to another turn meanwhile: this one still ends on the model it began with.
            return base, self._go_on(question, _under_way(state, question) or state)[1]

        return make

    def _go_on(self, question: Question, state: SessionState) -> tuple[SessionState, Decision]:
        choice = keep(question.turn, state, question.catalog, question.policy, limits=question.limits)
        decision = self._decision(question, choice, state.assessment)
        return state.went_on(question.turn, decision, self._clock()), decision

    def _failed(self, question: Question, error: Exception) -> Decision:
        self.n_failures += 1
        if self.on_failure is not None:
            self.on_failure(error)
        return self._default(question, f"The classifier failed ({type(error).__name__}): the safe default.")

    def _default(self, question: Question, reason: str) -> Decision:
        turn = question.turn
        choice = choose_default(turn, question.catalog, question.policy, reason, limits=question.limits)
        before = self._before(turn)

        def make(state: SessionState | None) -> tuple[SessionState, Decision]:
            decision = self._decision(question, choice)
            base = before(state) or SessionState()
            if turn.prompt or turn.n_images or turn.n_documents:
                # A turn all the same: its tool loop must find the model that began it.
                base = base.began(turn, decision, "follow", self._clock())
            return _answered_before(base, state), decision

        return self._keep(question, make)

    def _before(self, turn: Turn) -> Callable[[SessionState | None], SessionState | None]:
        """Return what tells the session's state before a turn from the state found under its next key."""
        if turn.state_key == turn.next_state_key:
            return lambda state: state
        found = self._state(turn.state_key)
        return lambda _: found

    def _keep(self, question: Question, make: _Make) -> Decision:
        """Make a decision and remember it, unless the same request was answered meanwhile."""
        key = question.turn.next_state_key
        if not key:
            return make(None)[1]

        def change(state: SessionState | None) -> tuple[SessionState, Decision]:
            known = state.recall(question.key) if state is not None else None
            if state is not None and known is not None:
                return state, known
            changed, decision = make(state)
            return changed.remember(question.key, decision), decision

        return self.sessions.update(key, change)

    def _state(self, key: str) -> SessionState | None:
        return self.sessions.get(key) if key else None

    def _question(self, turn: Turn, asking: Asking, started: float | None = None) -> Question:
        spent = self.spent() if self.spent is not None else None
        canary = self.canary
        challenger = None if canary is None else canary.choose(turn, asking.caller)
        champion = self._assessor
        promises = promises_of(_risk_bounds(challenger or champion))
        return make_question(
            turn, asking, self._rules, promises=promises, spent=spent, started=started, assessors=(champion, challenger)
        )

    def _decision(self, question: Question, choice: Choice, assessment: Assessment | None = None) -> Decision:
        turn = question.turn
        total_ms = _ms_since(question.started)
        decide_ms = max(0.0, total_ms - sum(question.latency_ms.values()))
        return Decision(
            model=choice.model,
            provider=choice.provider,
            fallbacks=choice.fallbacks,
            decision_id=_decision_id(turn, question.key),
            kind=turn.kind,
            assessment=assessment,
            context_tokens=turn.context_tokens,
            expected_cost=choice.expected_cost,
            reasons=(*choice.reasons, *sentences(question.notes)),
            sticky=choice.sticky,
            # Of what assessed the turn, which a newer bundle may have replaced meanwhile.
            model_version=self.model_version if assessment is None else assessment.model_version,
            policy_version=question.policy.version,
            session_id=turn.session_id,
            agent_id=turn.agent_id,
            turn_key=turn.key,
            latency_ms={**question.latency_ms, "decide": decide_ms, "total": total_ms},
            effort=choice.effort,
            excluded=choice.excluded,
            stakes=choice.stakes,
            codes=tuple(dict.fromkeys((*choice.codes, *codes(question.notes)))),
            limits=question.limits,
            catalog_version=question.catalog.version,
        )


_UNSEEN: Final = "A check of a tool call whose turn was not seen: the safe default."
_CANARY: Final = Note("canary", "Assessed by the challenger, which decides a share of the turns.")


def _risk_bounds(assessor: Assessor) -> tuple[RiskBound, ...]:
    # An assessor of one's own need not have any.
    return getattr(assessor, "risk_bounds", ())


def _answered_before(begun: SessionState, state: SessionState | None) -> SessionState:
    """Return the new state with the answers kept under its key, which may not be the key of the state it grew from."""
    recent = () if state is None else state.recent
    return begun if begun.recent is recent else replace(begun, recent=recent)


def _under_way(state: SessionState | None, question: Question) -> SessionState | None:
    """Return the state as the question's turn left it; None where the turn is not known."""
    turn = question.turn
    if not _has_model(state):
        return None
    if turn.session_id is None and not turn.state_key:
        # The words may be another person's. A tool loop was begun by whoever sends it: likeliest under the same wishes.
        if turn.kind is not Kind.TOOL_LOOP:
            return None
        return state.at(turn.key, question.is_asked_like) or state.at(turn.key)
    has_words = bool(turn.prompt or turn.n_images or turn.n_documents)
    # What cannot be read begins no turn, so there is none of it to go on with.
    return state.at(turn.key) if has_words or state.turn_key == turn.key else None


def _has_model(state: SessionState | None) -> TypeGuard[SessionState]:
    return state is not None and state.model is not None


def _parent_key(turn: Turn) -> str:
    """Return the key of the session a subagent works for; empty for everyone else."""
    own = turn.session_id is None or turn.state_key in ("", turn.session_id)
    return "" if own else str(turn.session_id)


def _decision_id(turn: Turn, key: str) -> str:
    """Name a decision: by its request where the client names its session, so that a restart changes nothing."""
    if turn.session_id is None or not key or not turn.state_key:
        return uuid.uuid4().hex
    return hash_parts("decision", turn.state_key, turn.agent_id or "", key)


def _may_be_digest(body: bytes | bytearray | str) -> bool:
    return '"prompt"' in body if isinstance(body, str) else b'"prompt"' in body


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1000
