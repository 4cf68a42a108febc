"""Cuts the sources into parts: the unit of work, of resumption and of files.

JSON lines of turns are cut at line ends, so one file of any size becomes many parts. A log is never cut, since its
turns lean on each other; small logs share a part. A part's key says what is in it: a log that is added or grows
changes the parts that hold it and no other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from pointsman.classifier.errors import InputError
from pointsman.training.importers.lines import MAX_LINE_BYTES, as_object
from pointsman.training.importers.protocol import Location, Problems
from pointsman.training.importers.run import Source, locations, source_at, tolerated, unknown_log
from pointsman.training.labels_from_next import SOURCES

from .config import PIPELINE_VERSION, PipelineConfig, key_of

#: The kind of JSON lines that hold turns, as `pointsman import` writes them or by hand.
TURNS: Final = "turns"
_HEAD_BYTES: Final = 64 * 1024
_COPY_BYTES: Final = 2**20
# Logs share a part until one comes whose address ends it: so a new log moves no border but its own.
_LOGS_PER_PART: Final = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """A whole log, or the bytes from `start` to `end` of a file of turns."""

    kind: str
    address: str
    fingerprint: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """Pieces that are read together; `number` is the part's place in the order of all turns."""

    number: int
    pieces: tuple[Piece, ...]
    key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All parts, how many files were passed over as no log, and which could not be read."""

    parts: tuple[Part, ...]
    n_unrecognised: int
    problems: Problems


def plan_of(config: PipelineConfig) -> Plan:
    """Find the sources and cut them; the same sources give the same plan.

    Raises
    ------
    InputError
        A source is missing or of no known kind.
    """
    found: dict[tuple[str, str], Source | Location] = {}
    n_unrecognised = 0
    problems = Problems()
    for named in config.sources:
        for location, is_named in locations(named):
            with tolerated(location, problems, is_named=is_named):
                if _is_of_turns(location, config.kind):
                    found[TURNS, location.address] = location
                elif (source := source_at(location, config.kind)) is not None:
                    found[source.key] = source
                elif is_named:
                    raise InputError(unknown_log(location))
                else:
                    n_unrecognised += 1
    pieces: list[tuple[Piece, ...]] = []
    logs: list[Source] = []
    for key in sorted(found):
        match found[key]:
            case Location() as location:
                with tolerated(location, problems, is_named=False):
                    pieces += [(piece,) for piece in _cut(location, config.part_bytes)]
            case Source() as source:
                logs.append(source)
    pieces += _together(logs, config.part_bytes)
    settings = (PIPELINE_VERSION, config.with_subagents, list(SOURCES))
    return Plan(tuple(Part(n, held, key_of(settings, held)) for n, held in enumerate(pieces)), n_unrecognised, problems)


def _is_of_turns(location: Location, kind: str | None) -> bool:
    if kind is not None or location.is_url:
        return kind == TURNS
    if not location.address.lower().endswith(".jsonl"):
        return False
    with open(location.address, "rb") as file:
        first = as_object(file.readline(_HEAD_BYTES).strip() or b"{}")
    return isinstance((first or {}).get("prompt"), str) and "record" not in (first or {})


def _cut(location: Location, part_bytes: int) -> Iterator[Piece]:
    size = Path(location.address).stat().st_size
    with open(location.address, "rb") as file:
        start = 0
        while start < size:
            file.seek(min(start + part_bytes, size))
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            end = file.tell()
            yield Piece(TURNS, location.address, _digest(location, start, end), start, end)
            start = end


def _digest(location: Location, start: int, end: int) -> str:
    """Return the digest of a range: lines that are added to a file leave the parts before them as they were."""
    digest = blake2b(digest_size=16)
    with open(location.address, "rb") as file:
        file.seek(start)
        while (left := end - file.tell()) > 0 and (data := file.read(min(left, _COPY_BYTES))):
            digest.update(data)
    return digest.hexdigest()


def _together(logs: Sequence[Source], part_bytes: int) -> Iterator[tuple[Piece, ...]]:
    held: list[Piece] = []
    n_bytes = 0
    for source in logs:
        address = source.location.address
        held.append(Piece(source.importer.kind, address, source.fingerprint, 0, source.size))
        n_bytes += source.size
        ends = int(key_of(address), 16) % _LOGS_PER_PART == 0
        if ends or n_bytes >= part_bytes:
            yield tuple(held)
            held, n_bytes = [], 0
    if held:
        yield tuple(held)
