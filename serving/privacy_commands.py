"""`pointsman forget` and `pointsman export`: what a person may ask of whoever keeps the records."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .commands import fail
from .key_commands import add_store_argument, with_store

if TYPE_CHECKING:
    from .settings import Settings
    from .store import Store


class ForgetCommand:
    """Deletes a session's records."""

    help = "delete every record of a session"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--session", required=True, help="the session's id, as its records hold it")
        parser.add_argument("--sessions-url", help="Redis that keeps sessions (default: POINTSMAN_SESSIONS_URL)")
        add_store_argument(parser)

    def run(self, args: argparse.Namespace) -> int:
        return with_store(args, lambda store, settings: _forget(store, settings, args), sessions_url=args.sessions_url)


class ExportCommand:
    """Prints a session's records."""

    help = "print every record of a session, one JSON object a line"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--session", required=True, help="the session's id, as its records hold it")
        parser.add_argument("--output", type=Path, help="a new file, readable by you alone (default: print)")
        add_store_argument(parser)

    def run(self, args: argparse.Namespace) -> int:
        return with_store(args, lambda store, settings: _export(store, settings, args))


def _forget(store: "Store", settings: "Settings", args: argparse.Namespace) -> int:
    from . import audit, privacy
    from .spool import SPOOL_FAILURES, left_spool

    n_states = 0
    if settings.sessions_url is not None:
        from redis.exceptions import RedisError

        from .redis_sessions import forget_states

        try:
            n_states = forget_states(settings.sessions_url, privacy.stored_name(args.session))
        except (RedisError, OSError) as exc:
            # First, and before anything is deleted: half a forgetting should not look like a whole one.
            return fail(f"the session store failed ({type(exc).__name__}); nothing was deleted. Check it, then retry.")
    try:
        n_spooled = 0
        with left_spool(settings) as spool:
            if spool is not None:
                n_spooled = spool.forget(privacy.stored_name(args.session))
    except SPOOL_FAILURES as exc:
        return fail(f"the spool {settings.spool_path()} failed ({type(exc).__name__}); no record was deleted. Retry.")
    deleted = privacy.forget_session(store, args.session, actor=audit.this_operator())
    print(f"Deleted {deleted.n_decisions} decisions, {deleted.n_feedback} feedback, {n_states} session states.")
    if n_spooled:
        print(f"Deleted {n_spooled} decisions that waited for the database in {settings.spool_path()}.")
    if settings.sessions_url is None:
        ttl = f"{settings.session_ttl_s:g} s"
        print(f"A running service holds the session's last choice, without text, for at most {ttl}.", file=sys.stderr)
    if not deleted.n_decisions and not n_spooled:
        print("No record has this session. 'GET /v1/decisions/ID' shows a record's session_id.", file=sys.stderr)
    return 0


def _export(store: "Store", settings: "Settings", args: argparse.Namespace) -> int:
    from . import audit, privacy
    from .spool import SPOOL_FAILURES, left_spool

    try:
        with left_spool(settings) as spool:
            spooled = [] if spool is None else spool.records_of(privacy.stored_name(args.session))
    except SPOOL_FAILURES as exc:
        return fail(f"the spool {settings.spool_path()} failed ({type(exc).__name__}). Retry.")
    rows = privacy.export_session(store, args.session, actor=audit.this_operator())
    stored = {row["decision_id"] for row in rows}
    rows += [record.to_json() for record in spooled if record.decision_id not in stored]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if args.output is None:
        print(lines, end="")
    else:
        try:
            place = os.open(args.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            return fail(f"cannot write {args.output}: {exc.strerror}. Name a new file in a folder of yours.")
        with open(place, "w", encoding="utf-8") as file:
            file.write(lines)
    print(f"{len(rows)} records of the session.", file=sys.stderr)
    return 0
