"""The console's two cookies: the key that a browser cannot send as a header, and the token that its forms repeat.

Cookies are secrets to the rest of the service. Only these two are read, and only under the console's own path.
"""

from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Final

from starlette.responses import Response

#: Every page lies under it.
ROOT: Final = "/console"
#: Where the edge leaves what it read.
COOKIES: Final = "pointsman.console_cookies"
KEY_COOKIE: Final = "pointsman_key"
TOKEN_COOKIE: Final = "pointsman_token"  # noqa: S105 - a name

_KEPT: Final = (KEY_COOKIE, TOKEN_COOKIE)
#: A working day; whoever comes back later signs in again.
_MAX_AGE_S: Final = 12 * 3600


def is_console(path: str) -> bool:
    """Say whether a path is one of the console's."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def read_cookies(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the console's cookies out of a request's headers."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name.lower() == b"cookie":
            found |= _parsed(value.decode("latin-1"))
    return found


def keep_cookie(response: Response, name: str, value: str, *, is_secure: bool) -> None:
    """Set one of the cookies: out of reach of scripts, and never sent with what another site's page posts."""
    response.set_cookie(name, value, max_age=_MAX_AGE_S, path=ROOT, secure=is_secure, httponly=True, samesite="lax")


def drop_cookie(response: Response, name: str) -> None:
    """Take a cookie back."""
    response.delete_cookie(name, path=ROOT, httponly=True, samesite="lax")


def _parsed(header: str) -> dict[str, str]:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(header)
    except CookieError:
        return {}
    return {name: jar[name].value for name in _KEPT if name in jar}
