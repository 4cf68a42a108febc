from pointsman.classifier.assessment import Decision, Kind
from pointsman.classifier.session import N_RECENT, SessionState
from tests.fakes import asked, assessed


def decided(model="cheap", assessment=None, kind=Kind.TASK, **fields):
    return Decision(model, "here", (), "id", kind, assessment, 0, (), (), False, "m", "p", **fields)


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


def test_turn_before_the_last_is_found_as_it_was_left():
    first = decided("strong", assessed(), turn_key="t1")
    state = SessionState(model="cheap", turn_key="t2", n_corrections=1).remember("r1", first)
    state = state.remember("r2", decided(turn_key="t2"))
    before = state.at("t1")
    assert (before.model, before.turn_key, before.assessment) == ("strong", "t1", first.assessment)
    assert (before.decision, before.recent, before.n_corrections) == (first, state.recent, 1)
    assert state.at("t2") is state


def test_background_call_is_no_turn_to_go_on_with():
    state = SessionState(model="strong").remember("r1", decided(kind=Kind.BACKGROUND, turn_key="t1"))
    assert (state.at("t1"), state.at("t0"), state.at("")) == (None, None, None)
