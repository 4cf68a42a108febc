"""PostgreSQL stops, hangs, has no connection left or no room: decisions go on, nothing that was said is lost."""

from contextlib import ExitStack, contextmanager
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy as sa

from pointsman.serving.settings import load_settings
from pointsman.serving.store import DECISIONS, Store

from ..postgres import PostgresServer
from ..processes import serving
from .conftest import small_disk

pytestmark = pytest.mark.postgres
N = 20


@pytest.fixture(scope="module")
def server():
    server = PostgresServer("-c", "max_connections=20", "-c", "superuser_reserved_connections=0")
    yield server.start()
    server.remove()


@pytest.fixture(scope="module")
def service(server, tmp_path_factory):
    """One service for all faults: it must be whole again after each."""
    with serving(tmp_path_factory.mktemp("service"), server.url, store_timeout_s=1, learn_s=0) as service:
        yield service


def stored(server, decision_ids):
    store = Store(load_settings(database_url=server.url).database_url)
    with store.engine.connect() as connection:
        found = connection.execute(sa.select(DECISIONS.c.decision_id)).scalars().all()
    store.close()
    return [decision_id for decision_id in found if decision_id in decision_ids]


def decided_anew(service):
    """Decide in a session of its own: the same request of the same session would be recalled."""
    return service.decide(session_id=uuid4().hex)["decision_id"]


def goes_on_without_its_database(service, server, mend):
    """Ask while it is broken, mend it, and look for everything that was decided."""
    decided = [decided_anew(service) for _ in range(N)]
    service.until(lambda: service.metric("pointsman_spool_records") >= N)
    refused = service.judge(decided[0], uuid4().hex)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
    assert service.http.get("/readyz").status_code == 503
    assert service.http.get("/healthz").status_code == 200
    assert service.metric("pointsman_store_up") == 0
    assert "records not written" in service.log
    assert service.http.get(f"/v1/decisions/{decided[3]}").json()["decision_id"] == decided[3]
    mend()
    service.until(lambda: service.metric("pointsman_spool_records") == 0)
    service.until(lambda: service.http.get("/readyz").status_code == 200)
    assert sorted(stored(server, decided)) == sorted(decided)
    assert service.judge(decided[0], uuid4().hex).status_code == 201
    assert service.metric("pointsman_store_up") == 1
    assert service.metric("pointsman_records_lost_total", cause="queue_full") == 0


def test_server_that_stops(service, server):
    server.stop()
    goes_on_without_its_database(service, server, server.start)


@pytest.mark.fault
def test_server_that_hangs(service, server):
    server.freeze()
    goes_on_without_its_database(service, server, server.thaw)


@pytest.mark.fault
def test_server_whose_table_is_locked(service, server):
    with psycopg.connect(server.url) as connection:
        connection.execute("LOCK TABLE decisions IN ACCESS EXCLUSIVE MODE")
        goes_on_without_its_database(service, server, connection.rollback)


@pytest.mark.fault
def test_server_without_a_connection_left(service, server):
    with ExitStack() as taken:
        admin = taken.enter_context(psycopg.connect(server.url, autocommit=True))
        take_all_connections(server, admin, taken)

        def mend():
            taken.close()

        goes_on_without_its_database(service, server, mend)


def take_all_connections(server, admin, taken):
    ours = {admin.info.backend_pid}
    while True:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND NOT pid = ANY(%s)",
            [list(ours)],
        )
        try:
            connection = taken.enter_context(psycopg.connect(server.url))
        except psycopg.OperationalError:
            others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND NOT pid = ANY(%s)"
            if admin.execute(others, [list(ours)]).fetchone() == (0,):
                return
        else:
            ours.add(connection.info.backend_pid)


@contextmanager
def server_on_a_small_disk():
    with small_disk("120m") as disk:
        data = disk.folder / "data"
        data.mkdir(mode=0o700)
        server = PostgresServer("-c", "max_wal_size=32MB", "-c", "restart_after_crash=on", data=data)
        server.own(data)
        try:
            yield server.start(), disk
        finally:
            server.remove()


@pytest.mark.fault
def test_server_whose_disk_is_full(tmp_path):
    with (
        server_on_a_small_disk() as (server, disk),
        serving(tmp_path, server.url, store_timeout_s=2, learn_s=0) as service,
    ):
        disk.fill()
        decided = set()
        while service.metric("pointsman_spool_records") < N:
            # What still fits into the pages that are there is written.
            decided.add(decided_anew(service))
        refused = service.judge(next(iter(decided)), "k-1")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        disk.empty()
        server.stop()
        server.start()
        service.until(lambda: service.metric("pointsman_spool_records") == 0)
        assert sorted(stored(server, decided)) == sorted(decided)


@pytest.mark.fault
def test_spool_outlives_a_service_that_is_killed(service, server):
    server.stop()
    decided = {decided_anew(service) for _ in range(N)}
    service.until(lambda: service.metric("pointsman_spool_records") >= N)
    service.kill()
    server.start()
    service.start()
    service.until(lambda: service.metric("pointsman_spool_records") == 0)
    assert sorted(stored(server, decided)) == sorted(decided)


@pytest.mark.fault
def test_stop_while_the_database_hangs_ends_in_time_and_loses_nothing(service, server):
    server.freeze()
    decided = {decided_anew(service) for _ in range(N)}
    service.stop()
    server.thaw()
    assert "decision records lost" not in service.log
    service.start()
    service.until(lambda: service.metric("pointsman_spool_records") == 0)
    assert sorted(stored(server, decided)) == sorted(decided)
