"""From a question to an answer that always comes: recalled, inferred, or the safe default with its cause.

Recalled answers are given on the event loop. An inference has a bounded queue and a deadline. The same request
asked twice at once is inferred once, so both get one decision.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Final, Literal

from pointsman.classifier.assessment import Decision, Turn
from pointsman.classifier.records import DecisionRecord, utc_now

from .bodies import BodyRoom
from .bundle_watch import BundleWatch
from .errors import OverloadedError, PayloadTooLargeError
from .live_model import LiveModel
from .logs import Repeated, log_failure
from .questions import Delivery, Question, read_question
from .recorder import Recorder
from .settings import Settings
from .spending import Spending
from .telemetry import SAFE_DEFAULTS, Telemetry

logger = logging.getLogger(__name__)

Source = Literal["recalled", "inferred", "safe_default"]

_BUSY: Final = "The service has too many requests in wait, so the safe default was taken."
_LATE: Final = "The classifier did not answer in time, so the safe default was taken."
_FAILED: Final = "The classifier failed on this request, so the safe default was taken."
# Why a request was not read at all.
_UNREAD_CAUSES: Final = {_BUSY: "overloaded", _LATE: "timeout"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision and where it came from; `latency_ms` are the parts of what was done for this very answer."""

    decision: Decision
    source: Source
    latency_ms: Mapping[str, float] = field(default_factory=dict)


