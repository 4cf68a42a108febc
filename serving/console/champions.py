"""Which bundle serves, which one is tried, and which ones served before, with the acts that change it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.aliases import AliasFolder, Pointer
from pointsman.classifier.bundle import Manifest, load_bundle
from pointsman.classifier.errors import BundleError, InputError
from pointsman.serving.audit import Act, write_act
from pointsman.serving.services import Services
from pointsman.serving.store import failure_of, writing

from .measured import HeadFigures, of_manifest
from .verdicts import verdict_on


@dataclass(frozen=True, slots=True)
class Contender:
    """One bundle beside others; `manifest` is None where it cannot be read, and `problem` says why."""

    role: str
    version: str
    digest: str
    since: str
    reason: str
    manifest: Manifest | None
    problem: str = ""

    @property
    def heads(self) -> dict[str, HeadFigures]:
        """Its figures, by head."""
        return {} if self.manifest is None else {found.head: found for found in of_manifest(self.manifest.metrics)}

    @property
    def is_drawn(self) -> bool:
        """Whether its manifest keeps what is drawn."""
        return any(found.bins for found in self.heads.values())

    @property
    def evaluation(self) -> dict[str, Any]:
        """What its manifest says of its measurement."""
        return {} if self.manifest is None else dict(self.manifest.metrics.get("evaluation") or {})

    @property
    def care(self) -> dict[str, Any]:
        """Its figures on turns that need care."""
        return dict(self.evaluation.get("care") or {})

    @property
    def promises(self) -> dict[float, float | None]:
        """Its thresholds of the care probability, by the share of turns needing care that it may miss."""
        bounds = () if self.manifest is None else self.manifest.risk_bounds
        return {bound.max_missed: bound.threshold for bound in bounds}


def contenders(services: Services) -> list[Contender]:
    """Return the champion, the challenger where there is one, and those that served before; blocks."""
    bundle = getattr(services.model.router.assessor, "bundle", None)
    if bundle is None:
        return [Contender("champion", services.model.router.model_version, "", "", "", None, "It is no bundle.")]
    manifest = bundle.manifest
    serving = Contender("champion", manifest.version, bundle.digest, manifest.created_at, "", manifest)
    folder = alias_folder(services)
    if folder is None:
        return [serving]
    champion, challenger = folder.champion(), folder.challenger()
    if champion is not None and champion.pointer.digest == bundle.digest:
        serving = replace(serving, since=champion.pointer.since, reason=champion.pointer.reason)
    found = [serving]
    if challenger is not None:
        found.append(_contender("challenger", folder, challenger.pointer))
    if champion is not None:
        found += [_contender("served before", folder, pointer) for pointer in champion.before]
    return found


def alias_folder(services: Services) -> AliasFolder | None:
    """Return the alias folder that the settings name; None where they name something else."""
    path = services.settings.bundle
    return None if path is None else AliasFolder.at(path)


def promote(services: Services, digest: str, actor: str, why: str) -> str:
    """Let the challenger of this digest serve; returns its version. Blocks.

    Parameters
    ----------
    services : Services
        With the alias folder.
    digest : str
        Of the challenger as the page showed it.
    actor : str
        Whose act it is.
    why : str
        Needed where no contest with the present champion says that it may; kept with the promotion.

    Raises
    ------
    InputError
        Another bundle is the challenger by now, or none is; or nothing says why it may serve.
    """
    folder = alias_folder(services)
    challenger = None if folder is None else folder.challenger()
    if folder is None or challenger is None or challenger.pointer.digest != digest:
        raise InputError("This bundle is not the challenger any more. Reload the page and look again.")
    pointer = challenger.pointer
    champion = folder.champion()
    verdict = None if champion is None else verdict_on(folder, champion.pointer.digest, digest)
    if verdict is not None and verdict.promotes:
        reason = verdict.reason
    elif why:
        reason = f"forced: {why}"
    else:
        said = "No contest with the champion is kept" if verdict is None else "The last contest keeps the champion"
        raise InputError(f"{said}, so say why {pointer.version} may serve all the same.")
    reason = f"{reason}; promoted by {actor} in the console"
    _audited(
        services,
        Act(actor, "models.promote", pointer.version, {"digest": digest, "reason": reason}),
        lambda: folder.promote(pointer, reason=reason),
    )
    services.watch.look()
    return pointer.version


def roll_back(services: Services, digest: str, actor: str, why: str) -> str:
    """Let the bundle serve that served before the one of this digest; returns its version. Blocks.

    Raises
    ------
    InputError
        Another bundle serves by now, or none served before.
    """
    folder = alias_folder(services)
    champion = None if folder is None else folder.champion()
    if folder is None or champion is None or champion.pointer.digest != digest or not champion.before:
        raise InputError("There is nothing to go back to from this bundle. Reload the page and look again.")
    version = champion.before[0].version
    reason = f"{why or 'rolled back'}; by {actor} in the console"
    details = {"digest": champion.before[0].digest, "from": digest, "reason": reason}
    _audited(
        services,
        Act(actor, "models.rollback", version, details),
        lambda: folder.roll_back(reason=reason),
    )
    services.watch.look()
    return version


def _audited(services: Services, act: Act, do: Callable[[], object]) -> None:
    """Do what an act tells of, within the transaction that writes it: neither happens without the other."""
    try:
        with writing(services.store.engine).begin() as connection:
            write_act(connection, act)
            do()
    except SQLAlchemyError as exc:
        raise failure_of(exc) from exc


def _contender(role: str, folder: AliasFolder, pointer: Pointer) -> Contender:
    try:
        manifest, problem = _manifest(folder.bundle(pointer)), ""
    except BundleError as exc:
        manifest, problem = None, str(exc)
    return Contender(role, pointer.version, pointer.digest, pointer.since, pointer.reason, manifest, problem)


@lru_cache(maxsize=16)
def _manifest(folder: Path) -> Manifest:
    """Return the manifest of a bundle, verified once: a bundle that is named never changes."""
    return load_bundle(folder).manifest
