"""The outermost layer: takes secrets off every request, answers what nobody caught, counts requests, and puts the
headers on every answer that keep browsers from doing anything with it.
"""

from collections.abc import Iterable
from time import perf_counter
from typing import Final

from starlette._utils import get_route_path
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import PRESENTED
from .console.cookies import COOKIES, KEY_COOKIE, is_console, read_cookies
from .errors import error_answer
from .keys import presented_key
from .logs import log_failure
from .questions import SECRET_HEADERS
from .telemetry import REQUEST_SECONDS, REQUESTS, Telemetry

_SECRET_NAMES: Final = frozenset(name.encode() for name in SECRET_HEADERS)
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})

# The pages have inline styles and nothing else; an answer may bring headers of its own instead.
_SECURITY_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
_STRICT_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")


class Edge:
    """ASGI middleware; plain, since a wrapped request object costs more than the work here."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # The gate needs the key; nothing behind it does.
        scope[PRESENTED] = presented_key(scope["headers"])
        if is_console(get_route_path(scope)):
            scope[COOKIES] = read_cookies(scope["headers"])
            scope[PRESENTED] = scope[PRESENTED] or scope[COOKIES].get(KEY_COOKIE)
        scope["headers"] = [item for item in scope["headers"] if not _is_secret(item[0])]
        started, status, started_answer = perf_counter(), 500, False

        async def watch(message: Message) -> None:
            nonlocal status, started_answer
            if message["type"] == "http.response.start":
                status, started_answer = message["status"], True
                message["headers"] = _secured(message.get("headers", ()), scope.get("scheme"))
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as exc:
            # Not left to the server: its log would quote the message of the exception.
            log_failure(exc)
            if not started_answer:
                await error_answer(500, "internal_error", "The service failed on this request.")(scope, receive, watch)
        finally:
            self._count(scope, status, perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's pattern, not the path: clients choose paths without end.
        route: BaseRoute | None = scope.get("route")
        pattern = str(getattr(route, "path", "unknown"))
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._telemetry.observe(REQUESTS, route=pattern, method=method, status=str(status))
        self._telemetry.observe(REQUEST_SECONDS, seconds, route=pattern)


def _secured(headers: Iterable[tuple[bytes, bytes]], scheme: str | None) -> list[tuple[bytes, bytes]]:
    answered = list(headers)
    names = {name.lower() for name, _ in answered}
    wanted = (*_SECURITY_HEADERS, _STRICT_TRANSPORT) if scheme == "https" else _SECURITY_HEADERS
    return answered + [item for item in wanted if item[0] not in names]


def _is_secret(name: bytes) -> bool:
    # The reader of requests takes "_" for "-" in header names, as some gateways do.
    return name.lower().replace(b"_", b"-") in _SECRET_NAMES
