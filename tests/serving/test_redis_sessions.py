"""Sessions in a real Redis: shared between workers, never lost to a race, and never a reason to fail."""

import threading
from dataclasses import replace

import pytest
import redis

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.policy import Policy
from pointsman.classifier.router import Router
from pointsman.classifier.session import SessionState
from pointsman.serving.redis_sessions import RedisSessions
from tests.fakes import FakeAssessor, FrozenClock, asked, assessed

from .redis_server import RedisServer

CATALOG, BALANCED = Catalog.load("anthropic-dashscope"), Policy.load("balanced")
CAREFUL, CHEAP = "claude-opus-5-5", "claude-haiku-5-5"
# Of a test machine under load; the service waits far less.
PATIENT = {"timeout_s": 20.0}


@pytest.fixture(scope="module")
def shared_server():
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture
def server(shared_server):
    """A running, empty server."""
    with redis.Redis.from_url(shared_server.url) as client:
        client.flushall()
    return shared_server


@pytest.fixture
def own_server():
    """A server that the test may stop."""
    server = RedisServer().start()
    yield server
    server.remove()


@pytest.fixture
def opened():
    """Open stores, and close them at the end."""
    stores = []

    def open_store(server, **options):
        stores.append(RedisSessions(server.url, **(PATIENT | options)))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


def router_on(sessions, labels=("debugging", "high", "multi")):
    return Router(FakeAssessor(default=assessed(*labels, sure=0.9, novelty=0.2)), CATALOG, BALANCED, sessions)


def test_worker_goes_on_where_another_began(server, opened):
    first = router_on(opened(server)).decide_turn(asked())
    other = router_on(opened(server), ("docs", "low", "file"))
    loop = other.recall(asked(step=1))
    assert (loop.model, loop.sticky, loop.assessment) == (CAREFUL, True, first.assessment)
    assert other.recall(asked()) == first


def test_state_comes_back_as_it_was(server, opened):
    store = opened(server)
    router = router_on(store)
    for step in range(20):
        router.decide_turn(asked(step=step))
    router.decide_turn(asked("fix that", agent="a1"))
    state = opened(server).get("s1")
    assert state == store.get("s1")
    assert (state.model, len(state.recent), state.turn_key) == (CAREFUL, 16, asked().key)
    assert opened(server).get("s1/a1").parent == "s1"


def test_updates_from_many_threads_do_not_lose_each_other(server, opened):
    stores = [opened(server) for _ in range(3)]

    def count(store):
        for _ in range(10):
            store.update("a", lambda s: (SessionState(context_tokens=(s.context_tokens if s else 0) + 1), None))

    threads = [threading.Thread(target=count, args=[store]) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores[0].get("a").context_tokens == 30


def test_session_is_forgotten_after_its_time(server, opened):
    store = opened(server, ttl_s=3600)
    store.put("a", SessionState(model="m"))
    with redis.Redis.from_url(server.url) as client:
        assert 3_500_000 < client.pttl("pointsman:session:a") <= 3_600_000
        client.delete("pointsman:session:a")
    assert store.get("a") is None


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"version": 99}', b"\xff\x00"], ids=repr)
def test_what_cannot_be_read_is_as_good_as_none(server, opened, data):
    with redis.Redis.from_url(server.url) as client:
        client.set("pointsman:session:s1", data)
    store = opened(server)
    assert store.get("s1") is None
    assert router_on(store).decide_turn(asked()).model == CAREFUL
    assert store.get("s1").model == CAREFUL


def test_decisions_go_on_while_redis_is_away(own_server, opened):
    failures = []
    store = opened(own_server, on_failure=lambda: failures.append(1))
    router = router_on(store)
    router.decide_turn(asked())
    own_server.stop()
    assert router.decide_turn(asked("next", n=2)).model == CAREFUL
    assert router.decide_turn(asked("next", n=2, step=1)).sticky
    assert store.n_failures == len(failures) > 0


def test_failed_redis_is_left_alone_for_a_while_and_then_asked_again(own_server, opened):
    clock = FrozenClock()
    store = opened(own_server, clock=clock, pause_s=2.0)
    own_server.stop()
    for n in range(5):
        store.put(f"s{n}", SessionState(model="m"))
    assert store.n_failures == 1
    clock.now += 2
    store.put("later", SessionState(model="m"))
    assert store.n_failures == 2


def test_what_was_decided_meanwhile_is_kept_when_redis_returns(own_server, opened):
    clock = FrozenClock()
    store = opened(own_server, clock=clock)
    own_server.stop()
    router = router_on(store)
    begun = router.decide_turn(asked())
    own_server.start()
    clock.now += 3
    assert router.decide_turn(asked(step=1)).model == begun.model
    assert opened(own_server).get("s1").turn_key == asked().key


@pytest.fixture
def after_a_hiccup(server, opened):
    """Two stores; the first kept a state for itself during an outage, the second went on once Redis was back."""
    clock = FrozenClock()
    first, second = opened(server, clock=clock), opened(server)
    first._fail(redis.ConnectionError())
    first.put("a", SessionState(model="of the outage", updated_at=10.0))
    clock.now += 3
    return first, second


@pytest.mark.parametrize(("model", "updated_at", "kept"), [("newer", 11.0, "newer"), ("older", 9.0, "of the outage")])
def test_newest_state_is_kept_after_an_outage(after_a_hiccup, model, updated_at, kept):
    first, second = after_a_hiccup
    second.put("a", SessionState(model=model, updated_at=updated_at))
    assert first.get("a").model == kept
    assert first.update("a", lambda state: (state, state.model)) == kept
    assert second.get("a").model == kept


def test_state_of_an_outage_is_found_when_redis_fails_again(own_server, opened):
    clock = FrozenClock()
    store = opened(own_server, clock=clock)
    own_server.stop()
    store.put("a", SessionState(model="m"))
    clock.now += 3
    assert store.get("a").model == "m"
    assert store.n_failures == 2


def test_redis_that_hangs_costs_its_timeout_once(own_server, opened):
    store = opened(own_server, timeout_s=0.05, pause_s=3600)
    own_server.freeze()
    try:
        assert router_on(store).decide_turn(asked()).model == CAREFUL
        assert store.n_failures == 1
    finally:
        own_server.thaw()


def test_log_names_no_password(opened, own_server, caplog):
    own_server.stop()
    store = RedisSessions("redis://:hunter2@127.0.0.1:1/0", timeout_s=0.2)
    store.put("a", SessionState())
    assert store.get("a") == SessionState()
    assert "session store failed" in caplog.text
    assert "hunter2" not in caplog.text


def test_states_differ_by_prefix_alone(server, opened):
    store = opened(server)
    store.put("a", SessionState(model="m"))
    assert replace(store.get("a"), model=None) == SessionState()
    assert store.get("b") is None
