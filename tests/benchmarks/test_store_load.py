"""What a decision costs Redis and PostgreSQL: commands, bytes and time, on real servers on a socket."""

import time

import pytest

from pointsman.classifier import Router
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.policy import Policy
from pointsman.classifier.records import DecisionRecord, utc_now
from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY
from pointsman.serving.migrations import migrate
from pointsman.serving.redis_sessions import RedisSessions
from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store
from tests.fakes import FakeAssessor, asked
from tests.serving.postgres import running_postgres
from tests.serving.redis_server import RedisServer

from .rows import Row

pytestmark = pytest.mark.benchmark
PART = "Redis and PostgreSQL"
N_DECISIONS = 2_000
N_BATCH = 200


def router_with(sessions=None):
    return Router(FakeAssessor(), Catalog.load(DEFAULT_CATALOG), Policy.load(DEFAULT_POLICY), sessions)


@pytest.fixture
def redis():
    server = RedisServer().start()
    yield server
    server.remove()


def n_commands(client):
    return sum(values["calls"] for name, values in client.info("commandstats").items() if name != "cmdstat_info")


@pytest.mark.parametrize(("kind", "step"), [("a turn's first request", 0), ("tool loop", 1)])
def test_redis_per_decision(report, redis, kind, step):
    router = router_with(RedisSessions(redis.url, timeout_s=10))
    with redis.client() as client:
        empty = client.info("memory")["used_memory"]
        for number in range(N_DECISIONS):
            router.decide_turn(asked(session=f"s{number}"))
        held = client.info("memory")["used_memory"] - empty
        before = n_commands(client)
        for number in range(N_DECISIONS):
            router.decide_turn(asked(session=f"s{number}", step=step, prompt="Do it" if step else "Another"))
        per_decision = (n_commands(client) - before) / N_DECISIONS
    router.sessions.close()
    report(Row(PART, f"Redis, {kind}: commands", "per decision", per_decision, N_DECISIONS))
    report(Row(PART, f"Redis, {kind}: memory of a session", "KB", held / N_DECISIONS / 1e3, N_DECISIONS))
    assert 1 <= per_decision <= 20


def test_postgres_per_decision(report):
    router = router_with()
    turns = [asked(session=f"s{number}") for number in range(N_DECISIONS)]
    rows = [DecisionRecord.of(turn, router.decide_turn(turn), created_at=utc_now()) for turn in turns]
    with running_postgres() as url:
        store = Store(load_settings(database_url=url).database_url)
        migrate(store.engine)
        store.append(rows[:N_BATCH], [])
        started, used = time.perf_counter(), time.process_time()
        for first in range(N_BATCH, N_DECISIONS, N_BATCH):
            store.append(rows[first : first + N_BATCH], [])
        took, used = time.perf_counter() - started, time.process_time() - used
        with store.engine.connect() as connection:
            size = connection.exec_driver_sql("SELECT pg_total_relation_size('decisions')").scalar()
        store.close()
    n = N_DECISIONS - N_BATCH
    report(Row(PART, "PostgreSQL: decisions written in batches, fsync off", "per s", n / took, n))
    report(Row(PART, "PostgreSQL: our processor time per decision", "us", used / n * 1e6, n))
    row = report(Row(PART, "PostgreSQL: a decision with its indexes", "KB", size / N_DECISIONS / 1e3, N_DECISIONS))
    assert row.ours < 50
