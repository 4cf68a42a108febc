import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.classifier.asking import Asking
from pointsman.classifier.assessment import Kind
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import ConfigError, InferenceError
from pointsman.classifier.memory_sessions import MemorySessions
from pointsman.classifier.policy import Policy
from pointsman.classifier.router import Router
from tests.fakes import FakeAssessor, FrozenClock, asked, assessed

CATALOG = Catalog.load("anthropic-dashscope")
BALANCED = Policy.load("balanced")
CAREFUL, CHEAP = "claude-opus-5-5", "claude-haiku-5-5"

ANSWERS = {
    "fix the race": assessed("debugging", "high", "multi", "new", sure=0.9),
    "fix the typo": assessed("docs", "low", "file", "new", sure=0.95),
    "yes, go on": assessed("operation", "low", "file", "follow", sure=0.7),
    "still fails": assessed("docs", "low", "file", "correct"),
}


def router_with(assessor=None, **parts):
    return Router(assessor or FakeAssessor(ANSWERS), CATALOG, BALANCED, **parts)


@pytest.fixture
def assessor():
    return FakeAssessor(ANSWERS)


@pytest.fixture
def router(assessor):
    return router_with(assessor)


def body(*messages, **fields):
    return {"model": "claude-opus-5-5", "messages": list(messages), "tools": [{"name": "Read"}], **fields}


def user(text):
    return {"role": "user", "content": text}


HEADERS = {"x-claude-code-session-id": "0000-1"}


def test_decision_tells_what_it_was_made_from(router):
    decision = router.decide(body(user("fix the race")), HEADERS)
    assert (decision.model, decision.provider, decision.kind) == (CAREFUL, "anthropic", Kind.TASK)
    assert decision.assessment == ANSWERS["fix the race"]
    assert (decision.model_version, decision.policy_version) == ("fake-1", BALANCED.version)
    assert decision.session_id == "0000-1"
    assert set(decision.latency_ms) == {"read", "classify", "decide", "total"}
    assert decision.expected_cost[0].model == CAREFUL


@pytest.mark.parametrize("as_sent", [lambda b: b, json.dumps, lambda b: json.dumps(b).encode()])
def test_body_may_be_parsed_text_or_bytes(router, as_sent):
    assert router.read(as_sent(body(user("fix the typo")))).prompt == "fix the typo"
    assert router.read(as_sent({"prompt": "fix the typo", "session_id": "s"})).session_id == "s"
    # "prompt" inside a whole body does not make a digest of it.
    assert router.read(as_sent(body(user('say "prompt"')))).prompt == 'say "prompt"'


@pytest.mark.parametrize("odd", [b"", b"\xff", '{"prompt"', "[]", None, 7, {}, {"prompt": 3}, {"messages": 1}])
def test_odd_body_gets_the_safe_default_and_its_reason(router, assessor, odd):
    decision = router.decide(odd)
    assert decision.model == CAREFUL
    assert decision.reasons[0] == router.read(odd).reason
    assert decision.assessment is None
    assert assessor.n_calls == 0


def test_request_sent_again_gets_the_same_decision(router, assessor):
    first = router.decide(body(user("fix the race")), HEADERS)
    assert router.decide(body(user("fix the race")), HEADERS) is first
    assert assessor.n_calls == 1


def test_request_without_a_session_sent_again_gets_the_same_decision(router, assessor):
    first = router.decide(body(user("fix the race")))
    assert router.decide(body(user("fix the race"))) is first
    assert assessor.n_calls == 1


def test_named_session_keeps_its_decision_ids_over_a_restart():
    ids = {router_with().decide(body(user("fix the race")), HEADERS).decision_id for _ in range(2)}
    assert len(ids) == 1
    anonymous = {router_with().decide(body(user("fix the race"))).decision_id for _ in range(2)}
    assert len(anonymous) == 2


@pytest.mark.parametrize("session", ["s1", None], ids=["named", "anonymous"])
def test_tool_loop_follows_the_turn_without_inference(router, assessor, session):
    first = router.decide_turn(asked("fix the race", session=session))
    steps = [router.decide_turn(asked("fix the race", session=session, step=i)) for i in range(1, 25)]
    assert {step.model for step in steps} == {first.model}
    assert all(step.sticky and step.assessment == first.assessment for step in steps)
    assert len({step.decision_id for step in (first, *steps)}) == 25
    assert assessor.n_calls == 1


def test_tool_loop_of_an_unknown_turn_is_assessed_from_its_prompt(router, assessor):
    decision = router.decide_turn(asked("fix the race", step=5))
    assert (decision.model, decision.kind, assessor.n_calls) == (CAREFUL, Kind.TOOL_LOOP, 1)
    assert router.recall(asked("fix the race", step=6)).model == CAREFUL


