"""An alias folder: which bundle serves, and which one tries to take its place.

    champion.json      the bundle that serves, and those that served before it, newest first
    challenger.json    the bundle that is tried on live traffic: in the shadow, and for a share of it (canary)
    bundles/DIGEST/    bundles, each under the digest of its manifest
    verdicts/          what the last contests between champion and challenger said, for people to look at
    lock               held while somebody changes the folder

`pointsman retrain`, `promote`, `canary` and `rollback` write it; servers read it. A pointer is replaced as a whole, a
bundle is complete before a pointer names it, and a bundle that is named never changes. One at a time writes; readers
wait for nobody.
"""

import json
import logging
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Final, Literal, Self, TypeVar

from .errors import BundleCorruptError, BundleNotFoundError, BundleVersionError
from .records import utc_now

logger = logging.getLogger(__name__)

FORMAT: Final = 1
Alias = Literal["champion", "challenger"]
BUNDLES: Final = "bundles"
_VERDICTS: Final = "verdicts"
#: How many bundles that served before stay, for `rollback`.
N_KEPT: Final = 5
_N_VERDICTS: Final = 10
#: How long a bundle stays that nothing names: somebody may be about to name it.
_SPARED_S: Final = 3600
_LOCK: Final = "lock"

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Pointer:
    """One bundle of the folder.

    Attributes
    ----------
    digest, version : str
        Of the bundle.
    since : str
        When it got the alias; UTC.
    reason : str
        Why it got it, in words.
    registered : str or None
        Its version in the model registry, where it is in one.
    """

    digest: str
    version: str
    since: str
    reason: str
    registered: str | None = None


@dataclass(frozen=True, slots=True)
class Champion:
    """The bundle that serves, and those that served before it, newest first."""

    pointer: Pointer
    before: tuple[Pointer, ...] = ()


@dataclass(frozen=True, slots=True)
class Challenger:
    """The bundle that is tried.

    Attributes
    ----------
    pointer : Pointer
        Which one.
    shadow_share : float
        Of the turns that are classified, the share it assesses in the background, in [0, 1].
    canary_share : float
        The share of sessions whose turns it decides, in [0, 1].
    canary_keys : tuple of str
        Keys (`Caller.key_id`) whose turns it decides.
    """

    pointer: Pointer
    shadow_share: float = 1.0
    canary_share: float = 0.0
    canary_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, share in (("shadow_share", self.shadow_share), ("canary_share", self.canary_share)):
            if not 0 <= share <= 1:
                msg = f"{name} is {share}; expected a number from 0 to 1."
                raise ValueError(msg)


class _Held(threading.local):
    """The alias folders that this thread is changing."""

    def __init__(self) -> None:
        self.paths: set[Path] = set()


_held: Final = _Held()


