"""One import from sources to rows: find, recognise, read, mask, write, count."""

import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout
from tqdm import tqdm

from pointsman.classifier.assessment import Kind
from pointsman.classifier.errors import InputError

from .aider import AiderImporter
from .claude_code import ClaudeCodeImporter
from .codex import CodexImporter
from .labelled import LabelledImporter
from .litellm import LiteLLMImporter
from .masking import Masker
from .opencode import OpencodeImporter
from .output import JsonDict, Output, Planned, Segment, known_salt
from .protocol import ImportedTurn, Importer, Location, Problems, SourceLostError, name_of
from .records import RecordsImporter, fingerprint_of
from .rows import RowSettings, rows_of
from .specstory import SpecStoryImporter

#: In the order in which they are asked whether a source is theirs.
IMPORTERS: Final[dict[str, Importer]] = {
    importer.kind: importer
    for importer in (
        ClaudeCodeImporter(),
        CodexImporter(),
        OpencodeImporter(),
        RecordsImporter(),
        LiteLLMImporter(),
        LabelledImporter(),
        SpecStoryImporter(),
        AiderImporter(),
    )
}
#: Where clients keep their logs; `pointsman import claude-code` reads them there.
PLACES: Final = {
    "claude-code": "~/.claude/projects",
    "codex": "~/.codex/sessions",
    "opencode": "~/.local/share/opencode/opencode.db",
}
#: Part of every fingerprint: a source is read again by a version that reads it otherwise.
READER_VERSION: Final = 4

_SUFFIXES: Final = (".jsonl", ".md", ".csv", ".tsv", ".parquet", ".db", ".sqlite")
_SKIPPED_FOLDERS: Final = frozenset({".git", "node_modules", ".venv", "__pycache__"})
_HEAD_BYTES: Final = 64 * 1024
_N_TURNS_BETWEEN_UPDATES: Final = 100
SUBAGENT: Final = "turn of a subagent"
NO_WORDS: Final = "prompt without words"
UNREADABLE: Final = "file that could not be read"
#: What reading a file may end with: it is gone, closed to this user, or a damaged database.
READ_ERRORS: Final = (OSError, sqlite3.DatabaseError)


@dataclass(frozen=True, slots=True)
class ImportConfig:
    """What to import and how.

    `kind` overrides what is recognised. `salt` keys the digests; without one, a run that keeps no text draws its own.
    """

    sources: tuple[str, ...]
    output: Path
    kind: str | None = None
    keeps_text: bool = True
    with_subagents: bool = False
    salt: str | None = None
    shows_progress: bool = False


@dataclass(slots=True)
class Summary:
    """What a run did."""

    n_sources: int = 0
    n_unchanged: int = 0
    n_unrecognised: int = 0
    n_turns: int = 0
    n_new_turns: int = 0
    turns: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    located: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Source:
    """One log, who reads it, and what changes when it does."""

    importer: Importer
    location: Location
    fingerprint: str
    size: int

    @property
    def key(self) -> tuple[str, str]:
        return self.importer.kind, self.location.name


def import_turns(config: ImportConfig) -> Summary:
    """Import the sources into the output, going on where an earlier run ended.

    Raises
    ------
    InputError
        A source is missing or of no known kind, a folder holds no log, or the output is not one of this command, or
        was changed since, or another import writes to it.
    """
    summary = Summary()
    problems = Problems()
    sources = _sources(config, summary, problems)
    with _locked(config.output):
        _import(sources, config, summary, problems)
    return summary


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    output.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{output}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        msg = f"another import writes to {output}; expected one at a time. Wait for it, or name another file."
        raise InputError(msg) from error
    try:
        yield
    finally:
        lock.release()


def _import(sources: Sequence[Source], config: ImportConfig, summary: Summary, problems: Problems) -> None:
    settings = RowSettings(config.keeps_text, _salt(config))
    options = {"text": config.keeps_text, "subagents": config.with_subagents, "salt": settings.salt}
    output = Output(config.output, options)
    if not sources and not output.done:
        named = ", ".join(map(name_of, config.sources))
        msg = f"{named}: no log of a known kind in it; expected one of {', '.join(IMPORTERS)}."
        raise InputError(f"{msg} Check the path, or name a file and set --kind.")
    plan = _plan(sources, output, config, settings, problems)
    summary.n_sources = len(sources)
    summary.n_unchanged = sum(_is_unchanged(source, output) for source in sources)
    n_before = sum(segment.n_turns for segment in output.done.values())
    if summary.n_unchanged < len(sources) or output.is_cut_off or not config.output.exists():
        written = output.write(plan)
    else:
        written = list(output.done.values())
    for segment in written:
        summary.turns[segment.kind] += segment.n_turns
        summary.counts.update(segment.counts)
    summary.counts.update(problems.counts)
    summary.n_turns = summary.turns.total()
    summary.n_new_turns = summary.n_turns - n_before
    summary.located = problems.located


def _salt(config: ImportConfig) -> str:
    if config.salt is not None:
        return config.salt
    return known_salt(config.output) or ("" if config.keeps_text else secrets.token_hex(16))


def _sources(config: ImportConfig, summary: Summary, problems: Problems) -> list[Source]:
    found: dict[tuple[str, str], Source] = {}
    for named in config.sources:
        for location, is_named in locations(named):
            with tolerated(location, problems, is_named=is_named):
                source = source_at(location, config.kind)
                if source is not None:
                    found[source.key] = source
                elif is_named:
                    raise InputError(unknown_log(location))
                else:
                    summary.n_unrecognised += 1
    return [found[key] for key in sorted(found)]


