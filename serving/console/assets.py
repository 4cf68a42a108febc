"""Style, scripts and the vendored libraries, read once and named by their content, so that browsers may keep them."""

import hashlib
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response

from .cookies import ROOT

FOLDER: Final = Path(__file__).parent / "static"
router: Final = APIRouter(include_in_schema=False)

_KEEP: Final = {"cache-control": "public, max-age=31536000, immutable"}


class Asset(NamedTuple):
    """One file."""

    content: bytes
    digest: str
    media_type: str


@lru_cache(maxsize=1)
def assets() -> dict[str, Asset]:
    """Return every file by its name under `static`."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            media_type = mimetypes.guess_type(path.name)[0] or "text/plain"
            digest = hashlib.sha256(content).hexdigest()[:12]
            found[path.relative_to(FOLDER).as_posix()] = Asset(content, digest, media_type)
    return found


def asset_path(name: str) -> str:
    """Return the address of a file under the service's own."""
    return f"{ROOT}/static/{assets()[name].digest}/{name}"


@router.get(ROOT + "/static/{digest}/{name:path}")
async def static(request: Request, digest: str, name: str) -> Response:
    """Return a file; another version's address gets the present file, which nobody may keep."""
    asset = assets().get(name)
    if asset is None:
        return Response("No such file.", status_code=404, media_type="text/plain")
    keep = _KEEP if digest == asset.digest else {"cache-control": "no-cache"}
    return Response(asset.content, media_type=asset.media_type, headers=keep)
