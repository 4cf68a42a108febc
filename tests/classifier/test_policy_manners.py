"""How a session tempers the rule: one model per turn, up at once, down only where a task begins."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.classifier.assessment import Assessment, Decision, HeadResult, Kind
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.labels import HEADS
from pointsman.classifier.manners import corrections_of
from pointsman.classifier.policy import Policy, choose, keep
from pointsman.classifier.session import SessionState
from tests.fakes import asked, assessed

CATALOG = Catalog.load("anthropic-dashscope")
BALANCED = Policy.load("balanced")
CAREFUL, CHEAP, LOCAL = "claude-opus-5-5", "claude-haiku-5-5", "qwen3-coder-plus"

HARD = ("debugging", "high", "multi")
MIDDLING = ("feature", "medium", "multi")
EASY = ("docs", "low", "file")


def on(model, **fields):
    """A session at work on a model, its context cached."""
    return SessionState(**{"model": model, "turn_key": "before", "context_tokens": 30_000, **fields})


def then(session, labels, turn, **fields):
    request = asked(n=2, context_tokens=32_000)
    return choose(request, assessed(*labels, turn, **fields), session, CATALOG, BALANCED)


# What a session does: the model it is on, the next turn, and the model that takes it.
MANNERS = {
    "hard task begins: up": (CHEAP, HARD, "new", CAREFUL),
    "hard follow-up: up": (CHEAP, HARD, "follow", CAREFUL),
    "hard correction: up": (CHEAP, HARD, "correct", CAREFUL),
    "easy task begins: down": (CAREFUL, EASY, "new", CHEAP),
    "easy follow-up: stays up": (CAREFUL, EASY, "follow", CAREFUL),
    "easy correction: stays up": (CAREFUL, EASY, "correct", CAREFUL),
    "easy follow-up: stays down": (CHEAP, EASY, "follow", CHEAP),
    "easy correction: stays down": (CHEAP, EASY, "correct", CHEAP),
    "middling follow-up: stays down": (CHEAP, MIDDLING, "follow", CHEAP),
    "middling follow-up: stays up": (CAREFUL, MIDDLING, "follow", CAREFUL),
    "middling correction: up, the cheap one has just failed": (CHEAP, MIDDLING, "correct", CAREFUL),
    "sideways inside a task: stays": (LOCAL, EASY, "follow", LOCAL),
    "sideways where a task begins: the cheaper one": (LOCAL, EASY, "new", CHEAP),
}


@pytest.mark.parametrize(("model", "labels", "turn", "expected"), MANNERS.values(), ids=MANNERS)
def test_session(model, labels, turn, expected):
    choice = then(on(model), labels, turn)
    assert choice.model == expected
    assert choice.sticky == (expected == model)


@pytest.mark.parametrize(("labels", "model"), [(HARD, CAREFUL), (EASY, CHEAP)], ids=["race condition", "typo"])
def test_yes_go_on_keeps_the_model_of_the_task(labels, model):
    before = assessed(*labels, "new", sure=0.9)
    assert choose(asked(), before, None, CATALOG, BALANCED).model == model
    # Read as it may well be: an operation or anything, of middling risk.
    vague = replace(
        assessed("operation", turn="follow", sure=0.5),
        risk=HeadResult("risk", (0.55, 0.40, 0.05)),
    )
    session = on(model, assessment=before)
    assert choose(asked("yes, go on", n=2), vague, session, CATALOG, BALANCED).model == model


def test_follow_up_with_stakes_of_its_own_still_goes_up():
    session = on(CHEAP, assessment=assessed(*EASY))
    assert then(session, ("infrastructure", "high", "multi"), "follow", sure=0.8).model == CAREFUL


def test_new_task_owes_nothing_to_the_one_before():
    assert then(on(CAREFUL, assessment=assessed(*HARD)), EASY, "new").model == CHEAP


def test_doubtful_boundary_does_not_go_down():
    doubtful = replace(assessed(*EASY), turn=HeadResult("turn", (0.45, 0.35, 0.2)))
    assert choose(asked(n=2), doubtful, on(CAREFUL), CATALOG, BALANCED).model == CAREFUL


def test_going_down_must_pay_for_the_switch():
    # Warm, Opus reads its 150k at 0.20 a million; Qwen would have to be sent them all at 3.75.
    warm = on(CAREFUL, context_tokens=150_000)
    turn = asked(n=2, context_tokens=151_000)
    models = [CAREFUL, LOCAL]
    stays = choose(turn, assessed(*EASY), warm, CATALOG, BALANCED, models=models)
    assert stays.model == CAREFUL
    assert f"A new task, but leaving {CAREFUL} would not pay." in stays.reasons
    fresh = choose(turn, assessed(*EASY), None, CATALOG, BALANCED, models=models)
    assert fresh.model == LOCAL


def test_switch_is_the_lost_cache_and_coherence():
    costs = {cost.model: cost for cost in then(on(CHEAP), HARD, "new").expected_cost}
    assert costs[CHEAP].switch == 0
    assert costs[CAREFUL].switch == pytest.approx(BALANCED.coherence_usd + 30_000 * (5 - 0.2) / 1e6)


def test_cache_is_gone_after_its_lifetime():
    session, turn = on(CAREFUL, updated_at=1_000.0), asked(n=2, context_tokens=32_000)

    def tokens(now):
        choice = choose(turn, assessed(*HARD), session, CATALOG, BALANCED, now=now)
        return next(cost for cost in choice.expected_cost if cost.model == CAREFUL).tokens

    assert tokens(1_300.0) == tokens(None)
    assert tokens(1_301.0) == pytest.approx(tokens(None) + 30_000 * (5 - 0.2) / 1e6)


def test_second_correction_in_a_row_escalates():
    labels = ("docs", "low", "file")
    once = on(CHEAP, n_corrections=0)
    twice = on(CHEAP, n_corrections=1, corrections={CHEAP: 1.0})
    assert then(once, labels, "correct").model == CHEAP
    escalated = then(twice, labels, "correct")
    assert escalated.model == CAREFUL
    assert "Corrected 2 times in a row: a careful model answers." in escalated.reasons


def test_escalation_leaves_a_careful_model_alone():
    assert then(on("claude-opus-4-5", n_corrections=4), EASY, "correct").model == "claude-opus-4-5"


def test_corrections_count_against_the_model_at_the_next_task():
    trusted, distrusted = on(CHEAP), on(CHEAP, corrections={CHEAP: 3.0})
    assert then(trusted, MIDDLING, "new").model == CHEAP
    assert then(distrusted, MIDDLING, "new").model == CAREFUL


def test_correction_of_a_careful_model_is_held_against_its_relatives_too():
    corrected = on(CAREFUL, corrections={CAREFUL: 2.0})
    rates = {cost.model: cost.failure_probability for cost in then(corrected, HARD, "new").expected_cost}
    assert rates["claude-opus-4-5"] >= rates[CAREFUL]
    assert rates[CHEAP] > rates[CAREFUL]


@pytest.mark.parametrize(
    ("model", "corrected", "counted"),
    [
        (CAREFUL, CAREFUL, 2.0),
        ("claude-opus-4-5", CAREFUL, 2.0),
        (CHEAP, CAREFUL, 2.0),
        (CAREFUL, CHEAP, 0.0),
        (LOCAL, CHEAP, 1.0),
        (CAREFUL, "a model of before", 0.0),
    ],
    ids=["itself", "family", "below", "above", "other family", "unknown"],
)
def test_correction_counts_by_family_and_tier(model, corrected, counted):
    assert corrections_of([CATALOG.model(model)], {corrected: 2.0}, CATALOG) == {model: counted}


def test_model_that_no_longer_takes_the_session_is_left_upwards():
    session = on("claude-haiku-4-5", context_tokens=190_000)
    choice = choose(asked(n=2, context_tokens=195_000), assessed(*EASY, "follow"), session, CATALOG, BALANCED)
    assert choice.model != "claude-haiku-4-5"
    assert not choice.sticky
    session = on("claude-opus-4-5", context_tokens=190_000)
    choice = choose(asked(n=2, context_tokens=195_000), assessed(*EASY, "follow"), session, CATALOG, BALANCED)
    assert choice.model == CAREFUL


@pytest.mark.parametrize(
    ("model", "labels", "expected"),
    [(CAREFUL, EASY, CAREFUL), (CHEAP, EASY, CHEAP), (CHEAP, HARD, CAREFUL), (CAREFUL, HARD, CAREFUL)],
    ids=["easy under careful", "easy under cheap", "hard under cheap", "hard under careful"],
)
def test_subagent_keeps_its_parents_tier_unless_its_own_risk_is_higher(model, labels, expected):
    choice = choose(asked(agent="a1"), assessed(*labels), None, CATALOG, BALANCED, parent=on(model))
    assert choice.model == expected
    assert ("parent_tier" in choice.codes) == (model == expected)


def test_subagent_brings_none_of_its_parents_cache():
    parent = on(CAREFUL, context_tokens=100_000)
    choice = choose(asked(agent="a1"), assessed(*EASY), None, CATALOG, BALANCED, parent=parent)
    cost = next(cost for cost in choice.expected_cost if cost.model == CHEAP)
    assert cost.switch == BALANCED.coherence_usd


def test_subagent_stays_where_it_began_on_its_later_turns():
    choice = choose(asked(agent="a1", n=2), assessed(*EASY), on(CAREFUL), CATALOG, BALANCED, parent=on(CAREFUL))
    assert choice.model == CAREFUL


def test_subagent_stays_with_its_parent_for_small_gains():
    # 0.6 cents of tokens do not outweigh what another model costs in coherence.
    parent, turn = on(LOCAL), asked(agent="a1", context_tokens=500)
    close = replace(BALANCED, loads=(BALANCED.loads[0],) * 3)
    assert choose(turn, assessed(*EASY), None, CATALOG, close, parent=parent).model == LOCAL
    assert choose(turn, assessed(*EASY), None, CATALOG, close).model == CHEAP


def test_subagent_of_an_escalated_session_is_careful():
    parent = on(CAREFUL, n_corrections=2)
    assert choose(asked(agent="a1"), assessed(*EASY), None, CATALOG, BALANCED, parent=parent).model == CAREFUL


def decided(model, *fallbacks):
    return Decision(model, "here", fallbacks, "id", Kind.TASK, None, 0, (), (), False, "m", "p")


def test_tool_loop_keeps_its_model():
    session = on(CHEAP, assessment=assessed(*HARD), decision=decided(CHEAP, CAREFUL, LOCAL))
    choice = keep(asked(step=3), session, CATALOG, BALANCED)
    assert (choice.model, choice.sticky, choice.expected_cost) == (CHEAP, True, ())
    assert choice.fallbacks == (CAREFUL, LOCAL)


def test_tool_loop_leaves_a_full_window_upwards_only():
    session = on("claude-opus-4-5", assessment=assessed(*EASY))
    choice = keep(asked(step=9, context_tokens=195_000), session, CATALOG, BALANCED)
    assert (choice.model, choice.sticky) == (CAREFUL, False)
    assert choice.reasons[0] == "claude-opus-4-5 no longer takes this request in the middle of its turn."


def test_tool_loop_without_an_assessment_falls_to_the_default():
    choice = keep(asked(step=9, context_tokens=195_000), on("claude-haiku-4-5"), CATALOG, BALANCED)
    assert choice.model == CAREFUL


def test_growth_alone_never_ends_a_tool_loop():
    # 185k and the reserve still fit into 200k, though a repo-wide turn would be expected to add more.
    session = on("claude-opus-4-5", assessment=assessed("feature", "medium", "repo"))
    assert keep(asked(step=9, context_tokens=185_000), session, CATALOG, BALANCED).model == "claude-opus-4-5"


@st.composite
def probabilities(draw, name):
    weights = draw(st.lists(st.integers(0, 100), min_size=len(HEADS[name]), max_size=len(HEADS[name])))
    total = sum(weights) or len(weights)
    return HeadResult(name, tuple((w if sum(weights) else 1) / total for w in weights))


assessments = st.builds(
    Assessment, *(probabilities(name) for name in HEADS), novelty=st.floats(0, 1), model_version=st.just("m")
)
names = st.sampled_from([model.name for model in CATALOG.models])
sessions = st.builds(
    SessionState,
    model=names,
    turn_key=st.just("before"),
    assessment=st.none() | assessments,
    context_tokens=st.integers(0, 400_000),
    n_corrections=st.integers(0, 3),
    corrections=st.dictionaries(names, st.floats(0, 5), max_size=3),
)
sizes = st.integers(0, 1_200_000)


def takes(name, tokens):
    return CATALOG.model(name).obstacle(frozenset(), tokens, BALANCED.reserve_output_tokens) is None


@given(sessions, assessments, sizes)
@settings(max_examples=300)
def test_inside_a_task_a_session_only_goes_up(session, assessment, tokens):
    choice = choose(asked(n=2, context_tokens=tokens), assessment, session, CATALOG, BALANCED)
    grown = max(load.growth_tokens for load in BALANCED.loads)
    inside = BALANCED.stage(assessment) != "new" and takes(session.model, tokens + grown)
    if inside and choice.model != session.model:
        assert CATALOG.rank(choice.model) > CATALOG.rank(session.model)


@given(sessions, assessments, st.integers(0, 150_000), st.sampled_from(["new", "follow", "correct"]))
@settings(max_examples=200)
def test_corrections_never_move_a_session_to_a_dearer_model_of_its_family(session, assessment, tokens, turn):
    session = replace(session, model=CAREFUL)
    said = replace(assessment, turn=assessed(turn=turn).turn)
    assert choose(asked(n=2, context_tokens=tokens), said, session, CATALOG, BALANCED).model != "claude-opus-4-5"


@given(sessions, assessments, st.integers(0, 150_000))
def test_move_within_a_tier_is_paid_for_by_what_it_saves(session, assessment, tokens):
    begun = replace(assessment, turn=HeadResult("turn", (1.0, 0.0, 0.0)))
    choice = choose(asked(n=2, context_tokens=tokens), begun, session, CATALOG, BALANCED)
    costs = {cost.model: cost for cost in choice.expected_cost}
    if choice.model != session.model and CATALOG.rank(choice.model) == CATALOG.rank(session.model):
        taken, left = costs[choice.model], costs[session.model]
        assert left.tokens + left.failure - taken.tokens - taken.failure > taken.switch >= BALANCED.coherence_usd


@given(sessions, assessments, sizes)
def test_where_a_task_begins_the_least_cost_wins(session, assessment, tokens):
    begun = replace(assessment, turn=HeadResult("turn", (1.0, 0.0, 0.0)))
    choice = choose(asked(n=2, context_tokens=tokens), begun, session, CATALOG, BALANCED)
    totals = {cost.model: cost.total for cost in choice.expected_cost}
    assert not totals or totals[choice.model] == min(totals.values())


@given(sessions, sizes, st.none() | st.lists(names, min_size=1, max_size=3))
@settings(max_examples=200)
def test_tool_loop_switches_only_when_it_must(session, tokens, models):
    choice = keep(asked(step=1, context_tokens=tokens), session, CATALOG, BALANCED, models=models)
    if takes(session.model, tokens) and (models is None or session.model in models):
        assert choice.model == session.model
    else:
        assert not choice.sticky


@given(sessions, assessments, sizes)
def test_chosen_model_fits_in_every_session(session, assessment, tokens):
    choice = choose(asked(n=2, context_tokens=tokens), assessment, session, CATALOG, BALANCED)
    able = [model.name for model in CATALOG.candidates() if takes(model.name, tokens)]
    assert takes(choice.model, tokens) or not able


@given(sessions, assessments)
def test_two_corrections_always_end_on_a_careful_model(session, assessment):
    wrong = replace(assessment, turn=HeadResult("turn", (0.0, 0.2, 0.8)))
    session = replace(session, n_corrections=max(1, session.n_corrections))
    choice = choose(asked(n=2), wrong, session, CATALOG, BALANCED)
    assert CATALOG.rank(choice.model) == 2