@contextmanager
def tolerated(location: Location, problems: Problems, *, is_named: bool) -> Iterator[None]:
    """Count a file that cannot be read as a problem, unless the user named it."""
    try:
        yield
    except OSError as error:
        if is_named:
            msg = f"{location.name}: cannot be read ({type(error).__name__}); expected a log. Check its permissions."
            raise InputError(msg) from error
        problems.add(location.name, UNREADABLE)


def source_at(location: Location, kind: str | None = None) -> Source | None:
    """Return the source at a place, read as `kind` or as recognised; None where nothing is recognised."""
    importer = IMPORTERS[kind] if kind is not None else _recognise(location)
    if importer is None:
        return None
    fingerprint, size = _fingerprint(location)
    return Source(importer, location, f"{READER_VERSION}:{fingerprint}", size)


def unknown_log(location: Location) -> str:
    """Say that a source is of no known kind."""
    return f"{location.name}: no log of a known kind; expected one of {', '.join(IMPORTERS)}. Set --kind."


def locations(named: str) -> Iterator[tuple[Location, bool]]:
    """Yield the files a source stands for, and whether it names the file itself."""
    if "://" in named:
        yield Location(named), True
        return
    path = Path(named)
    if named in PLACES and not path.exists():
        path = Path(PLACES[named]).expanduser()
    if path.is_file():
        yield Location(str(path.resolve())), True
    elif path.is_dir():
        for folder, folders, files in os.walk(path.resolve()):
            folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
            yield from (
                (Location(log), False)
                for name in files
                # A pipe would never end; a link to nothing is told as a file that cannot be read.
                if name.lower().endswith(_SUFFIXES)
                and (os.path.isfile(log := os.path.join(folder, name)) or not os.path.exists(log))
            )
    else:
        msg = f"{path}: no such file or folder; expected a log, a folder of logs or the URL of a store. Check the path."
        raise InputError(msg)


def _recognise(location: Location) -> Importer | None:
    head = ""
    if not location.is_url:
        with open(location.address, "rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8-sig", "replace")
    return next((importer for importer in IMPORTERS.values() if importer.recognises(location, head)), None)


def _fingerprint(location: Location) -> tuple[str, int]:
    """Return what changes when a source does, and its size in bytes."""
    if location.is_url:
        return fingerprint_of(location.address), 0
    size, parts = 0, []
    # SQLite keeps the newest rows in a log beside the database.
    for name in (location.address, f"{location.address}-wal"):
        if os.path.exists(name):
            status = os.stat(name)
            size += status.st_size
            parts.append(f"{status.st_size}:{status.st_mtime_ns}")
    return "|".join(parts), size


def _is_unchanged(source: Source, output: Output) -> bool:
    known = output.done.get(source.key)
    return known is not None and known.fingerprint == source.fingerprint


def _plan(
    sources: Sequence[Source], output: Output, config: ImportConfig, settings: RowSettings, problems: Problems
) -> list[Planned]:
    # A source that is gone keeps its turns: clients delete old logs.
    plan = {key: Planned(segment) for key, segment in output.done.items()}
    changed = [source for source in sources if not _is_unchanged(source, output)]
    bar = tqdm(
        total=sum(source.size for source in changed),
        unit="B",
        unit_scale=True,
        desc="import",
        disable=None if config.shows_progress else True,
    )
    for source in changed:
        segment = Segment(*source.key, source.fingerprint)
        rows = _rows(source, segment.counts, config, settings, problems, bar)
        plan[source.key] = Planned(segment, rows, output.done.get(source.key))
    return [plan[key] for key in sorted(plan)]


def _rows(
    source: Source,
    counts: dict[str, int],
    config: ImportConfig,
    settings: RowSettings,
    problems: Problems,
    bar: "tqdm[object]",
) -> Iterator[JsonDict]:
    own = Problems(located=problems.located)
    n_bytes_before = bar.n
    on_turns = partial(_counted, bar=bar, problems=own)
    try:
        yield from read_source(source, settings, own, with_subagents=config.with_subagents, on_turns=on_turns)
    except READ_ERRORS as error:
        # Counted for this run only: the next one reads the source again.
        problems.add(source.location.name, UNREADABLE)
        raise SourceLostError from error
    finally:
        for what, n in own.counts.items():
            counts[what] = counts.get(what, 0) + n
    bar.update(n_bytes_before + source.size - bar.n)


def read_source(
    source: Source,
    settings: RowSettings,
    problems: Problems,
    *,
    with_subagents: bool = False,
    on_turns: Callable[[Iterator[ImportedTurn]], Iterator[ImportedTurn]] = iter,
) -> Iterator[JsonDict]:
    """Yield the rows of one source, masked."""
    # A masker for each source: what it learns from one must not change how another is read.
    turns = on_turns(source.importer.turns(source.location, Masker(), problems))
    kept = _kept(turns, problems, with_subagents=with_subagents)
    for row in rows_of(kept, source.importer.kind, settings):
        if row.get("prompt") or not settings.keeps_text or row.get("outcome"):
            yield row
        else:
            problems.skip(NO_WORDS)


def _kept(turns: Iterable[ImportedTurn], problems: Problems, *, with_subagents: bool) -> Iterator[ImportedTurn]:
    for turn in turns:
        if turn.kind is Kind.SUBAGENT and not with_subagents:
            problems.skip(SUBAGENT)
        else:
            yield turn


def _counted(turns: Iterable[ImportedTurn], bar: "tqdm[object]", problems: Problems) -> Iterator[ImportedTurn]:
    before = bar.n
    for number, turn in enumerate(turns, 1):
        if number % _N_TURNS_BETWEEN_UPDATES == 0:
            bar.set_postfix_str(f"{number} turns", refresh=False)
            bar.update(before + problems.n_bytes - bar.n)
        yield turn
