"""Request bodies as bytes: never more than the limit in memory, packed or unpacked.

`OddBodyError` says why a body cannot be unpacked; deciding answers it with the safe default.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import Request

from .errors import BodyTimeoutError, PayloadTooLargeError, ServingError
from .telemetry import BODY_BYTES, Telemetry

_PLAIN: Final = frozenset({"", "identity"})
_ZLIB: Final = frozenset({"gzip", "x-gzip", "deflate"})
# 32 + 15: zlib finds out itself whether a gzip or a zlib header comes; -15: deflate without any header,
# which some clients send as "deflate".
_AUTO_WINDOW: Final = 32 + zlib.MAX_WBITS
_RAW_WINDOW: Final = -zlib.MAX_WBITS


class BodyRoom:
    """How many bytes of bodies are held at once; many large ones together would take all memory."""

    def __init__(self, max_bytes: int, telemetry: Telemetry) -> None:
        self._max_bytes, self._telemetry = max_bytes, telemetry
        self._n_bytes = 0

    def take(self, n_bytes: int) -> None:
        """Count bytes that came in, or raise `NoRoomError`."""
        if self._n_bytes + n_bytes > self._max_bytes:
            raise NoRoomError(self._max_bytes)
        self._count(n_bytes)

    def give_back(self, n_bytes: int) -> None:
        self._count(-n_bytes)

    def _count(self, change: int) -> None:
        self._n_bytes += change
        self._telemetry.observe(BODY_BYTES, self._n_bytes)


class NoRoomError(ServingError):
    """The bodies that are held leave no room for another."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"{max_bytes} bytes of bodies are held, as many as this service takes.")


class OddBodyError(ServingError):
    """The body cannot be unpacked; the message holds nothing of it."""


@asynccontextmanager
async def held_body(request: Request, limit_bytes: int, timeout_s: float, room: BodyRoom) -> AsyncIterator[bytes]:
    """Read the body as `read_body` does, and count its bytes until the block ends; `NoRoomError` when there is none."""
    n_bytes = 0

    def take(size_bytes: int) -> None:
        nonlocal n_bytes
        room.take(size_bytes)
        n_bytes += size_bytes

    try:
        yield await read_body(request, limit_bytes, timeout_s, take)
    finally:
        room.give_back(n_bytes)


async def read_body(
    request: Request, limit_bytes: int, timeout_s: float, take: Callable[[int], None] = lambda _: None
) -> bytes:
    """Return the body as sent, still packed.

    Raises
    ------
    PayloadTooLargeError
        Announced or actual size is over the limit; at most the limit was read.
    BodyTimeoutError
        It was not complete in time.
    """
    announced = request.headers.get("content-length", "")
    # isascii: isdecimal alone admits digits that int() reads but HTTP does not know.
    if announced.isascii() and announced.isdecimal() and (len(announced) > 18 or int(announced) > limit_bytes):
        raise PayloadTooLargeError(limit_bytes)
    try:
        async with asyncio.timeout(timeout_s):
            return await _read(request, limit_bytes, take)
    except TimeoutError:
        raise BodyTimeoutError(timeout_s) from None


async def _read(request: Request, limit_bytes: int, take: Callable[[int], None]) -> bytes:
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise PayloadTooLargeError(limit_bytes)
        take(len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def is_packed(encoding: str) -> bool:
    """Say whether a content-encoding means that the body must be unpacked."""
    return encoding.strip().lower() not in _PLAIN


def unpack(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """Return the body without its content-encoding.

    Raises
    ------
    OddBodyError
        The encoding is none of gzip and deflate, or the bytes are not in it.
    PayloadTooLargeError
        It unpacks to more than the limit; no more than the limit was unpacked.
    """
    if not is_packed(encoding):
        return body
    if encoding.strip().lower() not in _ZLIB:
        raise OddBodyError("The body's content-encoding is not gzip, deflate or identity, so it was not read.")
    try:
        return _inflate(body, _AUTO_WINDOW, limit_bytes)
    except zlib.error:
        pass
    try:
        return _inflate(body, _RAW_WINDOW, limit_bytes)
    except zlib.error:
        raise OddBodyError("The body is not in the content-encoding that its header names.") from None


def _inflate(body: bytes, window: int, limit_bytes: int) -> bytes:
    inflater = zlib.decompressobj(window)
    unpacked = inflater.decompress(body, limit_bytes + 1)
    if len(unpacked) > limit_bytes:
        raise PayloadTooLargeError(limit_bytes)
    if not inflater.eof:
        raise zlib.error("the stream ends early")
    return unpacked
