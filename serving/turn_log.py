"""The record store as a source of `pointsman replay`, `tune` and `savings`. Reads only; nothing is migrated.

The database driver is imported when turns are read: without the extra, help still works.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import InputError
from pointsman.classifier.policy_file import Policy
from pointsman.classifier.replay.case import Case, Log, cases_of

if TYPE_CHECKING:
    from .settings import Settings
    from .store import Store

#: Stands for the store of the settings.
_CONFIGURED = "configured"


class RecordedTurns:
    """Reads `--records`."""

    option = "--records"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        group = parser.add_argument_group("records")
        group.add_argument(
            "--records",
            nargs="?",
            const=_CONFIGURED,
            metavar="URL",
            help="record store: sqlite:///PATH or postgresql://user:password@host/database "
            "(without URL: POINTSMAN_DATABASE_URL, else the file `serve` writes)",
        )
        group.add_argument("--since", metavar="DAY", help="first day, as 2026-11-22, UTC")
        group.add_argument("--until", metavar="DAY", help="first day to leave out")

    def is_asked(self, args: argparse.Namespace) -> bool:
        return args.records is not None

    def read(self, args: argparse.Namespace, catalog: Catalog, policy: Policy) -> Log:
        try:
            from .errors import ServingError
            from .settings import load_settings
        except ModuleNotFoundError as exc:
            name = (exc.name or "a package").partition(".")[0]
            msg = f"--records needs {name}, which is not installed. Run: pip install 'pointsman[serving]'."
            raise InputError(msg) from exc
        try:
            settings = load_settings(database_url=None if args.records == _CONFIGURED else args.records)
            store = _open(settings)
            try:
                cases = logged_cases(store, day_of(args.since, "--since"), day_of(args.until, "--until"))
            finally:
                store.close()
        except ServingError as exc:
            raise InputError(str(exc)) from exc
        return log_of(cases, settings.shown_database())


def logged_cases(store: Store, since: str, until: str, *, newest: int | None = None) -> tuple[Case, ...]:
    """Read cases decided from a time on and before another, empty for no end; all, or the newest.

    Raises
    ------
    StoreUnavailableError
        The store cannot be read.
    """
    from .history import decisions_between, feedback_since

    return cases_of(decisions_between(store, since, until, newest=newest), feedback_since(store, since))


def log_of(cases: tuple[Case, ...], where: str) -> Log:
    """Describe cases of a store."""
    days = sorted({case.day for case in cases})
    n_turns = sum(case.begins for case in cases)
    span = f" of {days[0]} to {days[-1]}" if days else ""
    return Log(cases, f"{n_turns} turns in {len(cases)} requests{span}, {where}")


def _open(settings: Settings) -> Store:
    from sqlalchemy.engine import make_url

    from .store import Store

    url = make_url(settings.database_url)
    # SQLite would make an empty file of a misspelt path.
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
        raise InputError(f"{url.database}: no such file; expected the records of `pointsman serve`. Check --records.")
    return Store(settings.database_url)


def day_of(text: str | None, option: str) -> str:
    """Return the day as the beginning of a record's time; empty for none."""
    if text is None:
        return ""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as exc:
        raise InputError(f"{option} {text[:20]!r}: expected a day like 2026-11-22.") from exc
