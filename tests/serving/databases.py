"""Filled databases as each revision left them, kept in `tests/data/databases`; this module writes those of a new head.

`python -m tests.serving.databases` writes the files of the head that have none yet. A file that is there stays: it is
what databases in the field look like.
"""

import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from pointsman.classifier.labels import HEADS
from pointsman.serving.console.reviews import save_review
from pointsman.serving.key_store import create_key
from pointsman.serving.migrations import migrate
from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store

from .postgres import PostgresServer
from .rows import ASSESSMENT, decision_row, feedback_row

FOLDER = Path(__file__).parents[1] / "data" / "databases"
DECISION_IDS = tuple(f"decision-{number}" for number in range(5))


def revisions():
    """Return every revision, oldest first."""
    config = Config()
    config.set_main_option("script_location", "pointsman.serving:migrations")
    return [revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def revision_of(store):
    with store.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def go_to(store, target):
    """Run Alembic towards a revision, as an operator would."""
    config = Config()
    config.set_main_option("script_location", "pointsman.serving:migrations")
    known = ["base", *revisions()]
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        found = MigrationContext.configure(connection).get_current_revision() or "base"
        (command.downgrade if known.index(target) < known.index(found) else command.upgrade)(config, target)


def fill(store):
    """Put the same records into every database, odd ones among them."""
    rows = [decision_row(decision_id=decision_id, session_id="s-1") for decision_id in DECISION_IDS]
    rows[1] = decision_row(decision_id=DECISION_IDS[1], session_id=None, prompt="quotes ' \" and \\ and \u20ac")
    store.append(rows, [feedback_row(DECISION_IDS[0], feedback_id=f"feedback-{number}") for number in range(3)])
    tables = sa.inspect(store.engine).get_table_names()
    if "api_keys" in tables:
        create_key(store, "gateway", ["decide"], actor="me")
    if "reviews" in tables:
        save_review(store, DECISION_IDS[1], "me", {head: getattr(ASSESSMENT, head).label for head in HEADS})


def load(store, revision):
    """Fill an empty database with what a revision left."""
    path = FOLDER / f"{revision}-{store.engine.dialect.name}.sql"
    script = path.read_text(encoding="utf-8")
    url = store.engine.url
    if store.engine.dialect.name == "sqlite":
        with closing(sqlite3.connect(url.database)) as connection:
            connection.executescript(script)
        return
    # Lines with a backslash are for psql alone.
    script = re.sub(r"^\\.*$", "", script, flags=re.MULTILINE)
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as connection:
        connection.execute(script)


def _write_sqlite(revision, folder):
    store = Store(f"sqlite:///{folder / 'records.sqlite'}")
    migrate(store.engine)
    go_to(store, revision)
    fill(store)
    with closing(sqlite3.connect(store.engine.url.database)) as connection:
        (FOLDER / f"{revision}-sqlite.sql").write_text("\n".join(connection.iterdump()) + "\n", encoding="utf-8")
    store.close()


def _write_postgres(revision):
    server = PostgresServer().start()
    try:
        store = Store(load_settings(database_url=server.url).database_url)
        migrate(store.engine)
        go_to(store, revision)
        fill(store)
        store.close()
        dump = [server.binaries / "pg_dump", "--inserts", "--no-owner", "--no-privileges", server.url]
        done = subprocess.run(dump, capture_output=True, text=True, check=True)
        (FOLDER / f"{revision}-postgresql.sql").write_text(done.stdout, encoding="utf-8")
    finally:
        server.remove()


if __name__ == "__main__":
    import tempfile

    head = revisions()[-1]
    if not (FOLDER / f"{head}-postgresql.sql").exists():
        _write_postgres(head)
    if not (FOLDER / f"{head}-sqlite.sql").exists():
        _write_sqlite(head, Path(tempfile.mkdtemp()))