def test_tool_loop_that_outgrows_its_model_moves_up(router):
    small = ["claude-haiku-4-5", "claude-opus-5-5"]
    assert router.decide_turn(asked("fix the typo"), models=small).model == "claude-haiku-4-5"
    grown = router.decide_turn(asked("fix the typo", step=1, context_tokens=199_000), models=small)
    assert grown.model == CAREFUL
    assert grown.reasons[0] == "claude-haiku-4-5 no longer takes this request in the middle of its turn."
    shrunk = router.decide_turn(asked("fix the typo", step=2, context_tokens=50_000), models=small)
    assert shrunk.model == CAREFUL


def test_recall_knows_nothing_of_a_new_turn(router, assessor):
    assert router.recall(asked("fix the race")) is None
    assert assessor.n_calls == 0


@pytest.mark.parametrize(("prompt", "model"), [("fix the race", CAREFUL), ("fix the typo", CHEAP)])
def test_yes_go_on_stays_with_the_model_of_the_task(router, prompt, model):
    assert router.decide_turn(asked(prompt)).model == model
    follow_up = router.decide_turn(asked("yes, go on", n=2))
    assert (follow_up.model, follow_up.sticky) == (model, True)


@pytest.mark.parametrize("session", ["s1", None], ids=["named", "anonymous"])
def test_second_correction_escalates(router, session):
    models = [router.decide_turn(asked("fix the typo", session=session)).model]
    models += [router.decide_turn(asked("still fails", n=n, session=session)).model for n in (2, 3)]
    assert models == [CHEAP, CHEAP, CAREFUL]


def test_new_easy_task_goes_down_again(router):
    router.decide_turn(asked("fix the race"))
    assert router.decide_turn(asked("fix the typo", n=2)).model == CHEAP


def test_background_takes_its_own_model_and_leaves_the_session_alone(router, assessor):
    router.decide_turn(asked("fix the race"))
    title = asked("", n=1, step=0, kind=Kind.BACKGROUND, background="title")
    title = replace(title, key="title", request_key="title:0")
    decision = router.decide_turn(title)
    assert (decision.model, decision.kind, decision.assessment) == (CHEAP, Kind.BACKGROUND, None)
    assert router.decide_turn(title) is decision
    assert router.decide_turn(asked("fix the race", step=1)).model == CAREFUL
    assert assessor.n_calls == 1


def test_subagent_has_its_own_turn_and_loop(router):
    router.decide_turn(asked("fix the typo"))
    assert router.decide_turn(asked("fix the race", agent="a1")).model == CAREFUL
    assert router.decide_turn(asked("fix the race", agent="a1", step=1)).model == CAREFUL
    assert router.decide_turn(asked("fix the typo", step=1)).model == CHEAP
    assert router.sessions.get("s1/a1").parent == "s1"


def test_subagent_of_an_escalated_session_is_careful(router):
    for n, prompt in enumerate(("fix the typo", "still fails", "still fails"), 1):
        router.decide_turn(asked(prompt, n=n))
    assert router.decide_turn(asked("fix the typo", agent="a1")).model == CAREFUL


@pytest.mark.parametrize("error", [InferenceError("no"), ValueError("no"), MemoryError()], ids=repr)
def test_failing_assessor_costs_the_safe_default(assessor, error):
    seen = []
    router = router_with(assessor, on_failure=seen.append)
    assessor.error = error
    decision = router.decide(body(user("fix the typo")), HEADERS)
    assert decision.model == CAREFUL
    assert decision.reasons[0] == f"The classifier failed ({type(error).__name__}): the safe default."
    assert (router.n_failures, seen) == (1, [error])
    assessor.error = None
    assert router.decide(body(user("fix the typo")), HEADERS) is decision


def test_assessor_that_answers_too_much_is_a_failure(assessor):
    assessor.assess = lambda turns: [assessed(), assessed()]
    assert router_with(assessor).decide_turn(asked("fix the typo")).model == CAREFUL


def test_classify_passes_failures_on(router, assessor):
    assert router.classify([asked("fix the typo")]) == [ANSWERS["fix the typo"]]
    assessor.error = InferenceError("the runtime failed")
    with pytest.raises(InferenceError, match="the runtime failed"):
        router.classify([asked("fix the typo")])


def test_turn_assessed_elsewhere_is_settled_the_same_way(router, assessor):
    turn = asked("fix the race")
    decision = router.settle(turn, ANSWERS["fix the race"])
    assert decision.model == CAREFUL
    assert router.decide_turn(turn) is decision
    assert assessor.n_calls == 0


