"""The real service, with a real wire to it that tests may cut."""

from collections import namedtuple

import pytest

from pointsman.serving.key_store import create_key
from pointsman.serving.migrations import migrate
from pointsman.serving.store import Store

from .agents import fresh_session
from .relay import Relay
from .service import running_service

Frugal = namedtuple("Frugal", "service wire")
Guarded = namedtuple("Guarded", "wire keys")


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("service") / "records.sqlite") as server:
        yield server


@pytest.fixture(scope="session")
def wire(service):
    relay = Relay(service.address)
    yield relay
    relay.close()


@pytest.fixture(scope="session")
def frugal(tmp_path_factory):
    """Another service, to whom Qwen is worth its misses, and a wire to it."""
    with running_service(tmp_path_factory.mktemp("frugal") / "records.sqlite", policy="frugal") as server:
        relay = Relay(server.address)
        yield Frugal(server, relay)
        relay.close()


@pytest.fixture(scope="session")
def guarded(tmp_path_factory):
    """A service that asks for keys, a wire to it, and two keys: one may decide, the other only judge."""
    database = tmp_path_factory.mktemp("guarded") / "records.sqlite"
    store = Store(f"sqlite:///{database}")
    migrate(store.engine)
    keys = {role: create_key(store, role, [role], actor="test")[0] for role in ("decide", "feedback")}
    store.close()
    with running_service(database, keys="on") as server:
        relay = Relay(server.address)
        yield Guarded(relay, keys)
        relay.close()


@pytest.fixture
def relay(wire):
    """The wire, whole again and with nothing received yet."""
    wire.turn("passing")
    wire.received.clear()
    wire.sent.clear()
    yield wire
    wire.turn("passing")


@pytest.fixture
def headers():
    """Claude Code's headers in a session of this test's own."""
    return fresh_session()
