"""`pointsman downgrade`: the way back to an older version."""

import argparse
from contextlib import closing
from typing import TYPE_CHECKING

from .commands import fail
from .key_commands import add_store_argument, with_store

if TYPE_CHECKING:
    from .settings import Settings


class DowngradeCommand:
    """Brings a database back to what an older version worked with."""

    help = "bring the record store back to the tables of an older version; what only newer tables held is gone"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "revision", help="the one that the older version names when it refuses to start, such as 0002"
        )
        add_store_argument(parser)

    def run(self, args: argparse.Namespace) -> int:
        return with_store(args, lambda _, settings: _downgrade(args.revision, settings))


def _downgrade(revision: str, settings: "Settings") -> int:
    from . import audit, migrations
    from .store import Store

    older = migrations.older_revisions()
    if revision not in older:
        return fail(f"found the revision {revision!r}; expected one of {', '.join(older)}. Nothing was changed.")
    # Without a bound on a statement's time: a filled database takes as long as it takes.
    with closing(Store(settings.database_url)) as store:
        migrations.go_back(store.engine, revision, actor=audit.this_operator())
    print(f"The database is at revision {revision}. Start the older version; this one would bring it forward again.")
    return 0
