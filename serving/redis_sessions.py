"""Sessions in Redis, for several workers or a restart that forgets nothing.

Redis is a convenience and never a condition: while it is away sessions are kept in this process, and each failure is
counted. A decision waits for it once, for at most the timeout; then it is left alone for a while.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import orjson
import redis

from pointsman.classifier.memory_sessions import MemorySessions
from pointsman.classifier.session import Change, SessionState
from pointsman.classifier.session_form import state_from_json, state_to_json

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
_PREFIX: Final = "pointsman:session:"
_UNREADABLE: Final = (KeyError, TypeError, ValueError, IndexError, AttributeError)
# Two requests of one session rarely meet, three hardly ever; each try costs what a round trip does.
_N_TRIES: Final = 50


class RedisSessions:
    """A `SessionStore` in Redis, with the process's own memory behind it.

    Parameters
    ----------
    url : str
        `redis://`, `rediss://` or `unix://`.
    ttl_s : float
        A session is forgotten this long after its last decision.
    timeout_s : float
        Longest wait for Redis, connecting included.
    pause_s : float
        How long Redis is left alone after a failure.
    on_failure : callable, optional
        Called at each failure.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl_s: float = 6 * 3600,
        timeout_s: float = 0.05,
        pause_s: float = 2.0,
        on_failure: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # One try: the client's own retries would add up to many timeouts.
        self._redis = redis.Redis.from_url(
            url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None, health_check_interval=0
        )
        # Those of an outage stay until they are asked for again, or make room.
        self._memory = MemorySessions(ttl_s=ttl_s, max_packed_bytes=16 * 2**20)
        self._ttl_ms = max(1, int(ttl_s * 1000))
        self._pause_s = pause_s
        self._clock = clock
        self._away_until = 0.0
        self._lock = threading.Lock()
        self.on_failure = on_failure
        self.n_failures = 0

    def get(self, key: str) -> SessionState | None:
        local = self._memory.get(key)
        if self._is_away():
            return local
        try:
            return _newer(local, _read(self._redis.get(_PREFIX + key)))
        except (redis.RedisError, OSError) as exc:
            self._fail(exc)
            return local

    def put(self, key: str, state: SessionState) -> None:
        self.update(key, lambda _: (state, None))

    def update(self, key: str, change: Change[_T]) -> _T:
        if not self._is_away():
            try:
                return self._update(key, change)
            except (redis.RedisError, OSError) as exc:
                self._fail(exc)
        return self._memory.update(key, change)

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def _update(self, key: str, change: Change[_T]) -> _T:
        name = _PREFIX + key
        with self._redis.pipeline() as pipe:
            for _ in range(_N_TRIES):
                pipe.watch(name)  # type: ignore[no-untyped-call]
                found = _read(pipe.get(name))
                state, out = change(_newer(self._memory.get(key), found))
                pipe.multi()
                pipe.set(name, orjson.dumps(state_to_json(state)), px=self._ttl_ms)
                try:
                    pipe.execute()
                except redis.WatchError:
                    continue  # another writer was faster: its state is the one to change
                self._memory.drop(key)
                return out
        msg = f"a session changed {_N_TRIES} times while it was being changed"
        raise redis.WatchError(msg)

    def _is_away(self) -> bool:
        return self._clock() < self._away_until

    def _fail(self, exc: Exception) -> None:
        with self._lock:
            self.n_failures += 1
            self._away_until = self._clock() + self._pause_s
        # The type alone: a message may quote the URL, and with it a password.
        logger.warning("session store failed, sessions are kept in memory", extra={"error": type(exc).__name__})
        if self.on_failure is not None:
            self.on_failure()


def forget_states(url: str, session_id: str, *, timeout_s: float = 5.0) -> int:
    """Delete the states of a session and of its subagents; return how many there were.

    Raises
    ------
    redis.RedisError, OSError
        Redis cannot be reached or does not answer in time.
    """
    escaped = re.sub(r"([*?\[\]\\])", r"\\\1", session_id)
    with redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=None) as client:
        found = list(client.scan_iter(match=f"{_PREFIX}{escaped}/*", count=1000))
        return int(client.delete(_PREFIX + session_id, *found))


def _newer(local: SessionState | None, found: SessionState | None) -> SessionState | None:
    """Return the state to go on with: both this process, while Redis was away, and others since may have written one.

    `updated_at` is wall time, so states of several machines compare as well as their clocks agree.
    """
    if local is None or found is None:
        return found if local is None else local
    return local if local.updated_at > found.updated_at else found


def _read(data: Any) -> SessionState | None:
    """Read a state; what cannot be read is as good as none, and is written anew."""
    if data is None:
        return None
    try:
        return state_from_json(orjson.loads(data))
    except _UNREADABLE:
        return None
