"""Redis stops or is flushed in the middle of a turn: the turn is answered, and what failed is counted."""

import pytest

from ..clients import CLAUDE_HEADERS, RACE, claude_body
from ..processes import serving
from ..redis_server import RedisServer


@pytest.fixture
def server():
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture
def service(server, sqlite_url, tmp_path):
    with serving(tmp_path, sqlite_url, sessions_url=server.url, rate_limit="100000/minute") as service:
        yield service


def ask(service, tool_results=0):
    body = claude_body(RACE, tool_results=tool_results)
    response = service.http.post("/v1/decide/v1/messages", json=body, headers=CLAUDE_HEADERS)
    assert response.status_code == 200
    return response.json()


def test_turn_goes_on_when_redis_stops_and_when_it_returns(service, server):
    first = ask(service)
    server.stop()
    loop = [ask(service, tool_results=step) for step in (1, 2)]
    assert {answer["model"] for answer in loop} == {first["model"]}
    assert service.metric("pointsman_session_store_failures_total") > 0
    assert "sessions are kept in memory" in service.log
    assert service.http.get("/readyz").status_code == 200
    server.start()
    assert ask(service, tool_results=3)["model"] == first["model"]


@pytest.mark.fault
def test_turn_goes_on_when_redis_hangs(service, server):
    first = ask(service)
    server.freeze()
    try:
        assert ask(service, tool_results=1)["model"] == first["model"]
    finally:
        server.thaw()


@pytest.mark.fault
def test_flushed_redis_makes_the_next_request_a_new_turn(service, server):
    first = ask(service)
    with server.client() as client:
        client.flushall()
    loop = ask(service, tool_results=1)
    assert loop["model"] == first["model"]
    assert ask(service, tool_results=2)["kind"] == "tool_loop"