def test_allow_list_and_policy_make_another_question_of_the_same_request(router):
    turn = asked("fix the race")
    own = router.decide_turn(turn)
    limited = router.decide_turn(turn, models=[CHEAP])
    assert (own.model, limited.model) == (CAREFUL, CHEAP)
    assert own.decision_id != limited.decision_id
    assert router.decide_turn(turn, models=(CHEAP,)) is limited


def test_policy_may_be_a_preset_for_one_call(router):
    doubtful = assessed("feature", "medium", "multi", "new")
    assert router.settle(asked("a"), doubtful, policy="careful").model == CAREFUL
    other = router.settle(asked("b", session="s2"), doubtful, policy=Policy.load("frugal"))
    assert (other.model, other.policy_version) == (CHEAP, Policy.load("frugal").version)


@pytest.mark.parametrize("name", ["no-such", "../policies/careful", "/etc/passwd", "classifier/policies/careful.yaml"])
def test_unknown_policy_name_is_ignored_and_said(router, name):
    decision = router.decide_turn(asked("fix the typo"), policy=name)
    assert decision.policy_version == BALANCED.version
    assert decision.reasons[-1] == "The named policy is no preset of this service and was ignored."


def test_policy_that_the_catalogue_lacks_stops_the_start():
    strange = replace(BALANCED, models={**BALANCED.models, "default": "gpt-9"})
    with pytest.raises(ConfigError, match=r"balanced\.yaml:\d+: models\.default: found 'gpt-9'"):
        Router(FakeAssessor(), CATALOG, strange)


