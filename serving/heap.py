"""The heap. The C library's is kept small: what one thread frees, others may use, and large frees go back to the
system. Of Python's objects, those that a start makes are never looked through for garbage.

glibc gives each thread an arena of up to 64 MB and keeps what is freed in it: a service that loads a bundle in one
worker thread and reads the store in the next grew by 170 MB in an hour of soak (2026-11-23). Elsewhere nothing is done.
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

#: `M_ARENA_MAX` of glibc's malloc.h.
_ARENA_MAX: Final = -8
_N_ARENAS: Final = 2


@cache
def _library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None


def share_arenas() -> None:
    """Let all threads use the same few arenas; called before threads start."""
    library = _library()
    if library is not None:
        library.mallopt(_ARENA_MAX, _N_ARENAS)


def give_back() -> None:
    """Give free memory back to the system; milliseconds, so not on the event loop."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


@contextmanager
def made_to_stay() -> Iterator[None]:
    """Look for no garbage while the block runs, and never among what it has made.

    A start makes 140,000 objects that all stay: looking through them takes a tenth of it, and later 70 ms whenever all
    are looked through, in the middle of somebody's request (2026-11-23).
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
