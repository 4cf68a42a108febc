"""Keeps decision records on this machine's disk while the database is away, and hands them back, oldest first.

One SQLite file: a crash leaves whole records and no half ones, and processes that share the file do not collide. It
holds what the record store would hold, no more: no text unless text is stored. Rows leave it once the store has them.
"""

import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from pointsman.classifier.errors import InputError
from pointsman.classifier.records import DecisionRecord, utc_now

from .private_files import make_private
from .settings import Settings
from .store import clean

logger = logging.getLogger(__name__)

#: What the driver, the disk or a file that is no spool may raise.
SPOOL_FAILURES: Final = (sqlite3.Error, OSError)

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS spool (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    decision_id TEXT NOT NULL UNIQUE,
    session_id TEXT,
    record BLOB NOT NULL
)
"""
# Beside the record itself a row costs its ids twice (the index) and its share of a page.
_ROW_BYTES: Final = 200
_WAIT_S: Final = 5.0
# Databases bound the number of values in one statement.
_MOST_VALUES: Final = 500


class Spool:
    """Decisions in wait for the database, in a file that survives the process.

    Parameters
    ----------
    path : path
        The file; its folder is made. A file that is damaged is set aside under another name, and a new one begun.
    max_bytes : int
        Beyond this nothing more is taken.

    Raises
    ------
    sqlite3.Error, OSError
        The file cannot be made or used. Every method raises these.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = _open(path)
        except sqlite3.DatabaseError as exc:
            if isinstance(exc, sqlite3.OperationalError):
                raise
            aside = path.with_name(f"{path.name}.damaged-{utc_now().replace(':', '')}")
            path.rename(aside)
            logger.error("the spool is damaged and was set aside", extra={"spool": str(path), "aside": str(aside)})
            self._connection = _open(path)
        # Kept here, so that asking costs nothing; other processes may have added or taken meanwhile.
        self._n_records = self._count()

    def __len__(self) -> int:
        return self._n_records

    def add(self, records: Sequence[DecisionRecord]) -> int:
        """Put records on the disk; return how many, from the first on, found room. One that is there stays as it is."""
        with self._writing() as cursor:
            room = self._max_bytes - self._used_bytes()
            taken = list(_fitting(records, room))
            cursor.executemany("INSERT OR IGNORE INTO spool (decision_id, session_id, record) VALUES (?, ?, ?)", taken)
        return len(taken)

    def oldest(self, most: int) -> dict[int, DecisionRecord | None]:
        """Return the first records by their numbers; None for one that this version cannot read."""
        with self._lock:
            rows = self._connection.execute("SELECT number, record FROM spool ORDER BY number LIMIT ?", (most,))
            found = {number: _read(row) for number, row in rows}
            if not found:
                self._n_records = 0
        return found

    def find(self, decision_ids: Iterable[str]) -> list[DecisionRecord]:
        """Return those of the decisions that are here."""
        wanted = list(dict.fromkeys(map(clean, decision_ids)))
        found: list[DecisionRecord | None] = []
        with self._lock:
            for start in range(0, len(wanted), _MOST_VALUES):
                part = wanted[start : start + _MOST_VALUES]
                marks = ",".join("?" * len(part))
                query = f"SELECT record FROM spool WHERE decision_id IN ({marks})"  # noqa: S608 - question marks alone
                found += [_read(row) for (row,) in self._connection.execute(query, part)]
        return [record for record in found if record is not None]

    def remove(self, numbers: Sequence[int]) -> None:
        """Take out records that the store has committed."""
        with self._writing() as cursor:
            cursor.executemany("DELETE FROM spool WHERE number = ?", [(number,) for number in numbers])

    def forget(self, session_id: str) -> int:
        """Delete the records of a session; return how many there were."""
        with self._writing() as cursor:
            return cursor.execute("DELETE FROM spool WHERE session_id = ?", (clean(session_id),)).rowcount

    def records_of(self, session_id: str) -> list[DecisionRecord]:
        """Return the records of a session, oldest first."""
        query = "SELECT record FROM spool WHERE session_id = ? ORDER BY number"
        with self._lock:
            rows = self._connection.execute(query, (clean(session_id),))
            return [record for (row,) in rows if (record := _read(row)) is not None]

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Cursor]:
        with self._lock, closing(self._connection.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                self._roll_back()
                raise
            try:
                cursor.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
            self._n_records = self._count()

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some failures, a full disk among them.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _count(self) -> int:
        (n_records,) = self._connection.execute("SELECT count(*) FROM spool").fetchone()
        return int(n_records)

    def _used_bytes(self) -> int:
        pages, free, size = (self._pragma(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * size

    def _pragma(self, name: str) -> int:
        return int(self._connection.execute(f"PRAGMA {name}").fetchone()[0])


def open_spool(settings: Settings) -> Spool | None:
    """Return the spool that the settings name; None, said loudly, where there is none or it cannot be used."""
    if not settings.spool_max_bytes:
        return None
    path = settings.spool_path()
    try:
        return Spool(path, max_bytes=settings.spool_max_bytes)
    except SPOOL_FAILURES as exc:
        problem = {"spool": str(path), "error": type(exc).__name__, "cause": str(exc)}
        logger.error("no spool: while the database is away decisions are kept in memory alone", extra=problem)
        return None


@contextmanager
def left_spool(settings: Settings) -> Iterator[Spool | None]:
    """Open the spool of a service for another process; None where it has none."""
    path = settings.spool_path()
    if not path.is_file():
        yield None
        return
    with closing(Spool(path, max_bytes=settings.spool_max_bytes)) as spool:
        yield spool


def _open(path: Path) -> sqlite3.Connection:
    make_private(path)
    connection = sqlite3.connect(path, timeout=_WAIT_S, check_same_thread=False, isolation_level=None)
    try:
        # The file shrinks as rows leave it, what they held is overwritten, and a row that was taken is on the disk.
        connection.execute("PRAGMA auto_vacuum=FULL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(_TABLE)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _fitting(records: Sequence[DecisionRecord], room: int) -> Iterator[tuple[Any, ...]]:
    for record in records:
        row = orjson.dumps(clean(record.to_json()))
        room -= len(row) + _ROW_BYTES
        if room < 0:
            return
        yield clean(record.decision_id), clean(record.session_id), row


def _read(row: bytes) -> DecisionRecord | None:
    try:
        return DecisionRecord.from_json(orjson.loads(row))
    except (InputError, ValueError, KeyError, TypeError):
        return None
