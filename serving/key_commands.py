"""`pointsman keys` and `pointsman audit`: who is let in, and who changed that."""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from .commands import fail, missing
from .keys import ROLES

if TYPE_CHECKING:
    from .keys import ApiKey
    from .settings import Settings
    from .store import Store

_DEFAULT_GRACE_H: Final = 24.0
_NOT_ASKED: Final = (
    "A service with the settings of this shell (POINTSMAN_KEYS={keys}, POINTSMAN_HOST={host}) asks for no key and lets "
    "everyone in; POINTSMAN_KEYS=on asks for them."
)


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which store."""
    parser.add_argument("--database-url", help="the service's record store (default: POINTSMAN_DATABASE_URL)")


def with_store(args: argparse.Namespace, work: Callable[["Store", "Settings"], int], **overrides: str | None) -> int:
    """Open and migrate the store, and work on it; 2 with the reason on stderr when that cannot be."""
    try:
        from . import app, settings
    except ModuleNotFoundError as exc:
        return fail(missing(exc))
    from .errors import ServingError

    try:
        chosen = settings.load_settings(database_url=args.database_url, **overrides)
        with contextlib.closing(app.open_store(chosen)) as store:
            return work(store, chosen)
    except (ServingError, OSError) as exc:
        return fail(str(exc))


class KeysCommand:
    """Makes, lists and ends API keys."""

    help = "make, list, rotate and revoke the service's API keys"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
        create = actions.add_parser("create", help="make a key; it is printed this once, and kept as a digest")
        create.add_argument("name", help="who or what will use it")
        create.add_argument(
            "--role", action="append", choices=ROLES, required=True, dest="roles", help="may be given several times"
        )
        create.add_argument("--rate", help="its own limit, such as 600/minute (default: POINTSMAN_RATE_LIMIT)")
        create.add_argument("--days", type=float, help="the key ends after this many days (default: never)")
        listing = actions.add_parser("list", help="show every key, without its secret")
        listing.add_argument("--json", action="store_true", help="print JSON")
        rotate = actions.add_parser("rotate", help="make a key that takes another's place")
        rotate.add_argument("name", help="name or id of the old key")
        rotate.add_argument(
            "--grace-hours", type=float, default=_DEFAULT_GRACE_H, help="how long the old key stays good (default 24)"
        )
        revoke = actions.add_parser("revoke", help="end a key; running services refuse it within seconds")
        revoke.add_argument("name", help="name or id of the key")
        for action in (create, listing, rotate, revoke):
            add_store_argument(action)

    def run(self, args: argparse.Namespace) -> int:
        actions = {"create": _create, "list": _list, "rotate": _rotate, "revoke": _revoke}

        def act(store: "Store", settings: "Settings") -> int:
            status = actions[args.action](store, args)
            if status == 0 and not settings.checks_keys():
                print(_NOT_ASKED.format(keys=settings.keys, host=settings.host), file=sys.stderr)
            return status

        return with_store(args, act)


class AuditCommand:
    """Shows what operators did."""

    help = "show what operators did: keys, forgetting, exports, retention"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--last", type=int, help="only so many of the newest")
        parser.add_argument("--json", action="store_true", help="print one JSON object a line")
        add_store_argument(parser)

    def run(self, args: argparse.Namespace) -> int:
        return with_store(args, lambda store, _: _audit(store, args))


def _create(store: "Store", args: argparse.Namespace) -> int:
    from . import audit, key_store, rates

    if args.rate is not None:
        try:
            rates.parse_rate(args.rate)
        except ValueError as exc:
            return fail(f"--rate {args.rate!r} {exc}.")
    if args.days is not None and not 0 < args.days < 36_500:
        return fail(f"--days {args.days:g} is no time to live; expected more than 0 and less than 36500.")
    ends = None if args.days is None else key_store.format_time(datetime.now(UTC) + timedelta(days=args.days))
    text, key = key_store.create_key(
        store, args.name, args.roles, actor=audit.this_operator(), expires_at=ends, rate=args.rate
    )
    return _show_once(text, f"Key {key.key_id} for {key.name}: {', '.join(sorted(key.roles))}.")


def _rotate(store: "Store", args: argparse.Namespace) -> int:
    from . import audit, key_store

    if not 0 <= args.grace_hours <= 24 * 365:
        return fail(f"--grace-hours {args.grace_hours:g} is no grace; expected 0 to 8760.")
    grace = timedelta(hours=args.grace_hours)
    text, new, old = key_store.rotate_key(store, args.name, actor=audit.this_operator(), grace=grace)
    return _show_once(text, f"Key {new.key_id} for {new.name} replaces {old.key_id}, good for {args.grace_hours:g} h.")


def _revoke(store: "Store", args: argparse.Namespace) -> int:
    from . import audit, key_store

    key = key_store.revoke_key(store, args.name, actor=audit.this_operator())
    print(f"Key {key.key_id} of {key.name} is revoked; running services refuse it within seconds.")
    return 0


def _list(store: "Store", args: argparse.Namespace) -> int:
    from pointsman.classifier.records import utc_now

    from . import key_store

    now = utc_now()
    keys = [_shown(key, now) for key in key_store.read_keys(store)]
    if args.json:
        print(json.dumps(keys, indent=2))
        return 0
    if not keys:
        print("No key yet. Make one: pointsman keys create NAME --role decide", file=sys.stderr)
    for line in _table(keys, ("key_id", "state", "name", "roles", "rate", "created_at", "expires_at", "replaces")):
        print(line)
    return 0


def _audit(store: "Store", args: argparse.Namespace) -> int:
    from . import audit

    if args.last is not None and args.last < 1:
        return fail(f"--last {args.last} shows nothing; expected 1 or more.")
    for act in audit.read_acts(store, most=args.last):
        row = {name: getattr(act, name) for name in ("created_at", "actor", "action", "subject", "details")}
        details = json.dumps(row["details"])
        print(
            json.dumps(row) if args.json else f"{act.created_at}  {act.actor}  {act.action}  {act.subject}  {details}"
        )
    return 0


def _show_once(text: str, remark: str) -> int:
    # The key alone on stdout: it can be piped to where it belongs without being shown.
    print(text)
    print(f"{remark} It is shown this once. Send it as: x-pointsman-key", file=sys.stderr)
    return 0


def _shown(key: "ApiKey", now: str) -> dict[str, Any]:
    state = "active" if key.is_active(now) else ("revoked" if key.revoked_at else "expired")
    names = ("key_id", "name", "rate", "created_at", "created_by", "expires_at", "revoked_at", "replaces")
    return {name: getattr(key, name) for name in names} | {"roles": sorted(key.roles), "state": state}


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> Iterator[str]:
    if not rows:
        return
    cells = [columns, *(tuple(_cell(row[name]) for name in columns) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ",".join(value) if isinstance(value, list) else str(value)