def test_wrong_catalogue_stops_the_start_before_any_bundle_is_loaded(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("library: library\nmodels: []\nroles: {}\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:3: roles\.careful: found no such field"):
        Router.load(tmp_path / "no-bundle", catalog=path)


def test_cold_cache_is_told_by_the_clock():
    clock = FrozenClock()
    router = router_with(clock=clock)
    router.decide_turn(asked("fix the race"))
    clock.now += 301
    decision = router.decide_turn(asked("still fails", n=2))
    assert next(cost for cost in decision.expected_cost if cost.model == CHEAP).switch == BALANCED.coherence_usd


def test_forgotten_session_is_decided_anew():
    clock = FrozenClock()
    router = router_with(sessions=MemorySessions(ttl_s=60, clock=clock))
    router.decide_turn(asked("fix the race"))
    clock.now += 61
    assert router.recall(asked("fix the race", step=1)) is None


def test_turn_without_keys_is_decided_and_not_kept(router):
    bare = replace(asked("fix the race"), key="", request_key="", state_key="", next_state_key="")
    assert router.decide_turn(bare).model == CAREFUL
    assert router.decide_turn(bare) is not router.decide_turn(bare)
    assert len(router.sessions) == 0


def test_summary_that_replaced_the_prompt_goes_on_with_the_session(router, assessor):
    router.decide_turn(asked("fix the typo"))
    folded = replace(asked("", n=2, step=1), reason="no message of the body holds a person's text")
    assert router.decide_turn(folded).model == CHEAP
    assert assessor.n_calls == 1


def test_picture_without_words_keeps_its_model_through_its_loop(router):
    router.decide_turn(asked("fix the typo"))
    picture = asked("", n=2, n_images=1, reason="a picture and no text")
    assert router.decide_turn(picture).model == CAREFUL
    assert router.decide_turn(asked("", n=2, step=1, n_images=1)).model == CAREFUL


def test_unreadable_request_leaves_the_session_alone(router):
    router.decide_turn(asked("fix the typo"))
    assert router.decide_turn(asked("", n=2, reason="the body is not JSON")).model == CAREFUL
    assert router.decide_turn(asked("yes, go on", n=3)).model == CHEAP


def test_loop_of_an_earlier_turn_ends_on_its_own_model(router):
    """The person sends the next prompt while the loop before still runs."""
    router.decide_turn(asked("fix the typo"))
    states = router.sessions
    late = asked("fix the typo", step=1)
    state = states.get("s1")
    router.decide_turn(asked("fix the race", n=2))
    question = router._question(late, Asking())
    decision = router._keep(question, router._going_on(question, state))
    assert decision.model == CHEAP
    assert states.get("s1").model == CAREFUL


def looping(first, n=1, **fields):
    """The n-th further request of a turn that began with this message."""
    call = {"type": "tool_use", "id": "t", "name": "Read", "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "t", "content": "x"}
    step = ({"role": "assistant", "content": [call]}, {"role": "user", "content": [answer]})
    return body(user(first), *step * n, **fields)


SIDE_CALLS = {
    "page": {"messages": [user("Web page content:\n---\n" + "words " * 13_000)], "tools": []},
    "search": {
        "messages": [user("Perform a web search for the query: race")],
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    },
    "permission": {"messages": [user("<transcript>\n"), user("Bash: ls\n"), user("</transcript>\n")]},
}


@pytest.mark.parametrize("name", SIDE_CALLS)
def test_side_call_of_a_tool_loop_moves_nothing(router, assessor, name):
    router.decide(body(user("fix the race")), HEADERS)
    before = router.sessions.get("0000-1")
    side = router.decide(SIDE_CALLS[name], HEADERS)
    assert side.kind is Kind.BACKGROUND
    assert replace(router.sessions.get("0000-1"), recent=before.recent) == before
    assert "same_turn" in router.decide(looping("fix the race"), HEADERS).codes
    assert assessor.n_calls == 1


def test_permission_is_judged_by_the_model_of_the_turn_or_the_default(router):
    check = SIDE_CALLS["permission"]
    assert router.decide(check, {"x-claude-code-session-id": "new"}).codes[0] == "safe_default"
    router.decide(body(user("fix the typo")), HEADERS)
    assert router.decide(check, HEADERS).model == CHEAP
    router.decide(body(user("fix the typo"), user("fix the race")), HEADERS)
    other = {"messages": [*check["messages"], user("Answer.")]}
    assert router.decide(other, HEADERS).model == CAREFUL


def test_tool_loop_goes_on_after_a_call_that_looks_like_a_turn(router, assessor):
    router.decide_turn(asked("fix the race"))
    assert router.decide_turn(asked("fix the typo", n=2)).model == CHEAP
    late = router.decide_turn(asked("fix the race", step=1))
    assert (late.model, late.assessment, late.sticky) == (CAREFUL, ANSWERS["fix the race"], True)
    state = router.sessions.get("s1")
    assert (state.model, state.turn_key) == (CAREFUL, asked("fix the race").key)
    assert assessor.n_calls == 2


def test_first_request_without_a_session_is_decided_for_whoever_sends_it(router):
    first = router.decide(body(user("fix the typo")))
    more = body(user("fix the typo"), tools=[{"name": "Read"}, {"name": "Write"}])
    wished = router.decide(more, {"x-pointsman-model": CAREFUL})
    assert (first.model, wished.model) == (CHEAP, CAREFUL)
    assert "explicit_model" in wished.codes
    assert "same_turn" not in router.decide(more).codes


def test_loops_of_two_people_with_the_same_words_keep_their_models(router, assessor):
    wish = {"x-pointsman-model": CAREFUL}
    router.decide(body(user("fix the typo")))
    router.decide(body(user("fix the typo")), wish)
    for n in (1, 2):
        loop = looping("fix the typo", n)
        assert (router.decide(loop).model, router.decide(loop, wish).model) == (CHEAP, CAREFUL)
    assert assessor.n_calls == 2


def test_digest_without_a_session_is_decided_for_whoever_sends_it(router):
    digest = {"prompt": "fix the typo"}
    assert router.decide(digest).model == CHEAP
    assert "explicit_model" in router.decide(digest, {"x-pointsman-model": CAREFUL}).codes


steps = st.lists(
    st.tuples(
        st.sampled_from([*ANSWERS, ""]),
        st.integers(0, 3),
        st.sampled_from([None, "a1"]),
        st.integers(0, 1_100_000),
    ),
    min_size=1,
    max_size=12,
)


@given(steps, st.sampled_from(["s1", None]))
@settings(max_examples=60, deadline=None)
def test_whatever_is_sent_a_turn_keeps_one_model_and_a_retry_its_decision(sent, session):
    router = router_with()
    for n, (prompt, n_steps, agent, tokens) in enumerate(sent, 1):
        agent = agent if session else None
        turns = [
            asked(prompt, n, session=session, agent=agent, step=i, context_tokens=tokens) for i in range(n_steps + 1)
        ]
        decisions = [router.decide_turn(turn) for turn in turns]
        assert [router.decide_turn(turn) for turn in turns] == decisions
        if prompt:
            assert len({decision.model for decision in decisions}) == 1


def test_default_is_remembered_by_the_turn_it_was_given_to(router, assessor):
    first = body(user("fix the race"))
    given = router.default(router.read(first, HEADERS), "Too many requests are in wait.")
    looping = body(
        user("fix the race"),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Read", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "x"}]},
    )
    assert given.model == CATALOG.roles["default"][0]
    assert "Too many requests are in wait." in given.reasons
    assert router.decide(first, HEADERS).decision_id == given.decision_id
    assert router.decide(looping, HEADERS).model == given.model
    assert assessor.n_calls == 0


def test_default_leaves_a_decided_turn_alone(router):
    request = body(user("fix the typo"))
    decided = router.decide(request, HEADERS)
    assert router.default(router.read(request, HEADERS), "Late.") == decided
