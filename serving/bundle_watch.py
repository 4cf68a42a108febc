"""Takes up a new champion while requests are answered: verified, warmed up beside the old one, then swapped at once.

A bundle that is damaged, fails on a text, or takes much longer than the one that serves never gets in. It is looked at
again after a while, since a copy may be under way or the machine busy; what is wrong is said once, and shown in `/info`
and `/readyz` until another bundle is named. A challenger that is named is verified and warmed up the same way.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from starlette.concurrency import run_in_threadpool

from pointsman.classifier.assessment import Decision, Message, Turn
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.errors import BundleError, InferenceError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.records import utc_now
from pointsman.classifier.router import Router

from .bundle_files import FilesWatch
from .heap import give_back
from .live_model import digest_of
from .model_source import ModelSource, Named
from .settings import Settings
from .telemetry import BUNDLE_REFUSED, BUNDLE_SWAPS, Telemetry
from .trial import Trial

logger = logging.getLogger(__name__)

#: Wait before a bundle that was refused is tried again.
_RETRY_S: Final = 60.0
#: What a new bundle is warmed up and timed with: short, of usual length, and long with messages before it.
_WARM_UP: Final = (
    Turn("fix the typo in the README"),
    Turn("Fix the race condition in our payment webhook handler; two workers take the same event. " * 2),
    Turn(
        "still fails with the same error, see the log above",
        context=(Message("user", "run the migration " * 20), Message("assistant", "Done, the tests pass. " * 20)),
    ),
)
_N_ROUNDS: Final = 5

_Alias = Literal["champion", "challenger"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A bundle that was not taken, why, and when it is looked at again."""

    digest: str
    problem: str
    at: str
    retry_at: float


