"""Where the served bundle comes from: the package, a folder, an alias folder, or the mirror of a model registry.

A folder is looked at again and again: it may be written anew, and an alias may be moved. What is found is named by the
digest of its manifest, so that the same bundle is never loaded twice.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pointsman.classifier.aliases import AliasFolder, Challenger
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import DEFAULT_BUNDLE, MANIFEST, load_bundle
from pointsman.classifier.errors import BundleCorruptError, BundleError, BundleNotFoundError
from pointsman.classifier.signature import require_signature

from .registry_mirror import RegistryMirror, names_registry
from .settings import Settings, data_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Named:
    """A bundle that is named, not yet looked into."""

    folder: Path
    digest: str


class ModelSource:
    """Says which bundle should serve, and which one should be tried."""

    def __init__(self, path: Path | None, mirror: RegistryMirror | None = None, *, key: Path | None = None) -> None:
        self._path, self._mirror, self._key = path, mirror, key

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings name."""
        if settings.bundle is None or settings.registry_url is None or not names_registry(settings.bundle):
            return cls(settings.bundle, key=settings.bundle_key)
        mirror = RegistryMirror(
            settings.registry_url,
            str(settings.bundle),
            data_folder() / "registry",
            wants_signature=settings.bundle_key is not None,
        )
        return cls(mirror.folder, mirror, key=settings.bundle_key)

    @property
    def is_watched(self) -> bool:
        """Say whether it can change; the bundle in the package changes with the package alone."""
        return self._path is not None

    @property
    def _aliases(self) -> AliasFolder | None:
        return None if self._path is None else AliasFolder.at(self._path)

    def champion(self) -> Named:
        """Return the bundle that should serve.

        Raises
        ------
        BundleError
            There is none, the pointer to it cannot be read, or the registry cannot be asked.
        """
        if self._mirror is not None:
            self._mirror.refresh()
        return self._candidates()[0]

    def challenger(self) -> tuple[Named, Challenger] | None:
        """Return the bundle that should be tried on live traffic, and how; None when there is none."""
        aliases = self._aliases
        found = None if aliases is None else aliases.challenger()
        if aliases is None or found is None:
            return None
        return Named(aliases.bundle(found.pointer), found.pointer.digest), found

    def usable(self) -> Path | None:
        """Return the folder of the bundle that should serve, or else of the last one that did; None: the package's.

        Raises
        ------
        BundleError
            None can be used; the message is about the first.
        """
        if self._path is None:
            if self._key is not None:
                require_signature(DEFAULT_BUNDLE, self._key)
            return None
        if self._mirror is not None:
            self._mirror.refresh_if_possible()
        first: BundleError | None = None
        for named in self._candidates():
            try:
                self.verify(named)
            except BundleError as exc:
                logger.error("bundle cannot be used", extra={"problem": str(exc)})
                first = first or exc
            else:
                return named.folder
        raise first or BundleNotFoundError(f"no bundle in {self._path}. Promote one: pointsman promote.")

    def load(self, named: Named, *, n_threads: int) -> Assessor:
        """Verify and load a bundle that was named.

        Raises
        ------
        BundleError
            It is missing, damaged, another one than was named, or not signed where a signature is asked for.
        """
        self.verify(named)
        return Assessor.load(named.folder, n_threads=n_threads)

    def verify(self, named: Named) -> None:
        """Check a bundle's signature, its files against its manifest, and the manifest against the name; see `load`."""
        if self._key is not None:
            # Before anything of the bundle is parsed.
            require_signature(named.folder, self._key)
        bundle = load_bundle(named.folder)
        if bundle.digest != named.digest:
            msg = (
                f"bundle '{named.folder.name}': its manifest has sha256 {bundle.digest[:12]}..., expected "
                f"{named.digest[:12]}.... It changed since it was named; promote it again."
            )
            raise BundleCorruptError(msg)

    def _candidates(self) -> list[Named]:
        """Return the bundle that should serve, and those that served before it."""
        aliases = self._aliases
        champion = None if aliases is None else aliases.champion()
        if aliases is None or champion is None:
            folder = self._path or DEFAULT_BUNDLE
            return [Named(folder, _manifest_digest(folder))]
        return [Named(aliases.bundle(pointer), pointer.digest) for pointer in (champion.pointer, *champion.before)]


def _manifest_digest(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except OSError as exc:
        msg = (
            f"no bundle at '{folder}': {MANIFEST} cannot be read ({type(exc).__name__}). "
            "Name a bundle folder or an alias folder, or train one: pointsman train."
        )
        raise BundleNotFoundError(msg) from exc
