"""Writes records off the hot path: one thread, one bounded queue, one transaction per batch.

Decisions are handed over and forgotten; what cannot be kept is counted and logged, never dropped in silence.
Feedback waits for its commit. It goes through the same queue, so a decision handed over before its feedback is
always found. While the database is away decisions go to the spool (`spool.py`), in memory where there is none or it is
full, and feedback is refused; once it is back the spool drains between the batches. Where text is stored, it is masked
here, before anything else sees it.
"""

import logging
import queue
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Final

from pointsman.classifier.errors import InputError
from pointsman.classifier.records import DecisionRecord, FeedbackRecord

from .errors import StoreUnavailableError
from .logs import log_failure
from .spool import SPOOL_FAILURES, Spool
from .store import Store, Written
from .stored_text import TextKeeper, without_text
from .telemetry import (
    FEEDBACK,
    RECORDS_LOST,
    RECORDS_SPOOLED,
    RECORDS_WAITING,
    RECORDS_WRITTEN,
    SPOOL_FAILED,
    SPOOL_RECORDS,
    STORE_FAILURES,
    STORE_UP,
    Telemetry,
)

logger = logging.getLogger(__name__)

_BATCH_SIZE: Final = 200
# A transaction costs 0.6 ms of processor time beside its fsync, a row in it 0.07 ms (SQLite, 2026-11-23): waiting for
# company keeps this thread off the interpreter while the answer that caused the record goes out. A kill loses it.
_LINGER_S: Final = 0.1
_N_REMEMBERED_IDS: Final = 20_000
_FIRST_PAUSE_S: Final = 0.1
# Also how late a stop may be noticed while the database is away.
_LONGEST_PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Given:
    """Feedback in wait, with the future that its request awaits."""

    record: FeedbackRecord
    committed: "Future[None]"


_Item = DecisionRecord | _Given | None


@dataclass(slots=True)
class _Batch:
    decisions: list[DecisionRecord] = field(default_factory=list)
    feedback: list[_Given] = field(default_factory=list)
    is_last: bool = False

    def add(self, item: _Item) -> None:
        if item is None:
            self.is_last = True
        elif isinstance(item, _Given):
            self.feedback.append(item)
        else:
            self.decisions.append(item)

    def __len__(self) -> int:
        return len(self.decisions) + len(self.feedback)

    def refuse_feedback(self, error: Exception) -> None:
        for given in self.feedback:
            given.committed.set_exception(error)
        self.feedback = []

    def split(self) -> "list[_Batch]":
        """Empty this batch into batches of one, decisions first."""
        parts = [_Batch(decisions=[record]) for record in self.decisions]
        parts += [_Batch(feedback=[given]) for given in self.feedback]
        self.decisions, self.feedback = [], []
        return parts


