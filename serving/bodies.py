"""Request bodies as bytes: never more than the limit in memory, packed or unpacked.

`OddBodyError` says why a body cannot be unpacked; deciding answers it with the safe default.
"""

import asyncio
import zlib
from typing import Final

from starlette.requests import Request

from .errors import BodyTimeoutError, PayloadTooLargeError, ServingError

_PLAIN: Final = frozenset({"", "identity"})
_ZLIB: Final = frozenset({"gzip", "x-gzip", "deflate"})
# 32 + 15: zlib finds out itself whether a gzip or a zlib header comes; -15: deflate without any header,
# which some clients send as "deflate".
_AUTO_WINDOW: Final = 32 + zlib.MAX_WBITS
_RAW_WINDOW: Final = -zlib.MAX_WBITS


class OddBodyError(ServingError):
    """The body cannot be unpacked; the message holds nothing of it."""


async def read_body(request: Request, limit_bytes: int, timeout_s: float) -> bytes:
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
            return await _read(request, limit_bytes)
    except TimeoutError:
        raise BodyTimeoutError(timeout_s) from None


async def _read(request: Request, limit_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise PayloadTooLargeError(limit_bytes)
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
