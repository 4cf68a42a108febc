"""Signing in: the key goes into a cookie that scripts cannot read, and out of it again."""

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from pointsman.serving.errors import UnauthenticatedError
from pointsman.serving.services import services_of

from .cookies import KEY_COOKIE, ROOT, TOKEN_COOKIE, drop_cookie, is_console, keep_cookie
from .forms import read_form
from .pages import PageRoute, is_secure, page

router: Final = APIRouter(include_in_schema=False, route_class=PageRoute)

_UNKNOWN: Final = "This key is unknown, revoked or expired. 'pointsman keys create NAME --role view' makes one."


@router.get("/")
async def root(request: Request) -> Response:
    """Lead to the console."""
    return RedirectResponse(f"{request.scope.get('root_path', '')}{ROOT}", status_code=302)


@router.get(ROOT + "/sign-in")
async def ask_key(request: Request) -> Response:
    """Ask for a key."""
    return page(request, "sign_in.html", problem="", target=ROOT)


@router.post(ROOT + "/sign-in")
async def sign_in(request: Request) -> Response:
    """Keep a key that is good."""
    form = await read_form(request)
    target = form.get("target")
    target = target if is_console(target) else ROOT
    try:
        await services_of(request).access.key_of(form.get("key"))
    except UnauthenticatedError:
        return page(request, "sign_in.html", status=401, problem=_UNKNOWN, target=target)
    response = RedirectResponse(target, status_code=303)
    keep_cookie(response, KEY_COOKIE, form.get("key"), is_secure=is_secure(request))
    return response


@router.post(ROOT + "/sign-out")
async def sign_out(request: Request) -> Response:
    """Forget the key."""
    await read_form(request)
    response = RedirectResponse(f"{ROOT}/sign-in", status_code=303)
    drop_cookie(response, KEY_COOKIE)
    drop_cookie(response, TOKEN_COOKIE)
    return response
