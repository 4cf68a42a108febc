"""Every page of the console."""

from typing import Final

from fastapi import APIRouter, Request, Response

from . import assets, live, models, overview, playground, review, savings, signing
from .cookies import ROOT
from .pages import PageRoute, page

_rest: Final = APIRouter(include_in_schema=False, route_class=PageRoute)


@_rest.get(ROOT + "/{path:path}")
async def nowhere(request: Request, path: str) -> Response:
    """Say that there is no such page."""
    return page(request, "error.html", status=404, message="There is no such page.")


def console_routers() -> tuple[APIRouter, ...]:
    """Return the routers in the order in which they are asked; the last one takes what the others leave."""
    resources = (assets, signing, overview, playground, live, savings, review, models)
    return (*(resource.router for resource in resources), _rest)