class Recorder:
    """Takes records from the event loop and hands them to the store in its own thread."""

    def __init__(
        self,
        store: Store,
        telemetry: Telemetry,
        *,
        max_queued: int,
        spool: Spool | None = None,
        keeper: TextKeeper | None = None,
    ) -> None:
        self._store, self._telemetry, self._spool, self._keeper = store, telemetry, spool, keeper
        self._queue: queue.Queue[_Item] = queue.Queue(maxsize=max_queued)
        # Decisions not yet committed, for readers, without text until it is masked; and ids already taken, so that a
        # retry costs no transaction.
        self._waiting: dict[str, DecisionRecord] = {}
        self._taken: OrderedDict[str, None] = OrderedDict()
        # Somebody waits for what is queued: feedback is answered once it is committed, and a stop is not put off.
        self._is_awaited = threading.Event()
        self._deadline = float("inf")
        # After a failure the database is left alone until then, a little longer each time.
        self._away_until = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._thread = threading.Thread(target=self._run, name="pointsman-recorder", daemon=True)

    def start(self) -> None:
        """Begin to write, what an earlier process left in the spool too."""
        self._telemetry.observe(SPOOL_RECORDS, self._n_spooled())
        self._thread.start()

    def submit(self, record: DecisionRecord) -> None:
        """Queue a decision; one whose id was queued before is already recorded."""
        if record.decision_id in self._taken:
            return
        self._waiting[record.decision_id] = without_text(record)
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._waiting.pop(record.decision_id, None)
            self._lose(1, "queue_full")
            return
        self._taken[record.decision_id] = None
        if len(self._taken) > _N_REMEMBERED_IDS:
            self._taken.popitem(last=False)
        self._telemetry.observe(RECORDS_WAITING, self._queue.qsize())

    def submit_feedback(self, record: FeedbackRecord) -> "Future[None]":
        """Queue feedback; the future ends when it is committed, or with the reason why it is not."""
        given = _Given(record, Future())
        try:
            self._queue.put_nowait(given)
            self._is_awaited.set()
        except queue.Full:
            given.committed.set_exception(StoreUnavailableError("The record store is behind. Try again in a moment."))
        return given.committed

    def waiting(self, decision_id: str) -> DecisionRecord | None:
        """Return a decision that is not committed yet and in memory."""
        return self._waiting.get(decision_id)

    def last_waiting(self, session_id: str) -> str | None:
        """Return the id of a session's last decision that is not committed yet and in memory."""
        records = reversed(list(self._waiting.values()))
        return next((record.decision_id for record in records if record.session_id == session_id), None)

    def spooled(self, decision_id: str) -> DecisionRecord | None:
        """Return a decision that is not committed yet and on the disk; blocks."""
        return next(iter(self._find_spooled([decision_id])), None)

    def require_running(self) -> None:
        """Raise `StoreUnavailableError` when nobody writes what is queued."""
        if not self._thread.is_alive():
            raise StoreUnavailableError("The thread that writes records has ended. Restart the service.")

    def stop(self, timeout_s: float) -> None:
        """Write what is queued, for at most this long; what is left goes to the spool."""
        self._deadline = time.monotonic() + timeout_s
        try:
            self._queue.put(None, timeout=timeout_s)
            self._is_awaited.set()
        except queue.Full:
            logger.error("record queue is still full at shutdown")
        self._thread.join(max(0.0, self._deadline - time.monotonic()) + 1.0)
        left = self._set_aside(list(self._waiting.values()))
        self._lose(len(left), "shutdown")
        if self._spool is not None and not self._thread.is_alive():
            self._spool.close()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            batch = self._next_batch()
            is_last = batch.is_last
            self._take_care_of(batch)
            if not is_last:
                self._drain_some()
            self._telemetry.observe(RECORDS_WAITING, self._queue.qsize())

    def _next_batch(self) -> _Batch:
        batch = _Batch()
        try:
            batch.add(self._fit(self._queue.get(timeout=self._longest_idle_s())))
        except queue.Empty:
            return batch
        if batch.decisions:
            self._is_awaited.wait(_LINGER_S)
        self._is_awaited.clear()
        while len(batch) < _BATCH_SIZE and not batch.is_last:
            try:
                batch.add(self._fit(self._queue.get_nowait()))
            except queue.Empty:
                break
        batch.feedback = [given for given in batch.feedback if given.committed.set_running_or_notify_cancel()]
        return batch

    def _fit(self, item: _Item) -> _Item:
        """Return a record with what may be kept of its text: nothing without a keeper, or where masking fails."""
        if isinstance(item, _Given):
            return item if item.record.comment is None else replace(item, record=self._fit_feedback(item.record))
        if item is None or item.prompt is None:
            return item
        record = without_text(item)
        if self._keeper is not None:
            try:
                record = self._keeper.decision(item)
            except Exception as exc:
                log_failure(exc)
        self._waiting[record.decision_id] = record
        return record

    def _fit_feedback(self, record: FeedbackRecord) -> FeedbackRecord:
        if self._keeper is not None:
            try:
                return self._keeper.feedback(record)
            except Exception as exc:
                log_failure(exc)
        return replace(record, comment=None)

    def _longest_idle_s(self) -> float | None:
        """Return how long to wait for a record before the spool is looked at; None while it is empty."""
        return max(0.0, self._away_until - time.monotonic()) if self._n_spooled() else None

    def _take_care_of(self, batch: _Batch) -> None:
        """Write a batch, or put its decisions aside and refuse its feedback."""
        # Feedback may be on a decision that is still in the spool; it is written along, and drained later to no effect.
        batch.decisions[:0] = self._find_spooled([given.record.decision_id for given in batch.feedback])
        while batch:
            if self._is_left_alone():
                batch.refuse_feedback(_away())
            elif self._write(batch):
                return
            batch.decisions = self._set_aside(batch.decisions)
            if batch.decisions:
                pause_s = max(0.0, self._away_until - time.monotonic())
                if time.monotonic() + pause_s > self._deadline:
                    return
                time.sleep(pause_s)

    def _is_left_alone(self) -> bool:
        # Without a spool the records have nowhere else to go; `_take_care_of` makes the pause itself.
        return self._spool is not None and time.monotonic() < self._away_until

    def _write(self, batch: _Batch) -> bool:
        """Write a batch; False, with its feedback refused, when the database is away."""
        try:
            written = self._store.append(batch.decisions, [given.record for given in batch.feedback])
        except StoreUnavailableError as exc:
            self._note_away(exc, len(batch.decisions))
            batch.refuse_feedback(exc)
            return False
        except Exception as exc:
            # One record that no database takes must not stop the thread, nor cost the rest of its batch.
            if len(batch) == 1:
                self._reject(batch, exc)
                return True
            for part in batch.split():
                if not self._write(part):
                    batch.decisions += part.decisions
            return not batch.decisions
        self._finish(batch, written)
        return True

    def _note_away(self, exc: StoreUnavailableError, n_decisions: int) -> None:
        self._telemetry.observe(STORE_FAILURES)
        self._telemetry.observe(STORE_UP, 0)
        logger.warning("records not written", extra={"cause": str(exc), "n_decisions": n_decisions})
        self._away_until = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _set_aside(self, decisions: list[DecisionRecord]) -> list[DecisionRecord]:
        """Put decisions into the spool; return those that it did not take."""
        if self._spool is None or not decisions:
            return decisions
        try:
            n_taken = self._spool.add(decisions)
        except SPOOL_FAILURES as exc:
            self._note_spool(exc)
            return decisions
        for record in decisions[:n_taken]:
            self._waiting.pop(record.decision_id, None)
        self._telemetry.observe(RECORDS_SPOOLED, n_taken)
        self._telemetry.observe(SPOOL_RECORDS, self._n_spooled())
        if n_taken < len(decisions):
            logger.error("the spool is full", extra={"spool": str(self._spool.path), "n_records": self._n_spooled()})
        return decisions[n_taken:]

    def _drain_some(self) -> None:
        """Write the oldest of the spool, unless the database is away."""
        if self._spool is None or not len(self._spool) or self._is_left_alone():
            return
        try:
            found = self._spool.oldest(_BATCH_SIZE)
            readable = [record for record in found.values() if record is not None]
            self._lose(len(found) - len(readable), "unreadable")
            if self._write(_Batch(decisions=readable)):
                self._spool.remove(list(found))
                self._telemetry.observe(SPOOL_RECORDS, self._n_spooled())
                if not self._n_spooled():
                    logger.info("the spool is drained")
        except SPOOL_FAILURES as exc:
            self._note_spool(exc)
            # Its rows stay; without a pause this thread would ask for them again at once.
            time.sleep(_LONGEST_PAUSE_S)

    def _find_spooled(self, decision_ids: list[str]) -> list[DecisionRecord]:
        if not decision_ids or self._spool is None or not len(self._spool):
            return []
        try:
            return self._spool.find(decision_ids)
        except SPOOL_FAILURES as exc:
            self._note_spool(exc)
            return []

    def _n_spooled(self) -> int:
        return 0 if self._spool is None else len(self._spool)

    def _note_spool(self, exc: Exception) -> None:
        self._telemetry.observe(SPOOL_FAILED)
        logger.error("the spool failed", extra={"error": type(exc).__name__, "cause": str(exc)})

    def _finish(self, batch: _Batch, written: Written) -> None:
        self._pause_s, self._away_until = _FIRST_PAUSE_S, 0.0
        self._telemetry.observe(STORE_UP, 1)
        refused = {id(refusal.record): refusal.error for refusal in written.refused}
        for record in batch.decisions:
            self._waiting.pop(record.decision_id, None)
        self._telemetry.observe(RECORDS_WRITTEN, written.n_decisions, table="decisions")
        self._telemetry.observe(RECORDS_WRITTEN, written.n_feedback, table="feedback")
        for given in batch.feedback:
            error = refused.get(id(given.record))
            if error is None:
                self._telemetry.observe(FEEDBACK, outcome=given.record.outcome)
                given.committed.set_result(None)
            else:
                given.committed.set_exception(error)
        batch.decisions, batch.feedback = [], []

    def _reject(self, batch: _Batch, exc: Exception) -> None:
        logger.error("record cannot be written", extra={"error": type(exc).__name__})
        for record in batch.decisions:
            self._waiting.pop(record.decision_id, None)
        self._lose(len(batch.decisions), "unwritable")
        batch.decisions = []
        batch.refuse_feedback(InputError("The record store cannot hold this feedback."))

    def _lose(self, n_records: int, cause: str) -> None:
        if n_records:
            self._telemetry.observe(RECORDS_LOST, n_records, cause=cause)
            logger.error("decision records lost", extra={"n_records": n_records, "cause": cause})


def _away() -> StoreUnavailableError:
    return StoreUnavailableError("The record store is away. Send the feedback again in a moment.")
