"""A database of any age is brought to the tables that the code works with."""

import threading

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from pointsman.serving.console.decisions import Filter, list_decisions
from pointsman.serving.errors import StoreUnavailableError, StoreVersionError
from pointsman.serving.key_store import create_key, read_keys
from pointsman.serving.migrations import migrate
from pointsman.serving.store import METADATA, Store

from .rows import decision_row, feedback_row


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty(request, tmp_path):
    """A store on a database without tables."""
    if request.param == "sqlite":
        store = Store(f"sqlite:///{tmp_path / 'fresh.sqlite'}")
    else:
        store = Store(request.getfixturevalue("empty_postgres_url"))
    yield store
    store.close()


def revision(store):
    with store.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def test_empty_database_gets_the_tables(empty):
    migrate(empty.engine)
    tables = {"decisions", "feedback", "api_keys", "audit", "reviews", "alembic_version"}
    assert set(sa.inspect(empty.engine).get_table_names()) == tables


def test_revisions_and_tables_in_the_code_agree(empty):
    migrate(empty.engine)
    with empty.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_migrating_again_changes_nothing(empty):
    migrate(empty.engine)
    row = decision_row()
    empty.append([row], [])
    migrate(empty.engine)
    assert empty.decision(row.decision_id) == row


def go_to(store, target):
    """Run Alembic towards a revision, as an operator would."""
    config = Config()
    config.set_main_option("script_location", "pointsman.serving:migrations")
    with store.engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if target < revision(store) else command.upgrade)(config, target)


def test_filled_database_goes_back_and_forward_with_its_records(empty):
    migrate(empty.engine)
    row = decision_row()
    given = feedback_row(row.decision_id)
    empty.append([row], [given])
    create_key(empty, "gateway", ["decide"], actor="me")
    go_to(empty, "0001")
    assert set(sa.inspect(empty.engine).get_table_names()) == {"decisions", "feedback", "alembic_version"}
    migrate(empty.engine)
    assert (empty.decision(row.decision_id), empty.feedback_of(row.decision_id)) == (row, [given])
    assert read_keys(empty) == []
    create_key(empty, "gateway", ["decide"], actor="me")


def test_projects_of_older_records_are_found(empty):
    migrate(empty.engine)
    empty.append([decision_row(project="website"), decision_row()], [])
    go_to(empty, "0002")
    migrate(empty.engine)
    assert [row.project for row in list_decisions(empty, Filter(project="website")).rows] == ["website"]


def test_processes_that_start_at_once_do_not_collide(empty):
    errors = []

    def start():
        try:
            migrate(empty.engine)
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert revision(empty) == "0003_reviews"


def test_newer_database_is_refused_with_what_to_do(empty):
    migrate(empty.engine)
    with empty.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        StoreVersionError, match=r"revision 9999; this code knows up to 0003_reviews\. Upgrade pointsman"
    ):
        migrate(empty.engine)


def test_database_that_cannot_be_opened_is_named_without_its_password():
    store = Store("postgresql+psycopg://user:hunter2@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailableError, match=r"POINTSMAN_DATABASE_URL") as raised:
        migrate(store.engine)
    assert "hunter2" not in str(raised.value)
    assert "user:***@127.0.0.1" in str(raised.value)
    store.close()
