"""Decisions as they come, for every open page at once: one look into the store a second, and none while nobody watches.

The store is asked, not the process: other workers decide too. A record may be committed a little after one with a
later time, so each look goes back some seconds and leaves out what was seen.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

from starlette.concurrency import run_in_threadpool

from pointsman.serving.errors import ServingError
from pointsman.serving.key_store import format_time
from pointsman.serving.store import Store

from .decisions import Row, decisions_from

logger = logging.getLogger(__name__)

_WAIT_S: Final = 1.0
_LATE: Final = timedelta(seconds=5)
#: Of one look; what comes faster than that nobody can read.
_MOST: Final = 500
_N_KEPT: Final = 2_000


class Feed:
    """The newest decisions, shared by the pages that watch them."""

    def __init__(self, store: Store, *, wait_s: float = _WAIT_S) -> None:
        self._store, self._wait_s = store, wait_s
        self._rows: OrderedDict[str, Row] = OrderedDict()
        self._since = ""
        self._news, self._nobody = asyncio.Event(), asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._n_watching = 0

    async def watch(self, after: str, timeout_s: float) -> AsyncIterator[list[Row]]:
        """Yield decisions that come after a time, oldest first, for at most this long.

        Parameters
        ----------
        after : str
            A record's time; those seen at or before it are left out. Empty starts with what comes next.
        timeout_s : float
            A stream without end would keep the service from stopping.
        """
        self._begin()
        started = after or format_time(datetime.now(UTC))
        sent: set[str] = set()
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    news = self._news
                    found = [row for row in self._rows.values() if row.created_at > started]
                    fresh = [row for row in found if row.decision_id not in sent]
                    sent = {row.decision_id for row in found}
                    if fresh:
                        yield sorted(fresh, key=lambda row: row.created_at)
                    await news.wait()
        except TimeoutError:
            return
        finally:
            self._end()

    @property
    def n_watching(self) -> int:
        """How many pages watch."""
        return self._n_watching

    def _begin(self) -> None:
        self._n_watching += 1
        self._nobody.clear()
        if self._looking is None:
            self._since = self._since or format_time(datetime.now(UTC) - timedelta(minutes=1))
            self._looking = asyncio.create_task(self._keep_looking())

    def _end(self) -> None:
        self._n_watching -= 1
        if not self._n_watching:
            self._nobody.set()

    async def stop(self) -> None:
        """Wait until no look is under way; nobody watches any more."""
        if self._looking is not None:
            await self._looking

    async def _keep_looking(self) -> None:
        # Never cancelled: a look in its thread would go on, and the store might close under it.
        while self._n_watching:
            try:
                rows = await run_in_threadpool(decisions_from, self._store, self._since, most=_MOST)
            except ServingError as exc:
                logger.warning("live decisions not read", extra={"error": type(exc).__name__})
            else:
                self._take(rows)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nobody.wait(), self._wait_s)
        self._looking = None

    def _take(self, rows: list[Row]) -> None:
        fresh = [row for row in rows if row.decision_id not in self._rows]
        for row in fresh:
            self._rows[row.decision_id] = row
        while len(self._rows) > _N_KEPT:
            self._rows.popitem(last=False)
        if rows:
            newest = datetime.fromisoformat(rows[-1].created_at.replace("Z", "+00:00"))
            # A full look has more behind it: going back would show the same rows for ever.
            back = timedelta() if len(rows) == _MOST else _LATE
            self._since = max(self._since, format_time(newest - back))
        if fresh:
            self._news.set()
            self._news = asyncio.Event()
