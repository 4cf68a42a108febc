"""What a browser sees that is not let in: the page to sign in, or why not."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from pointsman.serving.errors import ServingError, UnauthenticatedError

from .cookies import COOKIES, KEY_COOKIE, is_console
from .pages import error_page, page


def refusal_page(scope: Scope, exc: ServingError) -> Response | None:
    """Return the page for a refusal; None for a request that wants none."""
    if scope["type"] != "http":
        return None
    request = Request(scope)
    if not is_console(request.url.path.removeprefix(str(scope.get("root_path", "")))):
        return None
    if "text/html" not in request.headers.get("accept", "") and "hx-request" not in request.headers:
        return None
    if isinstance(exc, UnauthenticatedError):
        had_key = KEY_COOKIE in scope.get(COOKIES, {})
        problem = "You were signed out: the key has ended or is not known." if had_key else ""
        response = page(request, "sign_in.html", status=401, problem=problem, target=request.url.path)
        response.headers["www-authenticate"] = "Bearer"
        return response
    return error_page(request, exc)
