"""The layer inside the edge: turns away who is not let in, before a body is read."""

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from .access import Access, Refusal
from .console.refusals import refusal_page
from .errors import answer_to


class Gate:
    """ASGI middleware in front of every route."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            # The path as the router will read it, or a prefix of the server could hide a route.
            await self._access.admit(scope, get_route_path(scope))
        except Refusal as exc:
            await (refusal_page(scope, exc) or answer_to(exc))(scope, receive, send)
            return
        await self._app(scope, receive, send)