class BundleWatch:
    """Keeps a router's bundle, and its challenger, as the source names them."""

    def __init__(
        self,
        router: Router,
        source: ModelSource,
        telemetry: Telemetry,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router, self._source, self._telemetry, self._settings = router, source, telemetry, settings
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: dict[_Alias, Refusal] = {}
        self._since = utc_now()
        self._files = FilesWatch(router, telemetry)
        self.trial: Trial | None = None

    async def run(self) -> None:
        """Look for another bundle, and at the files of the one that serves, until cancelled."""
        looks = [self.look, self._files.look] if self._source.is_watched else [self._files.look]
        while self._settings.reload_s:
            for look in looks:
                try:
                    await run_in_threadpool(look)
                except Exception:
                    logger.exception("looking at bundles failed")
            await asyncio.sleep(self._settings.reload_s)

    def look(self) -> bool:
        """Take up what the source names now; say whether another champion serves."""
        with self._lock:
            swapped = self._look_for_champion()
            self._look_for_challenger()
            self._telemetry.observe(BUNDLE_REFUSED, float("champion" in self._refused))
            if swapped:
                give_back()
            return swapped

    def describe(self) -> dict[str, Any]:
        """Return since when the bundle serves, its files, what was refused and why, and how the challenger does."""
        trial = self.trial
        refused = {
            alias: {"digest": found.digest or None, "problem": found.problem, "at": found.at}
            for alias, found in dict(self._refused).items()
        }
        return {
            "bundle": {"since": self._since, "refused": refused or None},
            "bundle_on_disk": self._files.state,
            "challenger": None if trial is None else trial.describe(),
        }

    def problem(self) -> str | None:
        """Return why the bundle that is named does not serve; None when it does."""
        found = self._refused.get("champion")
        return None if found is None else found.problem

    def offer(self, turn: Turn, decision: Decision) -> None:
        """Let the challenger, if there is one, assess a turn that was decided; never waits."""
        trial = self.trial
        if trial is not None and decision.assessment is not None:
            trial.offer(turn, decision, decision.assessment)

    def stop(self) -> None:
        """End the trial of the challenger."""
        if self.trial is not None:
            self.trial.stop()
            self.trial.join(2.0)

    def _look_for_champion(self) -> bool:
        present = digest_of(self._router)
        try:
            named = self._source.champion()
        except BundleError as exc:
            self._refuse("champion", "", exc)
            return False
        if named.digest == present:
            self._refused.pop("champion", None)
            return False
        assessor = self._open("champion", named)
        if assessor is None:
            return False
        # One assignment: a request under way ends on the bundle it began with.
        self._router.use(assessor=assessor)
        self._since = utc_now()
        self._refused.pop("champion", None)
        self._telemetry.observe(BUNDLE_SWAPS, outcome="taken_up")
        logger.info("bundle taken up", extra={"model": assessor.version, "digest": named.digest[:12]})
        return True

    def _look_for_challenger(self) -> None:
        try:
            found = self._source.challenger()
        except BundleError as exc:
            self._refuse("challenger", "", exc)
            return
        trial = self.trial
        if found is None or found[0].digest == digest_of(self._router):
            self._refused.pop("challenger", None)
            self._try_out(None)
            return
        named, how = found
        if trial is not None and trial.how.pointer.digest == named.digest:
            trial.how = how
            self._refused.pop("challenger", None)
            return
        assessor = self._open("challenger", named)
        if assessor is not None:
            self._refused.pop("challenger", None)
            self._try_out(Trial(assessor, how, self._telemetry))
            logger.info("challenger is tried", extra={"model": assessor.version, "digest": named.digest[:12]})
        else:
            self._try_out(None)

    def _try_out(self, trial: Trial | None) -> None:
        old, self.trial = self.trial, trial
        self._router.canary = trial
        if old is not None:
            old.stop()

    def _open(self, alias: _Alias, named: Named) -> Assessor | None:
        """Return a bundle that is verified and warm, or None when it is refused."""
        before = self._refused.get(alias)
        if before is not None and before.digest == named.digest and self._clock() < before.retry_at:
            return None
        try:
            assessor = self._source.load(named, n_threads=self._settings.n_threads)
            check(assessor, self._router, max_slowdown=self._settings.max_bundle_slowdown)
        except (BundleError, InferenceError) as exc:
            self._refuse(alias, named.digest, exc)
            return None
        except Exception as exc:
            # Whatever a file of a bundle does to a library: the bundle that serves goes on.
            self._refuse(alias, named.digest, InferenceError(f"it cannot be used ({type(exc).__name__})."))
            return None
        return assessor

    def _refuse(self, alias: _Alias, digest: str, exc: Exception) -> None:
        before = self._refused.get(alias)
        retry_at = self._clock() + _RETRY_S
        if before is not None and (before.digest, before.problem) == (digest, str(exc)):
            self._refused[alias] = replace(before, retry_at=retry_at)
            return
        self._refused[alias] = Refusal(digest, str(exc), utc_now(), retry_at)
        self._telemetry.observe(BUNDLE_SWAPS, outcome="refused")
        logger.error("bundle refused, the old one serves on", extra={"alias": alias, "problem": str(exc)})


def check(assessor: Assessor, router: Router, *, max_slowdown: float) -> None:
    """Warm a bundle up, text by text in turns with the one that serves, and refuse one that fails or is slow.

    Raises
    ------
    BundleError
        It takes too long, or gives no probabilities.
    InferenceError
        It failed on a text.
    """
    own, other = [], []
    for turn in _WARM_UP * _N_ROUNDS:
        own.append(_timed(assessor.assess, turn))
        other.append(_timed(router.classify, turn))
    # The fastest round of each text: neighbours on the machine slow down single rounds.
    new_s, old_s = (float(np.reshape(times, (_N_ROUNDS, -1)).min(axis=0).sum()) for times in (own, other))
    if new_s > max_slowdown * old_s:
        msg = (
            f"bundle '{assessor.version}' takes {new_s / old_s:.1f} times as long as the one that serves; "
            f"{max_slowdown:g} times are allowed (POINTSMAN_MAX_BUNDLE_SLOWDOWN)."
        )
        raise BundleError(msg)


def _timed(assess: Callable[[list[Turn]], list[Any]], turn: Turn) -> float:
    started = time.perf_counter()
    (assessment,) = assess([turn])
    elapsed = time.perf_counter() - started
    for head in HEADS:
        if not np.isfinite(getattr(assessment, head).probabilities).all():
            msg = f"a bundle gives no probabilities for head '{head}'; expected numbers from 0 to 1. Train it again."
            raise BundleError(msg)
    return elapsed