class AliasFolder:
    """Reads and writes one alias folder."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @classmethod
    def at(cls, path: Path) -> Self | None:
        """Return the alias folder at a path; None when it is none."""
        return cls(path) if _file(path, "champion").is_file() else None

    def bundle(self, pointer: Pointer) -> Path:
        """Return the folder of a bundle."""
        return self.path / BUNDLES / pointer.digest

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let nobody else change the folder until the block ends, in this process or another; waits for who does.

        Blocks may be nested. The operating system frees the lock when a process ends, however it ends.
        """
        path = self.path.resolve()
        if path in _held.paths:
            yield
            return
        path.mkdir(parents=True, exist_ok=True)
        with (path / _LOCK).open("ab") as file:
            _lock(file, path)
            _held.paths.add(path)
            try:
                yield
            finally:
                _held.paths.discard(path)
                _unlock(file)

    def champion(self) -> Champion | None:
        """Return the bundle that serves; None when nothing was promoted yet.

        Raises
        ------
        BundleError
            The pointer cannot be read.
        """
        values = self._read("champion")
        if values is None:
            return None
        return _reading(
            _file(self.path, "champion"),
            lambda: Champion(_pointer(values), tuple(map(_pointer, values.get("before", ())))),
        )

    def challenger(self) -> Challenger | None:
        """Return the bundle that is tried; None when there is none.

        Raises
        ------
        BundleError
            The pointer cannot be read.
        """
        values = self._read("challenger")
        if values is None:
            return None
        return _reading(
            _file(self.path, "challenger"),
            lambda: Challenger(
                _pointer(values),
                shadow_share=float(values["shadow_share"]),
                canary_share=float(values["canary_share"]),
                canary_keys=tuple(map(str, values["canary_keys"])),
            ),
        )

    def add(self, source: Path) -> Pointer:
        """Copy a bundle into the folder, verified, and return a pointer to it; nothing points there yet.

        Raises
        ------
        BundleError
            The source, or the copy, is not the bundle that its manifest describes.
        """
        from .bundle import FILES, MANIFEST, load_bundle
        from .signature import SIGNATURE

        bundle = load_bundle(source)
        version = bundle.manifest.version
        pointer = Pointer(bundle.digest, version, utc_now(), "added")
        target = self.bundle(pointer)
        if target.is_dir():
            os.utime(target)  # somebody is about to name it
        else:
            scratch = self.path / BUNDLES / f".{bundle.digest}.{uuid.uuid4().hex}"
            scratch.mkdir(parents=True)
            try:
                for name in (*FILES, MANIFEST):
                    shutil.copyfile(bundle.file(name), scratch / name)
                os.replace(scratch, target)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        if bundle.file(SIGNATURE).is_file():
            # Also beside a copy that is there already: a bundle may be signed later.
            sealed = target / f".{SIGNATURE}.{uuid.uuid4().hex}"
            shutil.copyfile(bundle.file(SIGNATURE), sealed)
            os.replace(sealed, target / SIGNATURE)
        if load_bundle(target).digest != bundle.digest:
            msg = f"bundle '{version}': its copy in {self.path} is not the same. Remove the copy, and try again."
            raise BundleCorruptError(msg)
        return pointer

    def promote(self, pointer: Pointer, *, reason: str) -> Champion:
        """Let a bundle of the folder serve; a challenger that was this bundle is one no more.

        Raises
        ------
        BundleNotFoundError
            The folder holds no such bundle.
        """
        with self.changing():
            self._require(pointer)
            present = self.champion()
            before = () if present is None else (present.pointer, *present.before)
            kept = tuple(old for old in before if old.digest != pointer.digest)[:N_KEPT]
            champion = Champion(replace(pointer, since=utc_now(), reason=reason), kept)
            self._write_champion(champion)
            self._end_trial(pointer)
            self._prune()
            return champion

    def roll_back(self, *, reason: str) -> Champion:
        """Let the bundle serve that served before; the present one is neither kept for a rollback nor tried.

        Raises
        ------
        BundleNotFoundError
            None served before, or the folder does not hold it any more.
        """
        with self.changing():
            present = self.champion()
            if present is None or not present.before:
                msg = f"no bundle served before the present one in {self.path}. Promote another one: pointsman promote."
                raise BundleNotFoundError(msg)
            first, *older = present.before
            self._require(first)
            champion = Champion(replace(first, since=utc_now(), reason=reason), tuple(older))
            self._write_champion(champion)
            self._end_trial(present.pointer)
            return champion

    def challenge(self, challenger: Challenger | None) -> None:
        """Try a bundle of the folder on live traffic, or end the trial.

        Raises
        ------
        BundleNotFoundError
            The folder holds no such bundle.
        """
        path = _file(self.path, "challenger")
        with self.changing():
            if challenger is None:
                path.unlink(missing_ok=True)
                return
            self._require(challenger.pointer)
            values = asdict(challenger)
            self._write(path, values.pop("pointer") | values)

    def keep_verdict(self, verdict: Mapping[str, Any]) -> None:
        """Keep what a contest said, with the time; the newest few stay."""
        folder, at = self.path / _VERDICTS, utc_now()
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder / f"{at.replace(':', '')}.json", {"at": at, **verdict})
        for old in sorted(folder.glob("*.json"), reverse=True)[_N_VERDICTS:]:
            old.unlink(missing_ok=True)

    def verdicts(self) -> list[dict[str, Any]]:
        """Return what the last contests said, newest first; files that cannot be read are left out."""
        found = []
        for path in sorted((self.path / _VERDICTS).glob("*.json"), reverse=True):
            try:
                values = json.loads(path.read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(values, dict) and values.get("format") == FORMAT:
                found.append(values)
        return found

    def _require(self, pointer: Pointer) -> None:
        from .bundle import MANIFEST

        if not (self.bundle(pointer) / MANIFEST).is_file():
            msg = (
                f"bundle '{pointer.version}' ({pointer.digest[:12]}) is not in {self.path}; expected its files before "
                "it is named. Promote or try it from where it was trained, with --bundle."
            )
            raise BundleNotFoundError(msg)

    def _end_trial(self, pointer: Pointer) -> None:
        """Try a bundle no more, if it is the one that is tried."""
        challenger = self.challenger()
        if challenger is not None and challenger.pointer.digest == pointer.digest:
            self.challenge(None)

    def _write_champion(self, champion: Champion) -> None:
        before = [asdict(pointer) for pointer in champion.before]
        self._write(_file(self.path, "champion"), asdict(champion.pointer) | {"before": before})

    def _write(self, path: Path, values: dict[str, Any]) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        text = json.dumps({"format": FORMAT, **values}, indent=2, ensure_ascii=False) + "\n"
        with scratch.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)

    def _read(self, alias: Alias) -> dict[str, Any] | None:
        path = _file(self.path, alias)
        try:
            values = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            msg = f"{path}: not readable ({type(error).__name__}); expected JSON. Promote a bundle again."
            raise BundleCorruptError(msg) from error
        version = values.get("format") if isinstance(values, dict) else None
        if version != FORMAT:
            msg = f"{path} has format {version!r}; this code reads {FORMAT}. Upgrade pointsman, or promote again."
            raise BundleVersionError(msg)
        return dict(values)

    def _prune(self) -> None:
        """Remove the bundles that nothing names any more, but for those that were just added."""
        champion, challenger = self.champion(), self.challenger()
        named = [] if champion is None else [champion.pointer, *champion.before]
        named += [] if challenger is None else [challenger.pointer]
        kept = {pointer.digest for pointer in named}
        spared = time.time() - _SPARED_S
        for folder in (self.path / BUNDLES).iterdir():
            if folder.name not in kept and not folder.name.startswith(".") and folder.stat().st_mtime < spared:
                shutil.rmtree(folder, ignore_errors=True)


