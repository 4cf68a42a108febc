"""The file of turns and the cursor beside it: what was imported from where, so that a run goes on where one ended.

The output is one segment of rows for each source, in the order of kind and address. A changed source gets a new
segment; the others are copied. So the file depends on the sources only, not on how many runs it took, and a log that
its client has deleted meanwhile keeps its turns. A run writes to `.partial` files and renames them at its end; one that
was killed leaves them, and the next run takes over the segments they hold.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from pointsman.classifier.errors import InputError

from .protocol import SourceLostError, name_of

CURSOR_FORMAT: Final = 1
A_COPY: Final = "copy of a turn in another log"
#: What an option is called where it is given.
_FLAGS: Final = {"text": "--no-text", "subagents": "--subagents", "salt": "--salt"}
_COPY_BYTES: Final = 2**20
_PRIVATE: Final = 0o600
_ID: Final = re.compile(rb'\{"id":"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Segment:
    """The rows of one source within the output."""

    kind: str
    address: str
    fingerprint: str
    start: int = 0
    end: int = 0
    n_turns: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.address


Segments = dict[tuple[str, str], Segment]
JsonDict = dict[str, object]


@dataclass(frozen=True, slots=True)
class Planned:
    """A segment to be written: from new rows, or, without any, a copy of what is there.

    The rows may fill the segment's `counts` until they end. Where they end with a `SourceLostError`, the earlier
    segment of the source stays; without one, the rows until there do, and the source counts as changed.
    """

    segment: Segment
    rows: Iterable[JsonDict] | None = None
    earlier: Segment | None = None


class Output:
    """The output of one run."""

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self._path, self._options = path, options
        self._cursor = cursor_of(path)
        self._partial = path.with_name(f"{path.name}.partial")
        self._partial_cursor = cursor_of(self._partial)
        self._ids: set[bytes] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._finish_renaming()
        self.done = self._load_done()

    @property
    def is_cut_off(self) -> bool:
        """Whether an earlier run did not come to its end."""
        return self._partial.exists()

    def write(self, plan: Sequence[Planned]) -> list[Segment]:
        """Write every segment and put the file in its place; return the segments as written."""
        written = self._salvage(plan)
        with open(self._partial, "ab") as file, open(self._partial_cursor, "ab") as cursor:
            for planned in plan[len(written) :]:
                if planned.rows is None:
                    segment = self._copy(file, planned.segment)
                else:
                    segment = self._write_rows(file, planned.rows, planned)
                os.fsync(file.fileno())
                _append(cursor, {"segment": asdict(segment)})
                written.append(segment)
            _append(cursor, {"complete": file.seek(0, os.SEEK_END)})
        os.replace(self._partial, self._path)
        os.replace(self._partial_cursor, self._cursor)
        return written

    def _salvage(self, plan: Sequence[Planned]) -> list[Segment]:
        """Keep the segments of a run that was cut off as far as this plan begins with the same ones."""
        kept: list[Segment] = []
        header = _header(self._partial_cursor)
        if header is not None and header["options"] == self._options and self._partial.exists():
            size = self._partial.stat().st_size
            for planned, segment in zip(plan, _segments(self._partial_cursor), strict=False):
                same = (segment.key, segment.fingerprint) == (planned.segment.key, planned.segment.fingerprint)
                if not same or segment.end > size:
                    break
                kept.append(segment)
        with open(self._partial, "ab") as file:
            file.truncate(kept[-1].end if kept else 0)
        with _private(self._partial_cursor) as cursor:
            _append(cursor, {"pointsman_import": CURSOR_FORMAT, "options": self._options})
            for segment in kept:
                _append(cursor, {"segment": asdict(segment)})
                self._read_ids(self._partial, segment)
        return kept

    def _write_rows(self, file: BinaryIO, rows: Iterable[JsonDict], planned: Planned) -> Segment:
        segment = planned.segment
        start = file.seek(0, os.SEEK_END)
        own: set[bytes] = set()
        try:
            for row in rows:
                name = str(row["id"]).encode()
                if name in self._ids:
                    segment.counts[A_COPY] = segment.counts.get(A_COPY, 0) + 1
                    continue
                self._ids.add(name)
                own.add(name)
                file.write(orjson.dumps(row) + b"\n")
        except SourceLostError:
            file.flush()
            if planned.earlier is not None:
                self._ids -= own
                file.truncate(start)
                return self._copy(file, planned.earlier)
            segment = replace(segment, fingerprint="")
        file.flush()
        return replace(segment, start=start, end=file.tell(), n_turns=len(own))

    def _copy(self, file: BinaryIO, segment: Segment) -> Segment:
        start = file.seek(0, os.SEEK_END)
        with open(self._path, "rb") as old:
            old.seek(segment.start)
            left = segment.end - segment.start
            while left > 0 and (part := old.read(min(_COPY_BYTES, left))):
                file.write(part)
                left -= len(part)
        file.flush()
        self._read_ids(self._path, segment)
        return replace(segment, start=start, end=file.tell())

    def _read_ids(self, path: Path, segment: Segment) -> None:
        with open(path, "rb") as file:
            file.seek(segment.start)
            while file.tell() < segment.end and (line := file.readline()):
                if found := _ID.match(line):
                    self._ids.add(found[1])

    def _finish_renaming(self) -> None:
        """Finish a run that was cut off between its two last renames."""
        complete = _complete(self._partial_cursor)
        if complete is None or not self._path.exists() or self._path.stat().st_size != complete:
            return
        if not self._partial.exists():
            os.replace(self._partial_cursor, self._cursor)

    def _load_done(self) -> Segments:
        if not self._path.exists():
            return {}
        header, complete = _header(self._cursor), _complete(self._cursor)
        if header is None or complete is None:
            msg = f"{self._path} is there, its cursor {self._cursor.name} is not; expected both. Name another file."
            raise InputError(msg)
        size = self._path.stat().st_size
        if size != complete:
            msg = f"{self._path} has {size} bytes, its cursor says {complete}: it was changed since. Name another file."
            raise InputError(msg)
        wrong = sorted(name for name, value in self._options.items() if header["options"].get(name) != value)
        if wrong:
            names = ", ".join(_FLAGS.get(name, name) for name in wrong)
            found = f"{self._path} was imported with other options ({names}); expected the same."
            msg = f"{found} Give {names} as it was, or name another file."
            raise InputError(msg)
        return self._clean_cursor(header, complete)

    def _clean_cursor(self, header: dict[str, Any], complete: int) -> Segments:
        """Write a cursor anew that holds a URL with its password, as earlier versions wrote it."""
        lines = [line["segment"] for line in _lines(self._cursor) if "segment" in line]
        done: Segments = {}
        for segment in _segments(self._cursor):
            known = done.get(segment.key)
            done[segment.key] = segment if known is None else _joined(known, segment)
        if any(line["address"] != name_of(line["address"]) for line in lines):
            scratch = self._cursor.with_name(f"{self._cursor.name}.new")
            with _private(scratch) as cursor:
                _append(cursor, header)
                for segment in done.values():
                    _append(cursor, {"segment": asdict(segment)})
                _append(cursor, {"complete": complete})
            os.replace(scratch, self._cursor)
        self._cursor.chmod(_PRIVATE)
        return done


def _joined(earlier: Segment, later: Segment) -> Segment:
    """Make one of two segments of a store that was read with two passwords; it is read again when it is named."""
    if earlier.end != later.start:
        return replace(later, fingerprint="")
    n_turns = earlier.n_turns + later.n_turns
    return replace(later, fingerprint="", start=earlier.start, n_turns=n_turns)


def _private(path: Path) -> BinaryIO:
    """Open a new file that nobody else may read: a cursor holds the salt and says what lies where."""
    path.unlink(missing_ok=True)
    return open(path, "wb", opener=lambda name, flags: os.open(name, flags, _PRIVATE))


def cursor_of(path: Path) -> Path:
    """Return where the cursor of an output stands."""
    return path.with_name(f"{path.name}.cursor")


def known_salt(path: Path) -> str | None:
    """Return the salt that earlier runs into this file used."""
    for output in (path, path.with_name(f"{path.name}.partial")):
        if (header := _header(cursor_of(output))) is not None:
            return str(header["options"]["salt"])
    return None


def _append(cursor: BinaryIO, line: dict[str, Any]) -> None:
    cursor.write(orjson.dumps(line) + b"\n")
    cursor.flush()
    os.fsync(cursor.fileno())


def _lines(cursor: Path) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a cursor; a kill may have cut the last one."""
    if not cursor.exists():
        return
    with open(cursor, "rb") as lines:
        for line in lines:
            try:
                value = json.loads(line)
            except ValueError:
                return
            if isinstance(value, dict):
                yield value


def _header(cursor: Path) -> dict[str, Any] | None:
    first = next(_lines(cursor), None)
    return first if first is not None and first.get("pointsman_import") == CURSOR_FORMAT else None


def _segments(cursor: Path) -> list[Segment]:
    segments = [Segment(**line["segment"]) for line in _lines(cursor) if "segment" in line]
    return [replace(segment, address=name_of(segment.address)) for segment in segments]


def _complete(cursor: Path) -> int | None:
    return next((int(line["complete"]) for line in _lines(cursor) if "complete" in line), None)
