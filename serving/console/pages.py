"""Pages as HTML: one environment of templates, one set of headers, the same frame around every page.

Nothing on a page comes from another host and no script stands in it: the content security policy forbids both.
"""

import secrets
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from pointsman.serving.access import IDENTITY, Identity
from pointsman.serving.errors import STATUSES, answer_to
from pointsman.serving.services import services_of

from . import shown
from .assets import asset_path
from .cookies import COOKIES, ROOT, TOKEN_COOKIE, keep_cookie

_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # Without a referrer browsers call the origin of a form "null", and who sends it could not be told.
    "referrer-policy": "same-origin",
}
_NOBODY: Final = Identity("", frozenset())
#: Path, title, and the roles of which one is needed to see it.
_PAGES: Final = (
    ("/playground", "Playground", {"view", "review", "operate"}),
    ("/live", "Live", {"view", "review", "operate"}),
    ("/savings", "Savings", {"view", "review", "operate"}),
    ("/review", "Review", {"review"}),
    ("/models", "Models", {"view", "review", "operate"}),
    ("/audit", "Audit", {"operate"}),
)


class PageRoute(APIRoute):
    """A route whose errors are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                return await handle(request)
            except tuple(STATUSES) as exc:
                return error_page(request, exc)

        return guarded


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Fill a template for whoever asks; a request of htmx gets what the template alone holds."""
    token, is_new = _token(request)
    root = str(request.scope.get("root_path", ""))
    identity = identity_of(request)
    text = (
        templates()
        .get_template(template)
        .render(
            values
            | {
                "identity": identity,
                "may": lambda role: role in identity.roles,
                "token": token,
                "pages": [(path, title) for path, title, roles in _PAGES if roles & identity.roles],
                "here": request.url.path.removeprefix(root).removeprefix(ROOT),
                "url": lambda path="": f"{root}{ROOT}{path}",
                "asset": lambda name: root + asset_path(name),
                "is_fragment": is_fragment(request),
                "signs_in": _signs_in(request),
            }
        )
    )
    response = HTMLResponse(text, status_code=status, headers=_HEADERS)
    if is_new:
        keep_cookie(response, TOKEN_COOKIE, token, is_secure=is_secure(request))
    return response


def error_page(request: Request, exc: Exception) -> Response:
    """Return the page for an exception of the service's table, with its status and headers."""
    answer = answer_to(exc)
    shown_page = page(request, "error.html", status=answer.status_code, message=str(exc))
    for name in ("retry-after", "connection"):
        if name in answer.headers:
            shown_page.headers[name] = answer.headers[name]
    return shown_page


def identity_of(request: Request) -> Identity:
    """Return who was let in; nobody on a page that is open to everyone."""
    identity: Identity = request.scope.get(IDENTITY, _NOBODY)
    return identity


def is_fragment(request: Request) -> bool:
    """Say whether htmx asks, which wants a part of a page."""
    return request.headers.get("hx-request") == "true"


def is_secure(request: Request) -> bool:
    """Say whether the browser came by HTTPS."""
    return request.url.scheme == "https"


@lru_cache(maxsize=1)
def templates() -> Environment:
    """Return the templates."""
    environment = Environment(
        loader=PackageLoader("pointsman.serving.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= shown.FILTERS
    return environment


def _token(request: Request) -> tuple[str, bool]:
    """Return the token of this browser, and whether it was made just now."""
    found = request.scope.get(COOKIES, {}).get(TOKEN_COOKIE)
    return (found, False) if found else (secrets.token_urlsafe(32), True)


def _signs_in(request: Request) -> bool:
    # Refused before the app had started: no services yet.
    if not hasattr(request.app.state, "services"):
        return False
    return services_of(request).access.asks_for_keys(request.scope)
