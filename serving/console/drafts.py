"""Drafts of the two files that decide, policy and catalogue: checked whole, and put in the place of what serves."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sqlalchemy.exc import SQLAlchemyError

from pointsman.classifier.catalog import PROFILES, Catalog
from pointsman.classifier.errors import ConfigError, InputError
from pointsman.classifier.policy_file import POLICIES, Policy
from pointsman.serving.audit import Act, write_act
from pointsman.serving.services import Services
from pointsman.serving.store import failure_of, writing

Drafted = Literal["policy", "catalog"]

#: What people call them, and the setting that names a file of one's own.
TITLES: Final[dict[Drafted, str]] = {"policy": "policy", "catalog": "catalogue"}
_SETTINGS: Final[dict[Drafted, str]] = {"policy": "POINTSMAN_POLICY", "catalog": "POINTSMAN_CATALOG"}
_SHIPPED: Final = (POLICIES, PROFILES)


@dataclass(frozen=True, slots=True)
class Present:
    """The policy or the catalogue that serves, as its file says.

    Attributes
    ----------
    problem : str
        Why a draft cannot be put in its place; empty where it can.
    """

    drafted: Drafted
    text: str
    version: str
    path: Path
    problem: str

    @property
    def title(self) -> str:
        """What it is called."""
        return TITLES[self.drafted]


def which(name: str) -> Drafted:
    """Return what a form or an address means.

    Raises
    ------
    InputError
        It is neither of the two.
    """
    for drafted in TITLES:
        if name == drafted:
            return drafted
    raise InputError("The form names neither the policy nor the catalogue. Reload the page.")


def present_file(services: Services, drafted: Drafted) -> Present:
    """Return what serves."""
    rules = services.model.router
    serving: Policy | Catalog = rules.policy if drafted == "policy" else rules.catalog
    path, title = Path(serving.path), TITLES[drafted]
    text = path.read_text(encoding="utf-8")
    if path.parent in _SHIPPED:
        problem = (
            f"The {title} {serving.name!r} is part of the package and is not changed here. Save the draft as a file on "
            f"the machine that serves and start with {_SETTINGS[drafted]}=FILE; from then on drafts can be applied."
        )
    elif not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        problem = f"The service may not write {path.name}. Change its permissions, or replace the file yourself."
    else:
        problem = ""
    # Without what was learned since.
    return Present(drafted, text, serving.version.partition("+")[0], path, problem)


def read_policy(services: Services, text: str) -> Policy:
    """Read a draft of the policy and check it against the catalogue that serves.

    Raises
    ------
    InputError
        It is wrong, and the message names line and field.
    """
    rules = services.model.router
    with _written(text, Path(rules.policy.path), beside=False) as path:
        return _checked_policy(services, path)


def read_catalog(services: Services, text: str) -> Catalog:
    """Read a draft of the catalogue and check that the policy that serves can decide by it; see `read_policy`."""
    with _written(text, Path(services.model.router.catalog.path), beside=False) as path:
        return _checked_catalog(services, path)


def apply_draft(services: Services, drafted: Drafted, text: str, expected: str, actor: str) -> str:
    """Put a draft in the place of the file that serves, and take it up; returns the new version. Blocks.

    Raises
    ------
    InputError
        The draft is wrong, or the file is part of the package, cannot be written, or has changed meanwhile.
    """
    present = present_file(services, drafted)
    if present.problem:
        raise InputError(present.problem)
    if present.version != expected:
        title = present.title
        raise InputError(f"The {title} has changed since this draft was begun. Open it again and make the change anew.")
    with _written(text, present.path, beside=True) as path:
        draft: Policy | Catalog
        draft = _checked_policy(services, path) if drafted == "policy" else _checked_catalog(services, path)
        version = f"{present.path.stem}:{draft.version.partition(':')[2]}"
        details = {"from": present.version, "to": version, "before": present.text}
        try:
            with writing(services.store.engine).begin() as connection:
                write_act(connection, Act(actor, f"{drafted}.apply", present.path.name, details))
                os.replace(path, present.path)
        except SQLAlchemyError as exc:
            raise failure_of(exc) from exc
    services.upkeep.reload()
    return version


def _checked_policy(services: Services, path: Path) -> Policy:
    policy = Policy.load(path)
    policy.check(services.model.router.catalog)
    return policy


def _checked_catalog(services: Services, path: Path) -> Catalog:
    catalog = Catalog.load(path)
    services.model.router.policy.check(catalog)
    return catalog


@contextmanager
def _written(text: str, path: Path, *, beside: bool) -> Iterator[Path]:
    """Write a draft where what it builds on is found as the file's own is; gone afterwards unless it was moved."""
    folder = path.parent if beside or path.parent not in _SHIPPED else Path(tempfile.gettempdir())
    if not os.access(folder, os.W_OK):
        folder = Path(tempfile.gettempdir())
    handle, name = tempfile.mkstemp(prefix=".draft-", suffix=".yaml", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text.replace("\r\n", "\n"))
        if path.exists():
            os.chmod(name, path.stat().st_mode & 0o777)
        yield Path(name)
    except ConfigError as exc:
        # The person's own text: told as such, under the name that they know.
        raise InputError(str(exc).replace(name, "draft")) from exc
    finally:
        Path(name).unlink(missing_ok=True)
