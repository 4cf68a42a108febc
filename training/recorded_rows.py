"""Turns of the service's own store as rows, with every label that people gave them: in feedback, in the console."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .importers.databases import is_sqlite
from .importers.masking import Masker
from .importers.protocol import Location, Problems
from .importers.records import RecordsImporter
from .importers.rows import RowSettings, rows_of


def is_store(source: str) -> bool:
    """Say whether a source is a store of records, a URL or an SQLite file, and no file of JSON lines."""
    location = Location(source)
    return location.is_url or (Path(source).is_file() and is_sqlite(location))


def recorded_rows(source: str, problems: Problems) -> Iterator[dict[str, Any]]:
    """Yield the turns of a store, or of a file of records, masked and named as `pointsman import` writes them.

    Raises
    ------
    InputError
        The store cannot be read.
    """
    turns = RecordsImporter().turns(Location(source), Masker(), problems)
    yield from rows_of(turns, "records", RowSettings(keeps_text=True, salt=""))
