"""Sessions in the memory of one process, bounded in number and in bytes."""

from __future__ import annotations

import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

import orjson

from .session import Change, SessionState

_T = TypeVar("_T")

#: A state of four requests takes 9 KB as it is and 2 KB packed; one of sixteen 37 KB and 5 KB.
_MAX_UNPACKED: Final = 1_000
_MAX_PACKED_BYTES: Final = 64 * 2**20
#: What an entry costs beside its key and its packed state.
_OVERHEAD_BYTES: Final = 250


class MemorySessions:
    """A `SessionStore` that forgets the least recently used first, and everything after a while.

    Parameters
    ----------
    max_sessions : int
        Sessions that are kept.
    max_unpacked : int
        Sessions that are kept as they are, the last used; others wait as compressed JSON, which takes a fifth of the
        room and a tenth of a millisecond to pack.
    max_packed_bytes : int
        Room for those.
    ttl_s : float
        A session is forgotten this long after its last decision.
    clock : callable
        Seconds that never go back.
    """

    def __init__(
        self,
        *,
        max_sessions: int = 100_000,
        max_unpacked: int = _MAX_UNPACKED,
        max_packed_bytes: int = _MAX_PACKED_BYTES,
        ttl_s: float = 6 * 3600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max, self._max_unpacked, self._max_packed_bytes = max_sessions, max_unpacked, max_packed_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        # Both in order of their last decision, all of `_packed` before all of `_states`.
        self._packed: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._states: OrderedDict[str, tuple[float, SessionState]] = OrderedDict()
        self._n_packed_bytes = 0

    def __len__(self) -> int:
        return len(self._states) + len(self._packed)

    def get(self, key: str) -> SessionState | None:
        with self._lock:
            return self._get(key)

    def put(self, key: str, state: SessionState) -> None:
        with self._lock:
            self._put(key, state)

    def update(self, key: str, change: Change[_T]) -> _T:
        with self._lock:
            state, out = change(self._get(key))
            self._put(key, state)
            return out

    def drop(self, key: str) -> None:
        """Forget a session."""
        with self._lock:
            self._drop(key)

    def _get(self, key: str) -> SessionState | None:
        found = self._states.get(key) or self._packed.get(key)
        if found is None:
            return None
        kept_at, kept = found
        if self._clock() - kept_at > self._ttl_s:
            self._drop(key)
            return None
        return _unpack(kept) if isinstance(kept, bytes) else kept

    def _put(self, key: str, state: SessionState) -> None:
        now = self._clock()
        if key in self._packed:
            self._drop(key)
        self._states[key] = (now, state)
        self._states.move_to_end(key)
        while len(self._states) > self._max_unpacked:
            self._pack_oldest()
        # Oldest first: whatever has expired stands at the front, so one or two looks keep the store small.
        while n_kept := len(self._states) + len(self._packed):
            oldest, (kept_at, _) = next(iter((self._packed or self._states).items()))
            is_within = n_kept <= self._max and self._n_packed_bytes <= self._max_packed_bytes
            if is_within and now - kept_at <= self._ttl_s:
                return
            self._drop(oldest)

    def _pack_oldest(self) -> None:
        key, (kept_at, state) = self._states.popitem(last=False)
        try:
            packed = _pack(state)
        except (TypeError, ValueError, AttributeError):
            return  # what an assessor of one's own made of it; a lost state costs a cache
        self._packed[key] = (kept_at, packed)
        self._n_packed_bytes += _size(key, packed)

    def _drop(self, key: str) -> None:
        self._states.pop(key, None)
        packed = self._packed.pop(key, None)
        if packed is not None:
            self._n_packed_bytes -= _size(key, packed[1])


def _pack(state: SessionState) -> bytes:
    # Imported where a session is packed, which few processes come to: the form brings that of the records along.
    from .session_form import state_to_json

    plain = orjson.dumps(state_to_json(state), option=orjson.OPT_SERIALIZE_NUMPY)
    # A window of 8 KB with small tables, which is all that a state fills: the usual ones are 200 KB to clear each time.
    packer = zlib.compressobj(1, zlib.DEFLATED, 13, 5)
    return packer.compress(plain) + packer.flush()


def _unpack(packed: bytes) -> SessionState:
    from .session_form import state_from_json

    return state_from_json(orjson.loads(zlib.decompress(packed)))


def _size(key: str, packed: bytes) -> int:
    return len(key) + len(packed) + _OVERHEAD_BYTES
