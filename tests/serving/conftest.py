"""A fresh store per test on either database, and the app around a router with a fake assessor."""

import shutil
import socket
import threading
import time
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
import uvicorn
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.migrations import migrate
from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store

from .fakes import FakeAssessor, fake_router
from .postgres import running_postgres


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path, monkeypatch):
    """What no test names a place for must not end up among the files of whoever runs the tests."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="session")
def postgres_server():
    with running_postgres() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server):
    """A store on the server's own database; the tests that share it clear it."""
    store = Store(load_settings(database_url=postgres_server).database_url)
    migrate(store.engine)
    yield store
    store.close()


@pytest.fixture
def postgres_url(postgres_server, migrated_postgres):
    with migrated_postgres.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE decisions, feedback, api_keys, reviews")
    return postgres_server


@pytest.fixture
def empty_postgres_url(postgres_server, migrated_postgres):
    """A database of its own, without tables."""
    name = f"test_{uuid4().hex}"
    with migrated_postgres.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield load_settings(database_url=postgres_server.replace("/postgres?", f"/{name}?")).database_url
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory):
    """An SQLite file at head, to copy: migrating takes ten times as long."""
    path = tmp_path_factory.mktemp("template") / "records.sqlite"
    store = Store(f"sqlite:///{path}")
    migrate(store.engine)
    store.close()
    return path


@pytest.fixture
def sqlite_url(tmp_path, migrated_sqlite):
    shutil.copy(migrated_sqlite, tmp_path / "records.sqlite")
    return f"sqlite:///{tmp_path / 'records.sqlite'}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request):
    """A database on each kind of server."""
    return load_settings(database_url=request.getfixturevalue(f"{request.param}_url")).database_url


@pytest.fixture
def store(database_url):
    store = Store(database_url)
    migrate(store.engine)
    yield store
    store.close()


@pytest.fixture
def settings(sqlite_url):
    return load_settings(database_url=sqlite_url)


@pytest.fixture
def assessor():
    """Slow while its gate is closed, failing while it has an error."""
    return FakeAssessor()


@pytest.fixture
def router(assessor):
    return fake_router(assessor)


@pytest.fixture
def client(settings, router, assessor):
    """The app, started, over a fresh store."""
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        assessor.n_calls = 0
        yield client
        assessor.gate.set()


def wait_until_ready(client):
    for _ in range(500):
        if client.get("/readyz").status_code == 200:
            return
        time.sleep(0.01)
    raise AssertionError(client.get("/readyz").text)


@dataclass(frozen=True)
class Server:
    """The app behind a real server, in a thread of its own."""

    address: tuple[str, int]
    http: httpx.Client


@pytest.fixture
def server(settings, router, assessor):
    """The app on a real socket, for what only shows there: streaming, and requests at the same time."""
    listener = socket.create_server(("127.0.0.1", 0))
    uvicorn_server = uvicorn.Server(uvicorn.Config(create_app(settings, router), log_config=None, ws="none"))
    thread = threading.Thread(target=uvicorn_server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = listener.getsockname()
    with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", trust_env=False, timeout=20) as http:
        wait_until_ready(http)
        assessor.n_calls = 0
        yield Server(address, http)
    assessor.gate.set()
    uvicorn_server.should_exit = True
    thread.join(20)
    listener.close()
