import threading

import pytest

from pointsman.classifier.assessment import Decision, Kind
from pointsman.classifier.session import N_RECENT, MemorySessions, SessionState
from tests.fakes import FrozenClock, asked, assessed


def decided(model="cheap", assessment=None):
    return Decision(model, "here", (), "id", Kind.TASK, assessment, 0, (), (), False, "m", "p")


def test_state_after_a_turn_holds_what_the_next_one_needs():
    assessment = assessed()
    turn = asked(context_tokens=12_345)
    state = SessionState().began(turn, decided("strong", assessment), "new", 7.0)
    assert (state.model, state.turn_key, state.context_tokens, state.updated_at) == ("strong", turn.key, 12_345, 7.0)
    assert state.assessment is assessment


def test_corrections_count_in_a_row_and_per_model():
    state = SessionState(model="cheap")
    wrong = decided("cheap", assessed(turn="correct"))
    state = state.began(asked(n=2), wrong, "correct", 0).began(asked(n=3), wrong, "correct", 0)
    assert state.n_corrections == 2
    assert state.corrections == {"cheap": 2.0}


def test_follow_up_ends_the_row_and_a_new_task_halves_the_count():
    state = SessionState(model="cheap", n_corrections=1, corrections={"cheap": 1.0})
    assert state.heard("follow", 0.0) == (0, {"cheap": 1.0})
    assert state.heard("new", 0.1) == (0, {"cheap": 0.5})


def test_correction_is_told_against_the_model_before():
    state = SessionState(model="cheap").began(asked(n=2), decided("strong", assessed(turn="correct")), "correct", 0)
    assert state.corrections == {"cheap": 1.0}
    assert state.model == "strong"


def test_recent_requests_are_bounded_and_the_oldest_goes():
    state = SessionState()
    for i in range(N_RECENT + 1):
        state = state.remember(f"r{i}", decided(f"m{i}"))
    assert len(state.recent) == N_RECENT
    assert state.recall("r0") is None
    assert state.recall("r16").model == "m16"


def test_request_without_a_key_is_neither_remembered_nor_known():
    state = SessionState().remember("", decided())
    assert state.recent == ()
    assert state.recall("") is None


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


def test_store_forgets_the_oldest_when_sessions_remember_too_many_decisions():
    store = MemorySessions(max_decisions=10)
    for number in range(4):
        state = SessionState(model="careful")
        for request in range(3):
            state = state.remember(f"r{request}", decided())
        store.put(f"s{number}", state)
    assert [store.get(f"s{number}") is None for number in range(4)] == [True, True, False, False]


def test_session_that_is_changed_or_dropped_counts_once():
    store = MemorySessions(max_decisions=4)
    state = SessionState(model="careful").remember("r", decided())
    store.put("a", state)
    for _ in range(10):
        store.put("b", state)
    store.drop("b")
    store.put("c", state)
    assert [store.get(name) is None for name in "abc"] == [False, True, False]
