"""The keys in memory: no decision waits for the database to learn who asks.

The table is read again every few seconds, so a key that was revoked on the command line is refused soon after; an id
that is not known yet has it read at once. While the database is away the keys last read stay good until they expire.
"""

import asyncio
import logging
import time
from typing import Final

from starlette.concurrency import run_in_threadpool

from pointsman.classifier.records import utc_now

from .errors import ServingError, UnauthenticatedError
from .key_store import read_keys
from .keys import ApiKey, id_of, refuse_in_same_time
from .store import Store
from .telemetry import STORE_FAILURES, Telemetry

logger = logging.getLogger(__name__)

#: The longest that a revoked key goes on working, and that a new limit stays unknown.
REFRESH_S: Final = 2.0
# Whoever sends made-up keys makes the database answer this often and no oftener.
_LEAST_WAIT_S: Final = 0.2
# The database may hang; a request with an unknown key does not.
_LONGEST_WAIT_S: Final = 2.0


class KeyRing:
    """Every key of the store, by id."""

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store, self._telemetry = store, telemetry
        self._keys: dict[str, ApiKey] = {}
        self._read_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def read(self) -> None:
        """Read the table; blocks, and raises `StoreUnavailableError` when the database does."""
        self._keys = {key.key_id: key for key in read_keys(self._store)}
        self._read_at = time.monotonic()

    def n_active(self) -> int:
        """Return how many keys are good now."""
        now = utc_now()
        return sum(key.is_active(now) for key in self._keys.values())

    async def find(self, presented: str) -> ApiKey:
        """Return the key behind a text, or raise `UnauthenticatedError`."""
        key_id = id_of(presented)
        if key_id is not None and key_id not in self._keys:
            await self._look_again()
        key = self._keys.get(key_id or "")
        if key is None:
            refuse_in_same_time(presented)
            raise UnauthenticatedError(is_given=True)
        if not key.matches(presented) or not key.is_active(utc_now()):
            raise UnauthenticatedError(is_given=True)
        return key

    async def keep_up(self) -> None:
        """Read the table again and again, until cancelled."""
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._refresh()

    async def _look_again(self) -> None:
        """Wait for one look, shared by all who wait at the same time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_soon())
        await asyncio.wait({self._looking}, timeout=_LONGEST_WAIT_S)

    async def _look_soon(self) -> None:
        await asyncio.sleep(max(0.0, self._read_at + _LEAST_WAIT_S - time.monotonic()))
        await self._refresh()

    async def _refresh(self) -> None:
        try:
            await run_in_threadpool(self.read)
        except ServingError as exc:
            self._telemetry.observe(STORE_FAILURES)
            logger.warning("keys not read, the known ones stay", extra={"error": type(exc).__name__})
        finally:
            self._read_at = time.monotonic()
