"""Load for minutes or hours, with reloads, retrainings and faults in between. `make soak`; SOAK_S sets how long.

No error, nothing lost, no growth: of what is answered and acknowledged everything is in the database at the end.
"""

import os
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from pointsman.serving.settings import load_settings
from pointsman.serving.store import DECISIONS, FEEDBACK, Store

from ..postgres import PostgresServer
from ..processes import REAL_MODEL, serving
from ..redis_server import RedisServer
from .conftest import open_files
from .load import Load
from .retraining import Champions

SECONDS = float(os.environ.get("SOAK_S", "300"))
# Of what the service answers when it is asked without pause.
SHARE_OF_CAPACITY = 0.7


class Sizes:
    """Memory and open files of a process, measured until the block ends."""

    def __init__(self, pid, every_s):
        self._pid, self._every_s = pid, every_s
        self.memory_mib, self.n_files = [], []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._measure, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def _measure(self):
        while True:
            self.memory_mib.append(memory_mib(self._pid))
            self.n_files.append(open_files(self._pid))
            if self._is_over.wait(self._every_s):
                return

    @staticmethod
    def before_and_after(values):
        """The medians of the second quarter and of the last; in the first what is bounded fills up."""
        quarter = max(1, len(values) // 4)
        return statistics.median(values[quarter : 2 * quarter]), statistics.median(values[-quarter:])


def memory_mib(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Breaker:
    """Goes through every fault over and over; each round ends with everything whole."""

    def __init__(self, database, sessions, policy, champions, *, note):
        self._database, self._sessions, self._policy, self._champions = database, sessions, policy, champions
        self._note = note
        self.n_rounds = 0

    def run(self, seconds):
        end, pause = time.monotonic() + seconds, max(1.0, min(10.0, seconds / 20))
        next_retraining = 0.0
        while time.monotonic() < end:
            if not self._champions.is_retraining() and time.monotonic() >= next_retraining:
                self._champions.take_up()
                self._champions.retrain()
                next_retraining = time.monotonic() + seconds / 12
                self._note(f"{self.n_rounds} rounds, {self._champions.n_promoted} retrainings taken up")
            self._round(pause)
        self._champions.take_up()

    def _round(self, pause):
        self._policy.write_text(f"extends: balanced\nscale: {1 + self.n_rounds % 3}\n")
        self._database.stop() if self.n_rounds % 2 else self._database.freeze()
        time.sleep(pause)
        self._database.start() if self.n_rounds % 2 else self._database.thaw()
        self._sessions.stop()
        time.sleep(pause)
        self._sessions.start()
        self._champions.offer_damaged()
        self._champions.damage_the_served()
        time.sleep(pause)
        self.n_rounds += 1


def lost(database_url, load):
    """Return what was answered or acknowledged and is not in the database, and what is there twice."""
    store = Store(load_settings(database_url=database_url).database_url)
    with store.engine.connect() as connection:
        decided = connection.execute(sa.select(DECISIONS.c.decision_id)).scalars().all()
        rows = connection.execute(sa.select(FEEDBACK.c.feedback_id, FEEDBACK.c.decision_id)).all()
    store.close()
    judged = {row.feedback_id: row.decision_id for row in rows}
    missing = {key for key, decision_id in load.judged.items() if judged.get(key) != decision_id}
    return load.decided - set(decided), missing, len(rows) - len(judged)


@pytest.mark.soak
@pytest.mark.postgres
@pytest.mark.training
def test_service_holds_under_load_with_faults_in_between(tmp_path):
    database, sessions = PostgresServer().start(), RedisServer().start()
    policy = tmp_path / "policy.yaml"
    policy.write_text("extends: balanced\n")
    champions = Champions(tmp_path, lambda: service)
    settings = {"bundle": champions.path, "sessions_url": sessions.url, "policy": policy, "store_timeout_s": 2}

    def note(text):
        """Say how far it is: two hours are long."""
        sizes = f"{memory_mib(service.process.pid):.0f} MiB, {open_files(service.process.pid)} files"
        print(f"{text}, {len(load.seconds)} answers, {len(load.errors)} errors, {sizes}", flush=True)

    breaker = Breaker(database, sessions, policy, champions, note=note)
    try:
        with (
            serving(tmp_path, database.url, script=REAL_MODEL, log_level="warning", **settings) as service,
            ThreadPoolExecutor(1) as pool,
        ):
            load = Load(f"http://127.0.0.1:{service.port}")
            capacity = load.run(min(30, SECONDS / 5))
            rate = SHARE_OF_CAPACITY * capacity
            load.run(SECONDS / 10, rate)  # until caches are full
            with Sizes(service.process.pid, every_s=SECONDS / 200) as sizes:
                broken = pool.submit(breaker.run, SECONDS * 8 / 10)
                reached = load.run_beside(broken.result, rate)
                load.run(SECONDS / 10, rate)
            service.until(lambda: service.metric("pointsman_spool_records") == 0)
            counted = [line for line in service.http.get("/metrics").text.splitlines() if not line.startswith("#")]
            service.stop()
        missing = lost(database.url, load)
    finally:
        database.remove()
        sessions.remove()
    memory, files = Sizes.before_and_after(sizes.memory_mib), Sizes.before_and_after(sizes.n_files)
    print(
        f"{SECONDS:.0f} s, {len(load.seconds)} answers, {reached:.1f}/s of {capacity:.1f}/s, "
        f"p50 {load.quantile_ms(0.5):.0f} ms, p99 {load.quantile_ms(0.99):.0f} ms, {len(load.errors)} errors\n"
        f"{breaker.n_rounds} rounds of faults, {champions.n_promoted} retrainings taken up, "
        f"{champions.n_refused} damaged bundles refused, {len(load.judged)} judgements acknowledged\n"
        f"memory {memory[0]:.0f} to {memory[1]:.0f} MiB (most {max(sizes.memory_mib):.0f}), "
        f"files {files[0]:.0f} to {files[1]:.0f} (most {max(sizes.n_files)})\n"
        + "\n".join(line for line in counted if "safe_defaults" in line or "failures_total" in line)
    )
    assert load.errors == []
    assert [len(part) if isinstance(part, set) else part for part in missing] == [0, 0, 0]
    assert [line for line in counted if "records_lost_total{" in line] == []
    assert memory[1] < memory[0] * 1.1 + 30
    assert files[1] <= files[0] + 20
    assert champions.n_promoted > 0
