"""Load for minutes or hours with faults in between: no error, no growth. `make soak`; SOAK_S sets how long."""

import itertools
import os
import threading
import time
from pathlib import Path

import httpx
import pytest

from ..clients import CLAUDE_HEADERS, RACE, claude_body
from ..postgres import PostgresServer
from ..processes import REAL_MODEL, serving
from ..redis_server import RedisServer
from .conftest import open_files

SECONDS = float(os.environ.get("SOAK_S", "300"))
# Of what the service answers when it is asked without pause.
SHARE_OF_CAPACITY = 0.7
N_CLIENTS = 4


class Load:
    """Clients that ask at a steady rate, and count what was not answered."""

    def __init__(self, service):
        self._url = f"http://127.0.0.1:{service.port}"
        self.n_answered, self.errors, self.seconds = 0, [], []
        self._numbers = itertools.count()

    def run(self, seconds, rate=None):
        """Ask for so long; without a rate, as often as answers come. Return answers per second."""
        n_before, started = self.n_answered, time.monotonic()
        clients = [
            threading.Thread(target=self._work, args=[started + seconds, rate and rate / N_CLIENTS])
            for _ in range(N_CLIENTS)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        return (self.n_answered - n_before) / (time.monotonic() - started)

    def _work(self, end, rate):
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30) as http:
            while (begun := time.monotonic()) < end:
                self._ask(http, next(self._numbers))
                if rate is not None:
                    time.sleep(max(0.0, 1 / rate - (time.monotonic() - begun)))

    def _ask(self, http, number):
        headers = CLAUDE_HEADERS | {"x-claude-code-session-id": f"soak-{number // 4}"}
        body = claude_body(f"{RACE} {number // 4}", tool_results=number % 4)
        started = time.monotonic()
        try:
            response = http.post("/v1/decide/v1/messages", json=body, headers=headers)
        except httpx.TransportError as exc:
            self.errors.append(repr(exc))
            return
        self.seconds.append(time.monotonic() - started)
        self.n_answered += 1
        if response.status_code != 200 or not response.json()["model"]:
            self.errors.append(response.text)


def memory_mib(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@pytest.mark.soak
@pytest.mark.postgres
def test_service_holds_under_load_with_faults_in_between(tmp_path, tiny_bundle):
    database, sessions = PostgresServer().start(), RedisServer().start()
    policy = tmp_path / "policy.yaml"
    policy.write_text("extends: balanced\n")
    settings = {"bundle": tiny_bundle, "sessions_url": sessions.url, "policy": policy, "store_timeout_s": 2}
    try:
        with serving(tmp_path, database.url, script=REAL_MODEL, log_level="warning", **settings) as service:
            load = Load(service)
            rate = SHARE_OF_CAPACITY * load.run(min(20, SECONDS / 5))
            load.run(SECONDS / 5, rate)  # until caches are full
            pid = service.process.pid
            before = memory_mib(pid), open_files(pid)
            breaking = threading.Thread(target=break_things, args=[SECONDS * 3 / 5, database, sessions, policy])
            breaking.start()
            reached = load.run(SECONDS * 4 / 5, rate)
            breaking.join()
            after = memory_mib(pid), open_files(pid)
            service.until(lambda: service.metric("pointsman_spool_records") == 0)
            lost = [line for line in service.http.get("/metrics").text.splitlines() if "records_lost_total{" in line]
    finally:
        database.remove()
        sessions.remove()
    late = sorted(load.seconds)[int(len(load.seconds) * 0.99)] * 1000
    print(
        f"{SECONDS:.0f} s, {load.n_answered} answers, {reached:.0f}/s of {rate / SHARE_OF_CAPACITY:.0f}/s, "
        f"p99 {late:.0f} ms, {len(load.errors)} errors, "
        f"memory {before[0]:.0f} to {after[0]:.0f} MiB, files {before[1]} to {after[1]}"
    )
    assert (load.errors, lost) == ([], [])
    assert after[0] < before[0] * 1.2 + 30
    assert after[1] <= before[1] + 20


def break_things(seconds, database, sessions, policy):
    """Stop, hang and start servers and change the policy, over and over; end with everything whole."""
    end, pause = time.monotonic() + seconds, max(1.0, min(10.0, seconds / 20))
    for number in itertools.count():
        if time.monotonic() > end:
            return
        policy.write_text(f"extends: balanced\nscale: {1 + number % 3}\n")
        database.stop() if number % 2 else database.freeze()
        time.sleep(pause)
        database.start() if number % 2 else database.thaw()
        sessions.stop()
        time.sleep(pause)
        sessions.start()
        time.sleep(pause)
