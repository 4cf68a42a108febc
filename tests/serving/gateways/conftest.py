"""The real service, with a real wire to it that tests may cut."""

from uuid import uuid4

import pytest

from ..clients import CLAUDE_HEADERS
from .relay import Relay
from .service import running_service


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("service") / "records.sqlite") as server:
        yield server


@pytest.fixture(scope="session")
def wire(service):
    relay = Relay(service.address)
    yield relay
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
    return CLAUDE_HEADERS | {"x-claude-code-session-id": str(uuid4())}