def resolve_bundle(path: Path) -> Path:
    """Return the folder of the champion when a path is an alias folder, else the path itself.

    Raises
    ------
    BundleError
        The folder's pointer cannot be read.
    """
    folder = AliasFolder.at(path)
    champion = None if folder is None else folder.champion()
    return path if folder is None or champion is None else folder.bundle(champion.pointer)


def _lock(file: IO[bytes], folder: Path) -> None:
    # Windows has no such lock; there, two that change a folder at once are kept apart by nobody.
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("%s is being changed by somebody else; waits", folder)
            fcntl.flock(file, fcntl.LOCK_EX)


def _unlock(file: IO[bytes]) -> None:
    if sys.platform != "win32":
        import fcntl

        fcntl.flock(file, fcntl.LOCK_UN)


def _reading(path: Path, read: Callable[[], _Value]) -> _Value:
    try:
        return read()
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path}: {error!r}; expected what 'pointsman promote' writes. Promote a bundle again."
        raise BundleCorruptError(msg) from error


def _pointer(values: Mapping[str, Any]) -> Pointer:
    digest = str(values["digest"])
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        msg = f"digest has {len(digest)} characters; expected 64 hexadecimal ones"
        raise ValueError(msg)
    registered = values.get("registered")
    return Pointer(
        digest,
        str(values["version"]),
        str(values["since"]),
        str(values["reason"]),
        None if registered is None else str(registered),
    )


def _file(folder: Path, alias: Alias) -> Path:
    return folder / f"{alias}.json"
