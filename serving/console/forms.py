"""What forms send: small, and only from a page of this console.

A form repeats the token of the browser's cookie. Another site can make a browser send a form, and the cookie with it
in some browsers, but it can read neither.
"""

import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from fastapi import Request

from pointsman.classifier.errors import InputError
from pointsman.serving.bodies import read_body
from pointsman.serving.errors import FormTokenError
from pointsman.serving.services import services_of

from .cookies import COOKIES, TOKEN_COOKIE

TOKEN_HEADER: Final = "x-pointsman-token"  # noqa: S105 - a name
_SMALL_BYTES: Final = 64 * 1024
_MAX_FIELDS: Final = 500


@dataclass(frozen=True, slots=True)
class Form:
    """Fields in the order sent; a name may come several times."""

    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str:
        """Return a field without blanks around it; empty where there is none."""
        return next((value.strip() for key, value in self.fields if key == name), "")

    def all(self, name: str) -> list[str]:
        """Return every value of a name."""
        return [value for key, value in self.fields if key == name]


async def read_form(request: Request, *, limit_bytes: int = _SMALL_BYTES) -> Form:
    """Read a form.

    Raises
    ------
    FormTokenError
        It does not come from a page of this console.
    InputError
        It is no form.
    """
    body = await read_body(request, limit_bytes, services_of(request).settings.body_timeout_s)
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InputError("The form cannot be read. Reload the page and send it again.") from None
    form = Form(tuple(fields))
    expected = request.scope.get(COOKIES, {}).get(TOKEN_COOKIE, "")
    given = request.headers.get(TOKEN_HEADER) or form.get("token")
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise FormTokenError
    return form
