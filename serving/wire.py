"""The server's side of a connection, bounded: a request's headers have a size, a number and a time, its body a time.

The HTTP parser underneath has none of these bounds, and an application sees a request only once its headers are whole.
"""

import asyncio
from dataclasses import dataclass
from typing import ClassVar, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .errors import error_answer
from .settings import Settings

# The application answers 408 at the limit; a connection whose client goes on sending ends this much later.
_GRACE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large and how slow a request may be."""

    max_header_bytes: int
    max_headers: int
    header_timeout_s: float
    body_timeout_s: float


def bounded_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """Return the protocol class for uvicorn's `http` option."""
    names = Bounds.__dataclass_fields__
    bounds = Bounds(**{name: getattr(settings, name) for name in names})
    return type("BoundedProtocol", (_BoundedProtocol,), {"bounds": bounds})


class _BoundedProtocol(HttpToolsProtocol):
    bounds: ClassVar[Bounds]

    _timer: asyncio.TimerHandle | None = None
    _in_headers = True
    _n_fed = 0
    _is_too_large = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]  # a stream: the server opens no others
        self._wait(self.bounds.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_headers:
            self._n_fed += len(data)
            # Any byte ends the server's own wait between requests, an empty line too.
            if self._timer is None:
                self._wait(self.bounds.header_timeout_s)
        super().data_received(data)
        if self._in_headers and self._n_fed > self.bounds.max_header_bytes and not self.transport.is_closing():
            self._is_too_large = True
            self.send_400_response("")

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Go on with the answer when a client has said all it wants to; end the connection otherwise."""
        cycle = self.cycle
        is_waiting = cycle is not None and not cycle.response_complete and not cycle.more_body
        if not is_waiting or self.scheme == "https":  # TLS cannot be closed by half
            return None
        cycle.keep_alive = False
        return True

    def on_headers_complete(self) -> None:
        n_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if n_bytes > self.bounds.max_header_bytes or len(self.headers) > self.bounds.max_headers:
            self._is_too_large = True
            # Stops the parser, which has the caller send the refusal.
            raise ValueError
        self._in_headers, self._n_fed = False, 0
        self._wait(self.bounds.body_timeout_s + _GRACE_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_headers = True
        self._wait(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what never becomes a request, in the shape of every other refusal."""
        if self._is_too_large:
            bounds = self.bounds
            limits = f"{bounds.max_header_bytes} bytes or {bounds.max_headers} headers, the limits of this service."
            answer = error_answer(431, "headers_too_large", f"The request's headers are over {limits}")
        else:
            answer = error_answer(400, "invalid_http", "The bytes are no HTTP request.")
        headers = [*answer.raw_headers, (b"x-content-type-options", b"nosniff"), (b"connection", b"close")]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        self.transport.write(STATUS_LINE[answer.status_code] + lines + b"\r\n" + bytes(answer.body))
        self.transport.close()

    def _wait(self, timeout_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if timeout_s is None else self.loop.call_later(timeout_s, self._give_up)

    def _give_up(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
