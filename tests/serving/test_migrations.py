"""A database of any age is brought to the tables that the code works with."""

import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from pointsman.classifier.commands import main
from pointsman.serving.audit import read_acts
from pointsman.serving.console.decisions import Filter, list_decisions
from pointsman.serving.errors import StoreUnavailableError, StoreVersionError
from pointsman.serving.key_store import create_key, read_keys
from pointsman.serving.migrations import migrate
from pointsman.serving.store import METADATA, Store

from .databases import DECISION_IDS, FOLDER, fill, go_to, load, revision_of, revisions
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


def url_of(store):
    return store.engine.url.set(drivername=store.engine.dialect.name).render_as_string(hide_password=False)


@pytest.mark.parametrize("old", ["0002", "0001"])
def test_command_brings_a_filled_database_back(empty, tmp_path, capsys, old):
    known = columns_at(tmp_path, old)
    migrate(empty.engine)
    fill(empty)
    before = contents(empty, known)
    assert main(["downgrade", old, "--database-url", url_of(empty)]) == 0
    assert f"The database is at revision {old}. Start the older version;" in capsys.readouterr().out
    assert (revision_of(empty), columns(empty)) == (old, known)
    assert all(contents(empty, known)[name] == before[name] for name in known if name != "audit")


def test_going_back_stands_in_the_audit_log(empty, capsys):
    assert main(["downgrade", "0002", "--database-url", url_of(empty)]) == 0
    (act,) = read_acts(empty)
    assert (act.action, act.subject) == ("downgrade", "0002")


@pytest.mark.parametrize("revision", ["0003", "base", "-1", "9999"])
def test_revision_that_is_none_to_go_back_to_is_refused(empty, capsys, revision):
    assert main(["downgrade", "--database-url", url_of(empty), "--", revision]) == 2
    wanted = f"pointsman: found the revision {revision!r}; expected one of 0001, 0002. Nothing was changed.\n"
    assert capsys.readouterr().err == wanted
    assert revision_of(empty) == revisions()[-1]


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
    assert revision_of(empty) == revisions()[-1]


def test_newer_database_is_refused_with_what_to_do(empty):
    migrate(empty.engine)
    with empty.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        StoreVersionError, match=r"revision 9999; this code knows up to (\w+)\. .* 'pointsman downgrade \1'"
    ):
        migrate(empty.engine)


def test_database_that_cannot_be_opened_is_named_without_its_password():
    store = Store("postgresql+psycopg://user:hunter2@127.0.0.1:1/none")
    with pytest.raises(StoreUnavailableError, match=r"POINTSMAN_DATABASE_URL") as raised:
        migrate(store.engine)
    assert "hunter2" not in str(raised.value)
    assert "user:***@127.0.0.1" in str(raised.value)
    store.close()


def test_every_head_has_its_filled_databases():
    wanted = {f"{revision}-{kind}.sql" for revision in revisions() for kind in ("sqlite", "postgresql")}
    assert {path.name for path in FOLDER.glob("*.sql")} == wanted, "Run: python -m tests.serving.databases"


def columns(store):
    """Return the columns of every table that holds records."""
    metadata = sa.MetaData()
    metadata.reflect(store.engine)
    return {name: set(table.columns.keys()) for name, table in metadata.tables.items() if name != "alembic_version"}


def contents(store, known):
    """Return every row of the tables and columns that are known; of the others nothing."""
    metadata = sa.MetaData()
    metadata.reflect(store.engine)
    with store.engine.connect() as connection:
        rows = {name: connection.execute(sa.select(metadata.tables[name])).mappings().all() for name in known}
    return {name: sorted(repr([row[column] for column in sorted(known[name])]) for row in rows[name]) for name in known}


@pytest.mark.parametrize("old", revisions())
def test_filled_database_of_every_revision_comes_forward_whole(empty, old):
    load(empty, old)
    known = columns(empty)
    before = contents(empty, known)
    migrate(empty.engine)
    assert contents(empty, known) == before
    assert [empty.decision(decision_id).decision_id for decision_id in DECISION_IDS] == list(DECISION_IDS)
    assert len(empty.feedback_of(DECISION_IDS[0])) == 3
    with empty.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


@pytest.mark.parametrize("old", ["base", *revisions()])
def test_filled_database_goes_back_to_every_revision_and_comes_forward(empty, tmp_path, old):
    known = columns_at(tmp_path, old)
    migrate(empty.engine)
    fill(empty)
    before = contents(empty, known)
    go_to(empty, old)
    assert (columns(empty), contents(empty, known)) == (known, before)
    migrate(empty.engine)
    assert contents(empty, known) == before


def columns_at(folder, revision):
    """Return the columns of a revision, from a database that never was of another."""
    store = Store(f"sqlite:///{folder / 'of-this-revision.sqlite'}")
    go_to(store, revision)
    known = columns(store)
    store.close()
    return known
