"""The innermost layer: `/v1/decide` is answered here, before the framework looks for a route.

Its routing, dependencies and exit stacks take longer than a decision that is recalled, and nothing of them is used: a
body of any shape is read by hand. The routes of `routes/decisions.py` describe the same for OpenAPI, and answer where
this layer is not in place; both call the same function.
"""

from typing import Final

from fastapi.routing import APIRoute
from starlette._utils import get_route_path
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ServingError, answer_to, gone_answer
from .routes import decisions

_DECIDE: Final = "/v1/decide"
_UNDER: Final = f"{_DECIDE}/"
#: By pattern: what counts requests asks the scope for the route.
_ROUTES: Final = {route.path: route for route in decisions.router.routes if isinstance(route, APIRoute)}
_ROUTE, _ROUTE_UNDER = _ROUTES[_DECIDE], _ROUTES[f"{_UNDER}{{path:any}}"]


class Shortcut:
    """ASGI middleware in front of the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = get_route_path(scope) if scope["type"] == "http" else ""
        if path == _DECIDE and scope["method"] == "POST":
            scope["route"], rest = _ROUTE, ""
        elif path.startswith(_UNDER) and scope["method"] in decisions.METHODS:
            scope["route"], rest = _ROUTE_UNDER, path[len(_UNDER) :]
        else:
            await self._app(scope, receive, send)
            return
        try:
            answer = await decisions.decided(Request(scope, receive), rest)
        except ServingError as exc:
            answer = answer_to(exc)
        except ClientDisconnect:
            answer = gone_answer()
        await answer(scope, receive, send)
