"""The champion of a model registry, mirrored into a local alias folder.

MLflow is asked over its REST interface; the service needs no mlflow. A bundle is fetched whole and verified before the
mirror names it. While the registry is away the mirror stands, and a start goes on with what it holds.
"""

import base64
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from pointsman.classifier.aliases import AliasFolder
from pointsman.classifier.bundle import FILES, MANIFEST, load_bundle
from pointsman.classifier.errors import BundleCorruptError, BundleError, BundleNotFoundError
from pointsman.classifier.signature import SIGNATURE

logger = logging.getLogger(__name__)

_NAMED: Final = re.compile(r"models:/(?P<name>[^@/]+)@(?P<alias>[^@/]+)")
_TIMEOUT_S: Final = 20.0
#: What `pointsman retrain` tags a version with, and where its run keeps the bundle.
_DIGEST: Final = "bundle_digest"
_BUNDLE: Final = "bundle"
#: How an artifact store that the server proxies is named.
_PROXIED: Final = "mlflow-artifacts:"


def names_registry(path: Path) -> bool:
    """Say whether a bundle is named by an alias of the registry."""
    return str(path).startswith("models:/")


class RegistryMirror:
    """Keeps a local alias folder as an alias of the registry says."""

    def __init__(self, url: str, named: str, folder: Path, *, wants_signature: bool = False) -> None:
        found = _NAMED.fullmatch(named)
        if found is None:
            msg = f"POINTSMAN_BUNDLE is {named!r}; expected models:/NAME@ALIAS, such as models:/pointsman@champion."
            raise BundleNotFoundError(msg)
        self._name, self._alias = found["name"], found["alias"]
        self._base, self._headers = _without_password(url)
        self._wants_signature = wants_signature
        self.folder = folder / hashlib.sha256(f"{self._base} {named}".encode()).hexdigest()[:16]

    def refresh(self) -> None:
        """Ask the registry, and fetch the bundle it names unless it is there.

        Raises
        ------
        BundleError
            The registry cannot be asked, names nothing, or what it gives is not what it names.
        """
        try:
            self._refresh()
        except (KeyError, TypeError) as exc:
            msg = (
                f"registry {self._base} gave an answer without {exc}; expected MLflow's. Check POINTSMAN_REGISTRY_URL."
            )
            raise BundleNotFoundError(msg) from exc

    def _refresh(self) -> None:
        version = self._get("registered-models/alias", name=self._name, alias=self._alias)["model_version"]
        digest = next((tag["value"] for tag in version.get("tags", ()) if tag["key"] == _DIGEST), None)
        if digest is None:
            msg = f"version {version.get('version')} of {self._name!r} has no tag {_DIGEST!r}; register it by retrain."
            raise BundleNotFoundError(msg)
        folder = AliasFolder(self.folder)
        present = folder.champion()
        if present is not None and present.pointer.digest == digest:
            # A bundle may be signed after it was registered.
            target = folder.bundle(present.pointer)
            if self._wants_signature and not (target / SIGNATURE).is_file():
                self._fetch_signature(self._place(version), target)
            return
        with tempfile.TemporaryDirectory() as scratch:
            place = self._place(version)
            for name in (*FILES, MANIFEST):
                self._fetch(place, name, Path(scratch))
            if self._wants_signature:
                self._fetch_signature(place, Path(scratch))
            found = load_bundle(Path(scratch)).digest
            if found != digest:
                msg = f"the registry gave bundle {found[:12]}..., its tag says {digest[:12]}.... Register it again."
                raise BundleCorruptError(msg)
            pointer = replace(folder.add(Path(scratch)), registered=str(version["version"]))
        folder.promote(pointer, reason=f"{self._alias} of the registry")

    def refresh_if_possible(self) -> None:
        """Ask the registry; when that fails, what the mirror holds will do, if it holds anything."""
        try:
            self.refresh()
        except BundleError as exc:
            if AliasFolder(self.folder).champion() is None:
                raise
            logger.warning("the registry cannot be used, its mirror serves", extra={"problem": str(exc)})

    def _place(self, version: Mapping[str, Any]) -> str:
        """Return the path of a version's bundle among the server's artifacts."""
        root = str(self._get("runs/get", run_id=str(version["run_id"]))["run"]["info"]["artifact_uri"])
        if not root.startswith(_PROXIED):
            msg = f"the registry keeps artifacts at {root.partition(':')[0]}:; expected a server that proxies them."
            raise BundleNotFoundError(msg)
        return f"{urlsplit(root).path.strip('/')}/{_BUNDLE}"

    def _fetch(self, place: str, name: str, folder: Path) -> None:
        # A name of its own until it is whole: a server may read the folder.
        scratch = folder / f".{name}.{uuid.uuid4().hex}"
        try:
            with (
                self._open(f"/api/2.0/mlflow-artifacts/artifacts/{quote(f'{place}/{name}')}") as answer,
                scratch.open("wb") as file,
            ):
                shutil.copyfileobj(answer, file)
            os.replace(scratch, folder / name)
        finally:
            scratch.unlink(missing_ok=True)

    def _fetch_signature(self, place: str, folder: Path) -> None:
        try:
            self._fetch(place, SIGNATURE, folder)
        except BundleNotFoundError as exc:
            # Not signed yet: whoever asks for a signature says so.
            logger.debug("no signature in the registry", extra={"problem": str(exc)})

    def _get(self, what: str, **query: str) -> Any:
        with self._open(f"/api/2.0/mlflow/{what}?{urlencode(query)}") as answer:
            return json.load(answer)

    @contextmanager
    def _open(self, path: str) -> Iterator[Any]:
        """Open an address of the registry; whatever goes wrong while it is read is one error that names the server."""
        request = Request(self._base + path, headers=self._headers)  # noqa: S310  http(s), by the settings
        try:
            with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                yield answer
        except HTTPError as exc:
            exc.close()
            msg = f"registry {self._base} answers {exc.code} for models:/{self._name}@{self._alias}; expected 200."
            raise BundleNotFoundError(msg) from exc
        except (OSError, HTTPException, ValueError) as exc:
            msg = f"registry {self._base} cannot be read ({type(exc).__name__}). Check POINTSMAN_REGISTRY_URL."
            raise BundleNotFoundError(msg) from exc


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """Split user and password off an address, into a header."""
    parts = urlsplit(url)
    base = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
    if parts.username is None:
        return base, {}
    known = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return base, {"authorization": f"Basic {base64.b64encode(known.encode()).decode()}"}
