import threading
from dataclasses import replace

import pytest

from pointsman.classifier.assessment import Decision, Kind
from pointsman.classifier.memory_sessions import MemorySessions
from pointsman.classifier.session import SessionState
from tests.fakes import FrozenClock, assessed


def state_of(number, assessment=None):
    decision = Decision("cheap", "here", (), f"d{number}", Kind.TASK, assessment, 0, (), ("why",), False, "m", "p")
    return SessionState(model=f"m{number}", assessment=assessment, decision=decision).remember(f"r{number}", decision)


def test_store_forgets_the_least_recently_written():
    store = MemorySessions(max_sessions=2)
    for key in ("a", "b", "a", "c"):
        store.put(key, SessionState(model=key))
    assert store.get("b") is None
    assert store.get("a").model == "a"
    assert len(store) == 2


def test_store_forgets_after_its_time():
    clock = FrozenClock()
    store = MemorySessions(ttl_s=10, clock=clock)
    store.put("a", SessionState())
    clock.now += 10
    assert store.get("a") is not None
    clock.now += 0.1
    assert store.get("a") is None


def test_expired_states_leave_when_others_come():
    clock = FrozenClock()
    store = MemorySessions(ttl_s=10, clock=clock)
    for key in "abc":
        store.put(key, SessionState())
    clock.now += 11
    store.put("d", SessionState())
    assert len(store) == 1


def test_updates_of_one_session_do_not_lose_each_other():
    store = MemorySessions()

    def count():
        for _ in range(200):
            store.update("a", lambda s: (SessionState(context_tokens=(s.context_tokens if s else 0) + 1), None))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("a").context_tokens == 800


def test_failed_change_keeps_the_state():
    store = MemorySessions()
    store.put("a", SessionState(model="m"))
    with pytest.raises(RuntimeError, match="no"):
        store.update("a", lambda _: (_ for _ in ()).throw(RuntimeError("no")))
    assert store.get("a").model == "m"


def test_packed_state_comes_back_as_it_was():
    store = MemorySessions(max_unpacked=1)
    states = {key: state_of(number, assessed()) for number, key in enumerate("abc")}
    for key, state in states.items():
        store.put(key, state)
    assert {key: store.get(key) for key in states} == states


def test_packed_state_is_changed_like_any_other():
    store = MemorySessions(max_unpacked=1)
    for number, key in enumerate("ab"):
        store.put(key, state_of(number))
    assert store.update("a", lambda state: (state_of(7), state.model)) == "m0"
    assert (store.get("a").model, len(store)) == ("m7", 2)


def test_packed_states_take_no_more_room_than_they_may():
    store = MemorySessions(max_unpacked=1, max_packed_bytes=5_000)
    for number in range(100):
        store.put(str(number), state_of(number))
    assert 2 < len(store) < 15
    assert store.get("0") is None
    assert store.get("98").model == "m98"


def test_dropped_states_make_room():
    store = MemorySessions(max_unpacked=1, max_packed_bytes=5_000)
    for number in range(100):
        store.put("gone", state_of(number))
        store.put("next", state_of(number))
        store.drop("gone")
    store.put("last", state_of(1))
    assert store.get("next").model == "m99"


def test_expired_packed_state_is_forgotten():
    clock = FrozenClock()
    store = MemorySessions(max_unpacked=1, ttl_s=10, clock=clock)
    for number, key in enumerate("ab"):
        store.put(key, state_of(number))
    clock.now += 11
    assert store.get("a") is None
    assert len(store) == 1


def test_state_that_cannot_be_packed_is_forgotten():
    store = MemorySessions(max_unpacked=1)
    store.put("odd", SessionState(model="\ud800"))
    store.put("next", state_of(1))
    assert (store.get("odd"), len(store)) == (None, 1)


def test_packed_state_still_knows_the_turn_before():
    store = MemorySessions(max_unpacked=1)
    before = replace(state_of(1, assessed()).decision, turn_key="before")
    store.put("a", state_of(2).remember("r1", before))
    store.put("next", state_of(3))
    assert store.get("a").at("before").decision == before
