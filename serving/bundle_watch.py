"""Says when the bundle's files no longer are what is served. The model in memory goes on; a restart would not.

Looks at names, times and sizes; only what changed is read again. Never raises: it is here to tell.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

from starlette.concurrency import run_in_threadpool

from pointsman.classifier.bundle import DEFAULT_BUNDLE, FILES, MANIFEST, load_bundle
from pointsman.classifier.errors import BundleError

from .telemetry import BUNDLE_INTACT, Telemetry

logger = logging.getLogger(__name__)

_Signature = tuple[tuple[int, int] | None, ...]
_SAME: Final = "as served"


class BundleWatch:
    """Compares the folder that the settings name with the bundle that is served."""

    def __init__(self, folder: Path | None, served_digest: str | None, telemetry: Telemetry) -> None:
        self._folder = folder or DEFAULT_BUNDLE
        self._served = served_digest
        self._telemetry = telemetry
        self._seen = _signature(self._folder)
        self._state = _SAME
        telemetry.observe(BUNDLE_INTACT, 1)

    def describe(self) -> dict[str, Any]:
        """Return what the files are like, against what is served."""
        return {"bundle_on_disk": self._state}

    async def run(self, wait_s: float) -> None:
        """Look until cancelled; at once when there is nothing to compare with."""
        while wait_s and self._served is not None:
            await asyncio.sleep(wait_s)
            await run_in_threadpool(self.look)

    def look(self) -> None:
        """Read the files again when they changed, and say what they are now."""
        found = _signature(self._folder)
        if found == self._seen:
            return
        state = self._verdict()
        if _signature(self._folder) != found:
            return  # still being written: the next look will tell
        self._seen = found
        if state != self._state:
            self._state = state
            self._telemetry.observe(BUNDLE_INTACT, state == _SAME)
            level = logging.INFO if state == _SAME else logging.ERROR
            logger.log(level, "bundle files changed", extra={"bundle": str(self._folder), "state": state})

    def _verdict(self) -> str:
        try:
            bundle = load_bundle(self._folder)
        except (BundleError, OSError) as exc:
            return f"damaged: {exc} The model in memory goes on; a restart would fail."
        if bundle.digest != self._served:
            return f"another: version {bundle.manifest.version}, digest {bundle.digest[:12]}; a restart would serve it."
        return _SAME


def _signature(folder: Path) -> _Signature:
    return tuple(_stamp(folder / name) for name in (MANIFEST, *FILES))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
