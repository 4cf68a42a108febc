"""Says when the files of the bundle that serves no longer are what is served. The model in memory goes on.

Looks at names, times and sizes; only what changed is read again.
"""

import logging
from pathlib import Path
from typing import Final

from pointsman.classifier.bundle import FILES, MANIFEST, Bundle, load_bundle
from pointsman.classifier.errors import BundleError
from pointsman.classifier.router import Router

from .telemetry import BUNDLE_INTACT, Telemetry

logger = logging.getLogger(__name__)

_Signature = tuple[tuple[int, int] | None, ...]
_SAME: Final = "as served"


class FilesWatch:
    """Compares the bundle that a router decides with, whichever it is now, with its folder."""

    def __init__(self, router: Router, telemetry: Telemetry) -> None:
        self._router, self._telemetry = router, telemetry
        bundle = _served(router)
        self._seen = None if bundle is None else (bundle.digest, _signature(bundle.path))
        #: What the files are like, against what is served.
        self.state = _SAME
        telemetry.observe(BUNDLE_INTACT, 1)

    def look(self) -> None:
        """Read the files again when they, or the bundle that is served, changed; say what they are now."""
        bundle = _served(self._router)
        if bundle is None:
            return
        found = (bundle.digest, _signature(bundle.path))
        if found == self._seen:
            return
        state = _verdict(bundle)
        if _signature(bundle.path) != found[1]:
            return  # still being written: the next look will tell
        self._seen = found
        if state != self.state:
            self.state = state
            self._telemetry.observe(BUNDLE_INTACT, state == _SAME)
            level = logging.INFO if state == _SAME else logging.ERROR
            logger.log(level, "bundle files changed", extra={"bundle": str(bundle.path), "state": state})


def _served(router: Router) -> Bundle | None:
    """Return the bundle that a router decides with; None when it decides with something else."""
    return getattr(router.assessor, "bundle", None)


def _verdict(served: Bundle) -> str:
    try:
        found = load_bundle(served.path)
    except (BundleError, OSError) as exc:
        return f"damaged: {exc} The model in memory goes on; a restart could not load it."
    if found.digest != served.digest:
        return f"another: version {found.manifest.version}, digest {found.digest[:12]}; the model in memory goes on."
    return _SAME


def _signature(folder: Path) -> _Signature:
    return tuple(_stamp(folder / name) for name in (MANIFEST, *FILES))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