class Decider:
    """Answers questions with the live model, records and counts each answer."""

    def __init__(
        self,
        model: LiveModel,
        recorder: Recorder,
        telemetry: Telemetry,
        settings: Settings,
        spending: Spending,
        watch: BundleWatch,
    ) -> None:
        self._watch = watch
        self._model, self._recorder, self._telemetry, self._settings = model, recorder, telemetry, settings
        self._spending = spending
        self._warnings = Repeated(logger, "safe default given")
        #: For the bodies of questions.
        self.room = BodyRoom(settings.max_held_bytes, telemetry)
        self._running: dict[tuple[object, ...], asyncio.Future[Decision]] = {}

    async def answer(self, delivery: Delivery) -> Answer:
        """Decide one request; raises `PayloadTooLargeError` alone."""
        started = perf_counter()
        question = await self._read(delivery)
        read_ms = _ms_since(started)
        answer = self._recall(question) or await self._infer(question)
        latency_ms = {"read": read_ms, **answer.latency_ms, "total": _ms_since(started)}
        decision = answer.decision
        if question.notes:
            noted = (*decision.codes, "asking_ignored")
            decision = replace(decision, reasons=decision.reasons + question.notes, codes=noted)
        decision = replace(decision, decision_id=delivery.decision_id or decision.decision_id, latency_ms=latency_ms)
        if delivery.keep != "nothing":
            self._note(question, decision, answer.source, may_keep_text=delivery.keep == "all")
        return Answer(decision, answer.source)

    def answer_unread(self) -> Answer:
        """Give the safe default to a request that there is no room to read."""
        question = Question(Turn(prompt="", reason=_BUSY))
        answer = self._default(question, _BUSY, cause="no_room")
        decision = replace(answer.decision, latency_ms={"total": 0.0})
        self._note(question, decision, answer.source, may_keep_text=False)
        return Answer(decision, answer.source)

    async def _read(self, delivery: Delivery) -> Question:
        def read() -> Question:
            return read_question(self._model.router, delivery, limit_bytes=self._settings.max_body_bytes)

        # A packed body is as large as it likes.
        is_large = len(delivery.body) > self._settings.worker_read_bytes or "content-encoding" in delivery.headers
        try:
            if not is_large:
                return read()
            reading = self._model.read(read, max_waiting=self._settings.max_queued_decisions)
            return await asyncio.wait_for(reading, self._settings.decide_timeout_s)
        except PayloadTooLargeError:
            raise
        except OverloadedError:
            return Question(Turn(prompt="", reason=_BUSY))
        except TimeoutError:
            return Question(Turn(prompt="", reason=_LATE))
        except Exception as exc:
            log_failure(exc)
            return Question(Turn(prompt="", reason=_FAILED))

    def _recall(self, question: Question) -> Answer | None:
        turn = question.turn
        try:
            decision = self._model.router.recall(
                turn, models=question.models, policy=question.policy, caller=question.caller
            )
        except Exception as exc:
            log_failure(exc)
            return self._default(question, _FAILED, cause="recall_failed")
        if decision is None:
            return None
        if turn.prompt or turn.reason is None or decision.sticky:
            return Answer(decision, "recalled")
        self._telemetry.observe(SAFE_DEFAULTS, cause=_UNREAD_CAUSES.get(turn.reason or "", "unreadable"))
        return Answer(decision, "safe_default")

    async def _infer(self, question: Question) -> Answer:
        started = perf_counter()
        try:
            running = self._shared(question)
            # Not cancelled at the deadline: others may wait for the same inference.
            await asyncio.wait((running,), timeout=self._settings.decide_timeout_s)
            if not running.done():
                raise TimeoutError
            decision = running.result()
        except OverloadedError:
            return self._default(question, _BUSY, cause="overloaded")
        except TimeoutError:
            return self._default(question, _LATE, cause="timeout")
        except Exception as exc:
            log_failure(exc)
            return self._default(question, _FAILED, cause="inference_failed")
        if decision.assessment is None:
            # The router met the failure first, and told `LiveModel`.
            return Answer(decision, "safe_default")
        parts = {part: ms for part, ms in decision.latency_ms.items() if part not in {"read", "total"}}
        queue_ms = max(0.0, _ms_since(started) - parts.get("classify", 0.0) - parts.get("decide", 0.0))
        return Answer(decision, "inferred", parts | {"queue": queue_ms})

    def _shared(self, question: Question) -> "asyncio.Future[Decision]":
        """Start the inference, or join the one that the same request started."""
        turn = question.turn
        key = (turn.next_state_key, turn.request_key, question.models, question.policy, question.caller)
        if key in self._running:
            return self._running[key]

        def decide() -> Decision:
            return self._model.router.decide_turn(
                turn, models=question.models, policy=question.policy, caller=question.caller
            )

        settings = self._settings
        running = self._model.infer(
            decide, max_waiting=settings.max_queued_decisions, max_wait_s=settings.max_expected_wait_s
        )
        if turn.next_state_key and turn.request_key:
            self._running[key] = running
            running.add_done_callback(lambda _: self._running.pop(key, None))
        return running

    def _default(self, question: Question, reason: str, *, cause: str) -> Answer:
        self._telemetry.observe(SAFE_DEFAULTS, cause=cause)
        self._warnings.warn(cause)
        router, turn = self._model.router, question.turn
        try:
            decision = router.default(
                turn, reason, models=question.models, policy=question.policy, caller=question.caller
            )
        except Exception as exc:
            # The sessions themselves fail: without keys nobody asks them.
            log_failure(exc)
            keyless = replace(turn, key="", request_key="", state_key="", next_state_key="")
            decision = router.default(keyless, reason, models=question.models)
        return Answer(decision, "safe_default")

    def _note(self, question: Question, decision: Decision, source: Source, *, may_keep_text: bool) -> None:
        self._telemetry.observe_decision(decision, source)
        if source == "inferred":
            self._spending.note(question.caller, decision)
            self._watch.offer(question.turn, decision)
        record = DecisionRecord.of(
            question.turn,
            decision,
            created_at=utc_now(),
            allowed=question.models,
            policy=question.policy,
            caller=question.caller,
        )
        self._recorder.submit(
            record.with_text(question.turn) if self._settings.store_text and may_keep_text else record
        )
        _log(decision, source)


def _log(decision: Decision, source: Source) -> None:
    if not logger.isEnabledFor(logging.INFO):
        return
    assessment = decision.assessment
    logger.info(
        "decided",
        extra={
            "decision_id": decision.decision_id,
            "kind": decision.kind.value,
            "model": decision.model,
            "category": assessment.category.label if assessment else None,
            "risk": assessment.risk.label if assessment else None,
            "source": source,
            "latency_ms": round(decision.latency_ms["total"], 2),
        },
    )


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1000
