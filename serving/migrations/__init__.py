"""Alembic revisions of the record store: `migrate` runs them at every start in one transaction, `go_back` undoes them.

A released revision is never edited: databases that have run it will not run it again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from pointsman.serving.audit import Act, write_act
from pointsman.serving.errors import StoreUnavailableError, StoreVersionError
from pointsman.serving.store import writing

_FOLDER: Final = Path(__file__).parent
# Any constant does; processes that start at once on one PostgreSQL wait for each other.
_LOCK_ID: Final = 0x706F696E74


def migrate(engine: Engine) -> None:
    """Run the revisions that the database lacks.

    Raises
    ------
    StoreVersionError
        A newer version of this code migrated the database.
    StoreUnavailableError
        The database cannot be reached or changed.
    """
    with _alone(engine) as connection:
        command.upgrade(_config(connection), "head")


def go_back(engine: Engine, revision: str, *, actor: str) -> None:
    """Undo the revisions after this one, in one transaction; what only their tables held is gone.

    The database is at the head, and the revision is one of `older_revisions`. The audit log keeps the act, where the
    older code has one. Raises what `migrate` does.
    """
    with _alone(engine) as connection:
        write_act(connection, Act(actor, "downgrade", revision))
        command.downgrade(_config(connection), revision)


def older_revisions() -> list[str]:
    """Return the revisions before the head, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()][:0:-1]


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that no other migration runs beside, on a database that is no newer than this code."""
    try:
        with writing(engine).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK_ID)))
            _refuse_newer(connection)
            yield connection
    except SQLAlchemyError as exc:
        shown = engine.url.set(query={}).render_as_string(hide_password=True)
        cause = " ".join(str(exc.__cause__ or exc).split())
        raise StoreUnavailableError(
            f"the database {shown} cannot be opened or migrated: {cause}. Check POINTSMAN_DATABASE_URL."
        ) from exc


def _refuse_newer(connection: Connection) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    script = ScriptDirectory.from_config(_config(connection))
    known = {revision.revision for revision in script.walk_revisions()}
    if found is not None and found not in known:
        raise StoreVersionError(found, script.get_current_head())


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    # A percent sign in the path would be read as interpolation.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
