"""Decides inside a gateway's own process, with the manners of the HTTP client: deadline, safe model, counts.

One request fewer, but sessions live in this process: run one worker, or ask the service instead.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pointsman.classifier.answers import decision_answer
from pointsman.classifier.router import Router
from pointsman.serving.client import DEFAULT_DEADLINE_MS
from pointsman.serving.envelope import Request
from pointsman.serving.fail_open import Choice, FailOpen, Failure, NoDecisionError

logger = logging.getLogger(__name__)

#: A router that hangs must not collect requests without end.
_MAX_WAITING: Final = 64


class InProcess:
    """Answers as `AsyncClient` does, from a `Router` that `load` opens when the first request comes.

    Parameters
    ----------
    load : callable
        Opens the router; it is called in the deciding thread, and again after it failed.
    safe_model, models, policy, deadline_ms
        As for `AsyncClient`.
    """

    def __init__(
        self,
        load: Callable[[], Router] = Router.load,
        *,
        safe_model: str,
        models: Mapping[str, str] | Collection[str] | None = None,
        policy: str | None = None,
        deadline_ms: float = DEFAULT_DEADLINE_MS,
    ) -> None:
        self._load = load
        self._router: Router | None = None
        self._fail_open = FailOpen(safe_model, models)
        self._policy = policy
        self._deadline_s = deadline_ms / 1000
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pointsman-in-process")
        self._n_waiting = 0

    @property
    def counts(self) -> Counter[str]:
        """As `AsyncClient.counts`."""
        return Counter(self._fail_open.counts)

    async def decide(
        self,
        body: Mapping[str, Any] | bytes,
        headers: Mapping[str, str] | None = None,
        *,
        path: str | None = None,
        session_id: str | None = None,
        models: Collection[str] | None = None,
    ) -> Choice:
        """Say which model takes a request, as `AsyncClient.decide`."""
        request = Request(body, headers or {}, path, session_id)
        detail = ""
        try:
            answer = await asyncio.wait_for(self._run(request, models), self._deadline_s)
            return self._fail_open.accept(request, answer, models)
        except NoDecisionError as exc:
            failure, detail = exc.failure, exc.detail
        except TimeoutError:
            failure, detail = Failure.TIMEOUT, f"none within {self._deadline_s * 1000:.0f} ms"
        except Exception as exc:  # whatever it was, the request behind this one still has to go somewhere
            failure, detail = Failure.ERROR, type(exc).__name__
        return self._fail_open.fail(request, failure, detail)

    def _run(self, request: Request, models: Collection[str] | None) -> "asyncio.Future[dict[str, Any]]":
        if self._n_waiting >= _MAX_WAITING:
            raise NoDecisionError(Failure.BUSY, f"{self._n_waiting} requests in wait")
        self._n_waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._answer, request, models)
        running.add_done_callback(self._one_less)
        # shield: what runs goes on, and is remembered; only the wait for it ends.
        return asyncio.shield(running)

    def _one_less(self, running: "asyncio.Future[Any]") -> None:
        self._n_waiting -= 1
        if not running.cancelled():
            running.exception()  # seen, so that asyncio does not complain of one that came too late

    def _answer(self, request: Request, models: Collection[str] | None) -> dict[str, Any]:
        if self._router is None:
            self._router = self._load()
        decision = self._router.decide(
            request.body,
            request.headers,
            path=request.path,
            session_id=request.session_id,
            models=self._fail_open.allowed(models),
            policy=self._policy,
        )
        return decision_answer(decision)
