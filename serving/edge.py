"""The outermost layer: takes secrets off every request, answers what nobody caught, and counts requests."""

from time import perf_counter
from typing import Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import error_answer
from .logs import log_failure
from .questions import SECRET_HEADERS
from .telemetry import REQUEST_SECONDS, REQUESTS, Telemetry

_SECRET_NAMES: Final = frozenset(name.encode() for name in SECRET_HEADERS)
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})


class Edge:
    """ASGI middleware; plain, since a wrapped request object costs more than the work here."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app, self._telemetry = app, telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["headers"] = [item for item in scope["headers"] if not _is_secret(item[0])]
        started, status, started_answer = perf_counter(), 500, False

        async def watch(message: Message) -> None:
            nonlocal status, started_answer
            if message["type"] == "http.response.start":
                status, started_answer = message["status"], True
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


def _is_secret(name: bytes) -> bool:
    # The reader of requests takes "_" for "-" in header names, as some gateways do.
    return name.lower().replace(b"_", b"-") in _SECRET_NAMES
