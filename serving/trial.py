"""A challenger on live traffic: in the shadow it assesses turns and decides nothing, as a canary it decides a share.

The shadow has a thread of its own with a bounded queue, at a lower priority where the system lets a thread have one: an
answer never waits for it, and turns that it cannot keep up with are dropped and counted.
"""

import contextlib
import logging
import os
import queue
import random
import sys
import threading
from collections import Counter
from time import perf_counter
from typing import Any, Final

from pointsman.classifier.aliases import Challenger
from pointsman.classifier.assessment import Assessment, Decision, Turn
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.identity import hash_parts
from pointsman.classifier.labels import HEADS
from pointsman.classifier.limits import Caller, Limits
from pointsman.classifier.risk_bound import promises_of

from .telemetry import (
    CANARY_FAILURES,
    SHADOW_AGREEMENTS,
    SHADOW_ASSESSED,
    SHADOW_CARE_DISAGREEMENTS,
    SHADOW_DROPPED,
    SHADOW_FAILURES,
    SHADOW_SECONDS,
    Telemetry,
)

logger = logging.getLogger(__name__)

#: Turns in wait: a burst of a second or two.
_MAX_QUEUED: Final = 64
#: Where a bundle promises nothing, a turn above this care probability counts as one that needs care.
_CARE: Final = 0.5
#: Added to the thread's niceness on Linux, where each thread has its own.
_NICER: Final = 10

_Seen = tuple[Turn, Assessment, Limits]


class Trial:
    """One challenger, tried until it is stopped; how it is tried may change meanwhile."""

    def __init__(self, assessor: Assessor, how: Challenger, telemetry: Telemetry) -> None:
        self.assessor, self.how = assessor, how
        self._telemetry = telemetry
        self._queue: queue.Queue[_Seen | None] = queue.Queue(_MAX_QUEUED)
        self._counts: Counter[str] = Counter()
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="pointsman-shadow", daemon=True)
        self._thread.start()

    def choose(self, turn: Turn, caller: Caller) -> Assessor | None:
        """Return the challenger where it decides: by key, or by a share of the sessions, each of them whole."""
        how = self.how
        if not turn.prompt or self._is_stopped:
            return None
        if caller.key_id is not None and caller.key_id in how.canary_keys:
            return self.assessor
        if not how.canary_share:
            return None
        session = turn.session_id or turn.state_key or turn.key
        place = int(hash_parts("canary", how.pointer.digest, session)[:13], 16) / 16**13
        return self.assessor if place < how.canary_share else None

    def note_failure(self, error: Exception) -> None:
        """Count a turn that the challenger could not assess; the champion did."""
        self._counts["n_canary_failures"] += 1
        self._telemetry.observe(CANARY_FAILURES)
        logger.error("challenger failed", extra={"error": type(error).__name__})

    def offer(self, turn: Turn, decision: Decision, assessment: Assessment) -> None:
        """Hand over a turn that was decided with an assessment of its own; never waits."""
        if "canary" in decision.codes:
            self._counts["n_canary"] += 1
            return
        if not self.how.shadow_share or random.random() >= self.how.shadow_share:  # noqa: S311  a sample, no secret
            return
        try:
            self._queue.put_nowait((turn, assessment, decision.limits))
        except queue.Full:
            self._counts["n_dropped"] += 1
            self._telemetry.observe(SHADOW_DROPPED)

    def describe(self) -> dict[str, Any]:
        """Return what is tried, how, and how it compares."""
        how, counts = self.how, Counter(self._counts)
        n_assessed = counts["n_assessed"]
        return {
            "version": how.pointer.version,
            "digest": how.pointer.digest,
            "shadow_share": how.shadow_share,
            "canary_share": how.canary_share,
            "canary_keys": list(how.canary_keys),
            **{name: counts[name] for name in _COUNTS},
            "agreement": {head: counts[head] / n_assessed if n_assessed else None for head in HEADS},
            "care": {name: counts[f"care_{name}"] for name in ("raised", "lowered")},
        }

    def stop(self) -> None:
        """End the trial; what waits is dropped."""
        self._is_stopped = True
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def join(self, timeout_s: float) -> None:
        """Wait for the thread to end after a stop."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        _be_nice()
        while True:
            seen = self._queue.get()
            if seen is None or self._is_stopped:
                return
            started = perf_counter()
            try:
                (assessment,) = self.assessor.assess([seen[0]])
                self._telemetry.observe(SHADOW_SECONDS, perf_counter() - started)
                self._compare(seen[1], assessment, seen[2])
            except Exception as exc:
                self._counts["n_failed"] += 1
                self._telemetry.observe(SHADOW_FAILURES)
                logger.warning("challenger failed in the shadow", extra={"error": type(exc).__name__})

    def _compare(self, served: Assessment, shadow: Assessment, limits: Limits) -> None:
        self._counts["n_assessed"] += 1
        self._telemetry.observe(SHADOW_ASSESSED)
        for head in HEADS:
            if getattr(served, head).label == getattr(shadow, head).label:
                self._counts[head] += 1
                self._telemetry.observe(SHADOW_AGREEMENTS, head=head)
        theirs, own = limits.care_threshold, None
        if theirs is not None:
            # The same promise, kept by the challenger's own threshold.
            share = next((share for share, threshold in limits.promises if threshold == theirs), 0.0)
            own = limits.keeping(promises_of(self.assessor.risk_bounds), share).care_threshold
        before = served.care_probability > (_CARE if theirs is None else theirs)
        after = shadow.care_probability > (_CARE if own is None else own)
        if before != after:
            direction = "raised" if after else "lowered"
            self._counts[f"care_{direction}"] += 1
            self._telemetry.observe(SHADOW_CARE_DISAGREEMENTS, direction=direction)


_COUNTS: Final = ("n_assessed", "n_dropped", "n_failed", "n_canary", "n_canary_failures")


def _be_nice() -> None:
    """Let the threads that answer go first."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICER)
