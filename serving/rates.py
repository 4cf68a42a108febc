"""How many requests a key may send: counted in Redis where the service has one, so that workers count together.

Counting is never a condition for deciding: while Redis is away this process counts for itself.
"""

import logging
import math
import time
from typing import TYPE_CHECKING, Final

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from .errors import RateLimitedError
from .telemetry import SESSION_STORE_FAILURES, Telemetry

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

logger = logging.getLogger(__name__)

_PREFIX: Final = "pointsman:rate"
_TIMEOUT_S: Final = 0.05
_PAUSE_S: Final = 2.0


def parse_rate(rate: str) -> list[RateLimitItem]:
    """Read `600/minute`, or several such with `;` between them.

    Raises
    ------
    ValueError
        It is something else.
    """
    try:
        items = parse_many(rate)
    except ValueError:
        items = []
    if not items or any(item.amount < 1 for item in items):
        raise ValueError("is no rate; expected a count per second, minute, hour or day, such as 600/minute")
    return items


class Rates:
    """Counts requests by whoever sends them."""

    def __init__(self, telemetry: Telemetry, redis_url: str | None = None, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._telemetry = telemetry
        self._memory = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._pool: ConnectionPool | None = None
        self._failures: tuple[type[Exception], ...] = (OSError,)
        self._shared: SlidingWindowCounterRateLimiter | None = None
        self._away_until = float("-inf")
        self._parsed: dict[str, list[RateLimitItem]] = {}
        if redis_url is not None:
            self._shared, self._pool, self._failures = _shared(redis_url, timeout_s)

    async def count(self, who: str, rate: str) -> None:
        """Count one request, or raise `RateLimitedError` when it is one too many."""
        items = self._parsed.get(rate)
        if items is None:
            items = self._parsed[rate] = parse_rate(rate)
        for item in items:
            retry_after_s = await self._hit(item, who)
            if retry_after_s is not None:
                raise RateLimitedError(str(item), retry_after_s)

    async def close(self) -> None:
        """Give the connections back."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _hit(self, item: RateLimitItem, who: str) -> int | None:
        if self._shared is not None and time.monotonic() >= self._away_until:
            try:
                return await _hit(self._shared, item, who)
            except self._failures as exc:
                self._away_until = time.monotonic() + _PAUSE_S
                self._telemetry.observe(SESSION_STORE_FAILURES)
                # The type alone: a message may quote the address, and with it a password.
                logger.warning("rates are counted in memory, Redis failed", extra={"error": type(exc).__name__})
        return await _hit(self._memory, item, who)


def _shared(
    redis_url: str, timeout_s: float
) -> "tuple[SlidingWindowCounterRateLimiter, ConnectionPool, tuple[type[Exception], ...]]":
    """Return what counts in Redis, its connections, and how they fail."""
    # Not at the top: a fifth of the time that a start takes, for a service that may have no Redis.
    from limits.aio.storage import RedisStorage
    from redis.asyncio import ConnectionPool
    from redis.exceptions import RedisError

    wait = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    pool = ConnectionPool.from_url(redis_url, **wait)
    # The pool knows the address; the library wants one all the same.
    storage = RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=_PREFIX,
        connection_pool=pool,  # type: ignore[arg-type]  # named in its documentation, not in its types
    )
    return SlidingWindowCounterRateLimiter(storage), pool, (RedisError, OSError)


async def _hit(limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, who: str) -> int | None:
    """Count; return after how many seconds to try again when it was one too many."""
    if await limiter.hit(item, who):
        return None
    stats = await limiter.get_window_stats(item, who)
    return min(item.get_expiry(), max(1, math.ceil(stats.reset_time - time.time())))
