"""The model that serves: loaded once, warmed up, run in one thread of its own.

The event loop never runs the graph. One inference at a time uses the threads it was given; what waits is
bounded, and beyond the bound callers are refused at once (`OverloadedError`).
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from statistics import median
from time import perf_counter
from typing import Any, Final, TypeVar

from pointsman.classifier.assessment import Turn
from pointsman.classifier.memory_sessions import MemorySessions
from pointsman.classifier.router import Router
from pointsman.classifier.session import SessionStore

from .errors import NotReadyError, OverloadedError
from .logs import log_failure
from .model_source import ModelSource
from .settings import Settings
from .telemetry import INFERENCES_WAITING, SAFE_DEFAULTS, SESSION_STORE_FAILURES, Telemetry

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")
#: So many of the last inferences say how long the next one takes; nothing is expected before half of them have been.
_REMEMBERED_TIMES: Final = 15


def open_router(settings: Settings) -> Router:
    """Load and verify what the settings name.

    Raises
    ------
    ClassifierError
        Bundle, catalogue or policy cannot be used; the message says where and what to do.
    """
    return Router.load(
        ModelSource.of(settings).usable(),
        catalog=settings.catalog,
        policy=settings.policy,
        sessions=open_sessions(settings),
        n_threads=settings.n_threads,
    )


def open_sessions(settings: Settings) -> SessionStore:
    """Return the session store that the settings name; nothing is connected to yet."""
    if settings.sessions_url is None:
        return MemorySessions(ttl_s=settings.session_ttl_s)
    from .redis_sessions import RedisSessions

    return RedisSessions(settings.sessions_url, ttl_s=settings.session_ttl_s)


def digest_of(router: Router) -> str | None:
    """Return the digest of the bundle that a router decides with; None when it decides with something else."""
    bundle = getattr(router.assessor, "bundle", None)
    return None if bundle is None else str(bundle.digest)


class LiveModel:
    """One router with its threads, its queue and its state of readiness."""

    def __init__(self, router: Router, telemetry: Telemetry) -> None:
        self.router = router
        router.on_failure = self._note_failure
        if hasattr(router.sessions, "on_failure"):
            router.sessions.on_failure = self._note_session_failure
        self._telemetry = telemetry
        self._inference = ThreadPoolExecutor(1, thread_name_prefix="pointsman-inference")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="pointsman-reading")
        self._n_waiting = self._n_reading = 0
        self._times_s = (0.0,) * _REMEMBERED_TIMES
        self._cold: str | None = "The model is warming up."

    def start(self) -> "asyncio.Future[None]":
        """Begin the warm-up; the service answers meanwhile, but is not ready."""
        return asyncio.ensure_future(self._warm_up())

    def require_warm(self) -> None:
        """Raise `NotReadyError` with the reason unless one inference has gone well."""
        if self._cold is not None:
            raise NotReadyError(self._cold)

    async def read(self, function: Callable[[], _Result], *, max_waiting: int) -> _Result:
        """Run the reading of a large body beside the event loop, never behind an inference.

        Raises `OverloadedError` at once when so many are in wait already.
        """
        if self._n_reading >= max_waiting:
            raise OverloadedError(self._n_reading)
        self._n_reading += 1
        try:
            # Whoever gives up takes it out of the queue.
            return await asyncio.get_running_loop().run_in_executor(self._reading, function)
        finally:
            self._n_reading -= 1

    @property
    def expected_wait_s(self) -> float:
        """How long a call that is queued now will wait.

        Taken from the median of the last ones: one that was held up says nothing of the next.
        """
        return self._n_waiting * median(self._times_s)

    def infer(
        self, function: Callable[[], _Result], *, max_waiting: int | None, max_wait_s: float | None = None
    ) -> "asyncio.Future[_Result]":
        """Queue a call that runs the graph.

        Raises `OverloadedError` at once when so many are there already, or would make it wait longer than that.
        """
        is_full = max_waiting is not None and self._n_waiting >= max_waiting
        if is_full or (max_wait_s is not None and self.expected_wait_s > max_wait_s):
            raise OverloadedError(self._n_waiting)
        loop = asyncio.get_running_loop()
        self._count(+1)
        running = self._inference.submit(self._timed, function)
        waiting: asyncio.Future[_Result] = loop.create_future()
        # One call wakes the loop once, as the thread's last act: a second one would run against the loop it woke.
        running.add_done_callback(lambda _: _call_soon(loop, self._hand_over, running, waiting))
        # Whoever gives up takes it out of the queue. An exception that nobody awaits any more is read, or it is logged.
        waiting.add_done_callback(lambda given: running.cancel() if given.cancelled() else given.exception())
        return waiting

    def describe(self) -> dict[str, Any]:
        """Return the versions in use."""
        router = self.router
        return {
            "model_version": router.model_version,
            "bundle_digest": digest_of(router),
            "policy_version": router.policy.version,
            "catalog_version": router.catalog.version,
            "risk_bound": None if router.risk_bound is None else asdict(router.risk_bound),
            "risk_bounds": [asdict(bound) for bound in router.risk_bounds],
        }

    def stop(self) -> None:
        """Drop what waits; a running inference ends by itself."""
        self._inference.shutdown(wait=False, cancel_futures=True)
        self._reading.shutdown(wait=False, cancel_futures=True)
        close = getattr(self.router.sessions, "close", None)
        if close is not None:
            close()

    async def _warm_up(self) -> None:
        try:
            await asyncio.wrap_future(self._inference.submit(self.router.classify, [Turn(prompt="warm up")]))
        except Exception as exc:
            # Serving goes on with safe defaults; readiness says why no traffic should come here.
            self._cold = f"The warm-up failed: {exc}"
            logger.exception("warm-up failed")
        else:
            self._cold = None

    def _note_failure(self, exc: Exception) -> None:
        self._telemetry.observe(SAFE_DEFAULTS, cause="inference_failed")
        log_failure(exc)

    def _note_session_failure(self) -> None:
        self._telemetry.observe(SESSION_STORE_FAILURES)

    def _timed(self, function: Callable[[], _Result]) -> _Result:
        started = perf_counter()
        try:
            return function()
        finally:
            # A new tuple, so that the event loop never reads half of a change.
            self._times_s = (*self._times_s[1:], perf_counter() - started)

    def _hand_over(self, running: "Future[_Result]", waiting: "asyncio.Future[_Result]") -> None:
        self._count(-1)
        if waiting.done():
            return
        if running.cancelled():
            waiting.cancel()
        elif (error := running.exception()) is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(running.result())

    def _count(self, change: int) -> None:
        self._n_waiting += change
        self._telemetry.observe(INFERENCES_WAITING, self._n_waiting)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
