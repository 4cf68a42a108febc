"""The process itself: told to stop, out of memory, its clock wrong, its connections taken."""

import importlib.util
import resource
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from pointsman.serving.store import Store

from ..processes import FAKE_MODEL, serving
from .conftest import open_files

HEAD = b"POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nContent-Length: 25\r\n\r\n"
BODY = b'{"prompt":"fix the race"}'


def connected(service):
    return socket.create_connection(("127.0.0.1", service.port), timeout=60)


def answer_of(connection):
    answer = b""
    while data := connection.recv(65536):
        answer += data
    return answer


def test_stop_answers_what_is_under_way_and_keeps_its_record(sqlite_url, tmp_path):
    with serving(tmp_path, sqlite_url) as service, connected(service) as connection:
        connection.sendall(HEAD + BODY[:10])
        service.until(lambda: service.metric("pointsman_body_bytes") > 0)
        stopping = threading.Thread(target=service.stop)
        stopping.start()
        service.until(lambda: is_refused(service.port))
        connection.sendall(BODY[10:])
        answer = answer_of(connection)
        stopping.join()
    assert answer.startswith(b"HTTP/1.1 200 ")
    decision_id = next(line for line in answer.decode().splitlines() if line.startswith("x-pointsman-decision")).split()
    store = Store(sqlite_url)
    assert store.decision(decision_id[-1]).model
    store.close()


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.fault
def test_stop_waits_no_longer_than_its_deadline_for_a_client_that_hangs(sqlite_url, tmp_path):
    hours = {"body_timeout_s": 36_000, "drain_timeout_s": 1, "flush_timeout_s": 1}
    with serving(tmp_path, sqlite_url, **hours) as service, connected(service) as connection:
        connection.sendall(HEAD)
        service.until(lambda: open_files(service.process.pid) > 0)
        assert service.stop() < 3600
        assert "timeout graceful shutdown exceeded" in service.log


@pytest.mark.fault
def test_little_memory_costs_large_requests_their_reading_and_no_answer(sqlite_url, tmp_path):
    large = b'{"messages": [{"role": "user", "content": "' + b"word " * 6_000_000 + b'"}]}'
    with serving(tmp_path, sqlite_url, max_held_bytes=100 * 1024**2, decide_timeout_s=30) as service:
        in_use = memory_of(service.process.pid, "VmData")
        room = in_use + 600 * 1024**2
        resource.prlimit(service.process.pid, resource.RLIMIT_DATA, (room, room))

        def ask(_):
            return service.http.post("/v1/decide", content=large)

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(24)))
        assert {answer.status_code for answer in answers} == {200}
        assert all(answer.json()["model"] for answer in answers)
        assert service.decide()["category"]["label"] == "debugging"
        assert service.metric("pointsman_body_bytes") == 0
        assert service.metric("pointsman_safe_defaults_total", cause="no_room") > 0


def memory_of(pid, name):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("n_connections", [300, pytest.param(10_000, marks=pytest.mark.fault)])
def test_connections_that_say_nothing_or_little_keep_nobody_out(sqlite_url, tmp_path, n_connections):
    n_connections = as_many_as_allowed(n_connections)
    with serving(tmp_path, sqlite_url, header_timeout_s=600) as service, ExitStack() as idle:
        for number in range(n_connections):
            connection = idle.enter_context(connected(service))
            if number % 2:
                connection.sendall(HEAD[: 5 + number % 40])
        service.until(lambda: open_files(service.process.pid) > n_connections)
        for number in range(20):
            assert service.decide(session_id=str(number))["category"]
        assert service.http.get("/readyz").status_code == 200
        print(f"{n_connections} idle connections, {memory_of(service.process.pid, 'VmRSS') / 2**20:.0f} MiB")


def as_many_as_allowed(n_wanted):
    """Open as many as this account may, and say so where that is fewer."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < n_wanted + 500:
        print(f"scaled down: {most} open files are allowed here, {n_wanted} connections were wanted")
        return most - 500
    return n_wanted


@pytest.fixture
def clock(tmp_path):
    """A clock for one process, that a test may set; time that only passes stays true."""
    spec = importlib.util.find_spec("libfaketime")
    library = spec and next(Path(spec.submodule_search_locations[0]).rglob("libfaketime.so.1"), None)
    if library is None:
        pytest.skip("no clock to set: libfaketime is not installed here (pip install libfaketime)")
    path = tmp_path / "clock"
    path.write_text("+0")
    settings = {"FAKETIME_TIMESTAMP_FILE": str(path), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return path, ["env", f"LD_PRELOAD={library}", *(f"{name}={value}" for name, value in settings.items())]


@pytest.mark.fault
@pytest.mark.parametrize("jumps", [["+400d", "+0"], ["-400d", "+0"], ["+1h", "-1h", "+9000d"]], ids=str)
def test_clock_that_jumps_stops_nothing(sqlite_url, tmp_path, clock, jumps):
    path, prefix = clock
    with serving(tmp_path, sqlite_url, prefix=prefix, rate_limit="1000/minute", retention_days=3650) as service:
        hours = set()
        for number, jump in enumerate(jumps):
            decision_id = service.decide(session_id="same", prompt=f"fix the race {number}")["decision_id"]
            path.write_text(jump)
            assert service.judge(decision_id, f"k-{number}").status_code == 201
            answer = service.decide(session_id="same", prompt=f"and again {number}")
            assert answer["category"]
            row = service.http.get(f"/v1/decisions/{answer['decision_id']}").json()
            hours.add(row["created_at"][:13])
            assert service.http.get("/readyz").status_code == 200
        assert len(hours) == len(jumps)  # it did jump


def test_serving_never_asks_for_mlflow(sqlite_url, tmp_path):
    script = "import sys; sys.modules['mlflow'] = None\n" + FAKE_MODEL
    with serving(tmp_path, sqlite_url, script=script) as service:
        assert service.decide()["category"]


def test_client_that_half_closes_gets_its_answer(sqlite_url, tmp_path):
    with serving(tmp_path, sqlite_url) as service:
        with connected(service) as connection:
            connection.sendall(HEAD + BODY)
            connection.shutdown(socket.SHUT_WR)
            assert answer_of(connection).startswith(b"HTTP/1.1 200 ")
        with connected(service) as connection:
            connection.sendall(HEAD + BODY[:5])
            connection.shutdown(socket.SHUT_WR)
            assert answer_of(connection) == b""
        with connected(service) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert answer_of(connection) == b""
        service.until(lambda: service.metric("pointsman_body_bytes") == 0)
        assert httpx.get(f"http://127.0.0.1:{service.port}/healthz", trust_env=False).status_code == 200
