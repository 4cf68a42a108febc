"""A contest on files: champion and challenger out of an alias folder, turns out of labelled files."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pointsman.classifier.aliases import AliasFolder
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.errors import InputError

from .config import ContestConfig
from .contest import RECENT, Verdict, contest
from .datasets import Example, read_examples
from .verdict import verdict_json


@dataclass(frozen=True, slots=True)
class ContestFiles:
    """What a contest is held on and with; bundles that are left out are those of the alias folder.

    `recent` rows need `at`, the time of the turn.
    """

    gold: tuple[Path, ...]
    aliases: Path
    champion: Path | None = None
    challenger: Path | None = None
    recent: Path | None = None


def contest_files(files: ContestFiles, config: ContestConfig | None = None) -> Verdict:
    """Hold a contest; an alias folder keeps what it said.

    Raises
    ------
    InputError
        A file cannot be read, or a bundle is neither named nor in the alias folder.
    BundleError
        A bundle is damaged.
    """
    folder = AliasFolder(files.aliases)
    present, tried = folder.champion(), folder.challenger()
    champion = files.champion or (None if present is None else folder.bundle(present.pointer))
    challenger = files.challenger or (None if tried is None else folder.bundle(tried.pointer))
    if challenger is None:
        msg = f"no challenger in {files.aliases}; expected one of 'pointsman retrain'. Name one with --challenger."
        raise InputError(msg)
    verdict = contest(
        Assessor.load(champion),
        Assessor.load(challenger),
        gold_by_name(files.gold),
        config,
        recent=[] if files.recent is None else read_examples([files.recent]),
        days=[] if files.recent is None else _days(files.recent),
    )
    if present is not None:
        folder.keep_verdict(verdict_json(verdict))
    return verdict


def gold_files(paths: Iterable[Path]) -> dict[str, Path]:
    """Return gold files by the name of their set, which is the file's without its ending.

    Raises
    ------
    InputError
        Two files have one name, or one has the name of the newest turns.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem == RECENT:
            msg = f"{path}: a gold set named {RECENT!r}; that is the name of the newest turns. Rename the file."
            raise InputError(msg)
        if path.stem in found:
            msg = f"{path} and {found[path.stem]}: two gold sets named {path.stem!r}; expected names that differ. "
            raise InputError(msg + "Rename one.")
        found[path.stem] = path
    return found


def gold_by_name(paths: Iterable[Path]) -> dict[str, list[Example]]:
    """Read gold files; see `gold_files`."""
    return {name: read_examples([path]) for name, path in gold_files(paths).items()}


def _days(file: Path) -> list[str]:
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines if line.strip()]
    undated = [number for number, row in enumerate(rows, 1) if not isinstance(row.get("at"), str)]
    if undated:
        msg = (
            f"{file}:{undated[0]}: no 'at'; expected the time of the turn, as 2026-11-22T10:00:00Z. Leave --recent out."
        )
        raise InputError(msg)
    return [row["at"][:10] for row in rows]
