"""Decides inside a gateway's own process, with the manners of the HTTP client: deadline, safe model, counts.

One request fewer, but sessions live in this process: run one worker, or ask the service instead.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pointsman.classifier.answers import decision_answer
from pointsman.classifier.router import Router
from pointsman.serving.asker import Asker
from pointsman.serving.envelope import Request
from pointsman.serving.fail_open import Failure, NoDecisionError

#: A router that hangs must not collect requests without end.
_MAX_WAITING: Final = 64


class InProcess(Asker):
    """Asks a `Router` that `load` opens when the first request comes.

    Parameters
    ----------
    load : callable
        Opens the router; it is called in the deciding thread, and again after it failed.
    **options
        As for `Asker`.
    """

    def __init__(self, load: Callable[[], Router] = Router.load, **options: Any) -> None:
        super().__init__(**options)
        self._load = load
        self._router: Router | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pointsman-in-process")
        self._n_waiting = 0

    async def _answer(self, request: Request, models: list[str] | None) -> object:
        if self._n_waiting >= _MAX_WAITING:
            raise NoDecisionError(Failure.BUSY, f"{self._n_waiting} requests in wait")
        self._n_waiting += 1
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._decide, request, models)
        running.add_done_callback(self._one_less)
        # shield: what runs goes on, and is remembered; only the wait for it ends.
        return await asyncio.shield(running)

    def _one_less(self, running: "asyncio.Future[Any]") -> None:
        self._n_waiting -= 1
        if not running.cancelled():
            running.exception()  # seen, so that asyncio does not complain of one that came too late

    def _decide(self, request: Request, models: list[str] | None) -> dict[str, Any]:
        if self._router is None:
            self._router = self._load()
        decision = self._router.decide(
            request.body,
            request.headers,
            path=request.path,
            session_id=request.session_id,
            models=models,
            policy=self._policy,
        )
        return decision_answer(decision)
