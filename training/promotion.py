"""Who serves: promotion, the way back, and the trial of a challenger on live traffic.

The alias folder is what servers read. Where a model registry is named, its aliases follow: it is asked first, since it
may refuse, and put back when the folder cannot be written. From the first look to the last change nobody else changes
the folder (`AliasFolder.changing`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pointsman.classifier.aliases import AliasFolder, Challenger, Champion, Pointer
from pointsman.classifier.bundle import Bundle, load_bundle
from pointsman.classifier.errors import BundleNotFoundError, InputError

from .verdict import Judgement, read_judgement


@dataclass(frozen=True, slots=True)
class Place:
    """Where aliases are kept: the folder that servers read, and the registry that follows it, if any."""

    aliases: Path
    tracking: str | None = None

    @property
    def folder(self) -> AliasFolder:
        return AliasFolder(self.aliases)


def promote(
    place: Place, *, verdict: Path | None = None, bundle: Path | None = None, force: str | None = None
) -> Champion:
    """Let a challenger serve.

    Parameters
    ----------
    place : Place
        Where aliases are kept.
    verdict : path, optional
        Folder with the verdict of its contest; needed unless forced.
    bundle : path, optional
        Folder of the challenger; the one beside the verdict, or the alias folder's, when left out.
    force : str, optional
        Why it is promoted whatever the verdict says; kept with the promotion.

    Raises
    ------
    InputError
        No verdict, one of other bundles, or one that keeps the champion.
    BundleError
        The challenger is no valid bundle.
    """
    folder = place.folder
    with folder.changing():
        challenger = folder.challenger()
        if bundle is None and verdict is not None and (verdict / "bundle").is_dir():
            bundle = verdict / "bundle"  # where `retrain` puts both
        if bundle is None and challenger is None:
            msg = f"no challenger in {place.aliases}; expected one of 'pointsman retrain'. Name a bundle with --bundle."
            raise InputError(msg)
        found = load_bundle(folder.bundle(challenger.pointer) if bundle is None and challenger is not None else bundle)
        registered = _registered(place, challenger, found)
        reason = _reason(folder, found, None if verdict is None else read_judgement(verdict), force)
        pointer = replace(folder.add(found.path), registered=registered)
        with _in_registry(place, pointer, found):
            return folder.promote(pointer, reason=reason)


def roll_back(place: Place, *, reason: str) -> Champion:
    """Let the bundle serve that served before.

    Raises
    ------
    BundleError
        None served before, or its folder is damaged.
    """
    folder = place.folder
    with folder.changing():
        present = folder.champion()
        if present is None or not present.before:
            msg = f"no bundle served before the present one in {place.aliases}; nothing to go back to."
            raise BundleNotFoundError(msg)
        former = load_bundle(folder.bundle(present.before[0]))
        with _in_registry(place, present.before[0], former):
            return folder.roll_back(reason=reason)


def try_out(
    place: Place,
    *,
    bundle: Path | None = None,
    shadow_share: float | None = None,
    canary_share: float | None = None,
    canary_keys: tuple[str, ...] | None = None,
) -> Challenger:
    """Set how a challenger is tried on live traffic; what is left out stays as it is.

    Raises
    ------
    InputError
        There is no challenger, or a share is not from 0 to 1.
    """
    folder = place.folder
    with folder.changing():
        if folder.champion() is None:
            msg = f"no champion in {place.aliases}; expected one before a challenger is tried. Run: pointsman promote."
            raise InputError(msg)
        present = folder.challenger()
        if bundle is not None:
            present = Challenger(replace(folder.add(bundle), reason="tried out by hand"))
        if present is None:
            msg = f"no challenger in {place.aliases}; expected one of 'pointsman retrain'. Name a bundle with --bundle."
            raise InputError(msg)
        try:
            challenger = Challenger(
                present.pointer,
                present.shadow_share if shadow_share is None else shadow_share,
                present.canary_share if canary_share is None else canary_share,
                present.canary_keys if canary_keys is None else canary_keys,
            )
        except ValueError as error:
            raise InputError(str(error)) from error
        folder.challenge(challenger)
        return challenger


def _reason(folder: AliasFolder, found: Bundle, judgement: Judgement | None, force: str | None) -> str:
    """Return why the bundle may serve, or refuse."""
    if force is not None:
        return f"forced: {force}"
    present = folder.champion()
    if judgement is None:
        msg = "a promotion needs the verdict of a contest. Run 'pointsman contest', or say why not: --force REASON."
        raise InputError(msg)
    if judgement.challenger != found.digest:
        msg = (
            f"the verdict is about bundle {judgement.challenger[:12]}, the challenger is {found.digest[:12]}. "
            "Hold the contest again: pointsman contest."
        )
        raise InputError(msg)
    if present is not None and judgement.champion != present.pointer.digest:
        msg = (
            f"the verdict is against champion {judgement.champion[:12]}, now {present.pointer.digest[:12]} serves. "
            "Hold the contest again: pointsman contest."
        )
        raise InputError(msg)
    if not judgement.promotes:
        msg = f"the verdict keeps the champion: {judgement.reason}. Say why you know better with --force REASON."
        raise InputError(msg)
    return judgement.reason


def _registered(place: Place, challenger: Challenger | None, found: Bundle) -> str | None:
    """Return the bundle's version in the registry; None when it is in none."""
    if challenger is not None and challenger.pointer.digest == found.digest and challenger.pointer.registered:
        return challenger.pointer.registered
    if place.tracking is None:
        return None
    from .registry import find_registered

    return find_registered(place.tracking, found.digest)


@contextmanager
def _in_registry(place: Place, pointer: Pointer, bundle: Bundle) -> Iterator[None]:
    """Flip the registry's alias around the change of the folder.

    A bundle that is in no registry is entered where the alias names another one: servers that follow it would go on
    with that. Where it names none, nobody follows it, and the bundle is passed by.
    """
    if place.tracking is None:
        yield
        return
    from .registry import alias_of, enter, find_registered, set_alias

    before = alias_of(place.tracking, "champion")
    registered = pointer.registered or find_registered(place.tracking, bundle.digest)
    if registered is not None:
        set_alias(place.tracking, "champion", registered)
    elif before is not None:
        enter(place.tracking, bundle)
    else:
        yield
        return
    try:
        yield
    except BaseException:
        set_alias(place.tracking, "champion", before)
        raise
