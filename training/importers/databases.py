"""SQLite files of other programs: opened read-only, whatever they hold."""

import sqlite3
from contextlib import closing
from typing import Final
from urllib.parse import quote

from .protocol import Location

SQLITE_HEAD: Final = "SQLite format 3"


def connect_readonly(location: Location) -> sqlite3.Connection:
    """Open a database that its owner may be writing to."""
    connection = sqlite3.connect(f"file:{quote(location.address)}?mode=ro", uri=True)
    # One bad byte in a tool's output is no reason to lose the database.
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    return connection


def tables_of(location: Location) -> set[str]:
    """Return the names of the tables; none when it cannot be read."""
    try:
        with closing(connect_readonly(location)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError:
        return set()


def is_sqlite(location: Location) -> bool:
    """Say whether a file is an SQLite database."""
    with open(location.address, "rb") as file:
        return file.read(len(SQLITE_HEAD)) == SQLITE_HEAD.encode()
