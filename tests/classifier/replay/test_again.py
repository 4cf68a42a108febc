"""A log decided again: nothing changes under the policy that wrote it, and only the policy changes under another."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.classifier.assessment import Kind
from pointsman.classifier.errors import ConfigError
from pointsman.classifier.limits import Caller
from pointsman.classifier.policy import Policy
from pointsman.classifier.replay.again import decide_again
from pointsman.classifier.replay.case import cases_of
from tests.fakes import asked, assessed

from .stories import BALANCED, CAREFUL, CATALOG, CHEAP, EASY, HARD, LiveLog, background, case

FRUGAL, VERY_CAREFUL = Policy.load("frugal"), Policy.load("careful")


def written(tmp_path, text):
    path = tmp_path / "ours.yaml"
    path.write_text(f"extends: balanced\n{text}")
    return Policy.load(path)


def models(cases, policy=BALANCED):
    return [decision.model for decision in decide_again(cases, CATALOG, policy)]


ASSESSMENTS = st.builds(
    assessed,
    st.sampled_from(["debugging", "security", "feature", "docs", "operation"]),
    st.sampled_from(["low", "medium", "high"]),
    st.sampled_from(["file", "multi", "repo"]),
    st.sampled_from(["new", "follow", "correct"]),
    sure=st.floats(0.4, 0.95),
    novelty=st.floats(0, 1),
)
STEPS = st.tuples(
    st.sampled_from(["s1", "s2"]),
    st.sampled_from(["turn", "turn", "loop", "loop", "agent", "agent loop", "background", "unreadable"]),
    ASSESSMENTS,
    st.integers(5_000, 250_000),
    st.sampled_from([1.0, 60.0, 400.0, 30_000.0]),
)


def told(log, steps):
    """Play a story: turns, tool loops, subagents, background calls, over two sessions and any pauses."""
    n = 0
    last = {}
    for loops, (session, kind, assessment, tokens, pause) in enumerate(steps, 1):
        agent = "a1" if kind.startswith("agent") else None
        if kind in ("turn", "agent") or (kind.endswith("loop") and (session, agent) not in last):
            n += 1
            last[session, agent] = n
            turn = asked(f"p{n}", n, session=session, agent=agent, context_tokens=tokens)
        elif kind.endswith("loop"):
            begun = last[session, agent]
            turn = asked(f"p{begun}", begun, session=session, agent=agent, step=loops, context_tokens=tokens)
        elif kind == "background":
            made = asked("title", loops, session=session, kind=Kind.BACKGROUND, context_tokens=tokens)
            turn = replace(made, background="title")
        else:
            n += 1
            turn = asked("", n, session=session, context_tokens=tokens)
        log.ask(turn, assessment, after_s=pause)
    return log


@settings(max_examples=60)
@given(st.lists(STEPS, min_size=1, max_size=14), st.sampled_from(["balanced", "frugal", "careful"]))
def test_same_policy_changes_no_decision(steps, name):
    policy = Policy.load(name)
    records = told(LiveLog(policy), steps).records
    again = decide_again(cases_of(records), CATALOG, policy)
    assert [decision.model for decision in again] == [record.model for record in records]
    assert [decision.codes for decision in again] == [record.codes for record in records]


def test_another_policy_changes_what_hangs_on_losses():
    log = LiveLog()
    log.ask(asked("a"), assessed("feature", "medium", "multi", sure=0.7))
    cases = cases_of(log.records)
    assert models(cases, FRUGAL) == [CHEAP]
    assert models(cases, VERY_CAREFUL) == [CAREFUL]


def test_tool_loop_follows_the_model_the_replay_chose():
    log = LiveLog()
    log.ask(asked("a"), HARD)
    log.ask(asked("a", step=1), EASY)
    cheap_always = replace(BALANCED, loss_usd=(0.0, 0.0, 0.0))
    assert models(cases_of(log.records), cheap_always) == [CHEAP, CHEAP]


def test_sessions_are_those_of_the_replay():
    followed = replace(EASY, turn=assessed(turn="follow").turn)
    assert models([case(1, HARD), case(2, followed)]) == [CAREFUL, CAREFUL]
    assert models([case(1, EASY), case(2, followed)]) == [CHEAP, CHEAP]


def test_session_forgotten_by_the_service_is_forgotten_here():
    followed = replace(EASY, turn=assessed(turn="follow").turn)
    assert models([case(1, HARD), case(2, followed, at=7 * 3600.0)]) == [CAREFUL, CHEAP]


def test_background_calls_keep_their_model():
    assert models([background()], VERY_CAREFUL) == [CATALOG.roles["background"][0]]


def test_unassessed_turn_gets_the_safe_default():
    [decision] = decide_again([case(assessment=None, begins=False, weighed=False)], CATALOG, FRUGAL)
    assert decision.model == CATALOG.roles["default"][0]
    assert decision.codes == ("safe_default",)


def test_each_policy_of_a_replay_keeps_its_own_promise():
    bounded = case(
        assessment=assessed("docs", "high", sure=0.4), promises=((0.02, 0.1), (0.2, 0.99)), care_threshold=0.1
    )
    cheap = replace(BALANCED, loss_usd=(0.001, 0.001, 0.001))
    assert models([bounded], replace(cheap, max_missed=0.05)) == [CAREFUL]
    assert models([bounded], replace(cheap, max_missed=0.2)) == [CHEAP]


def test_care_threshold_of_the_log_holds_unless_the_policy_says_otherwise(tmp_path):
    bounded = case(assessment=assessed("docs", "high", sure=0.4), care_threshold=0.1)
    off = written(tmp_path, "enforce_risk_bound: false\nscale: 0.001\n")
    assert models([bounded], replace(off, enforce_risk_bound=True)) == [CAREFUL]
    assert models([bounded], off) == [CHEAP]


def test_path_seen_in_unstored_text_still_raises_the_risk(tmp_path):
    pinning = written(tmp_path, "paths: [{match: ['migrations/**'], risk: high}]\n")
    log = LiveLog(pinning)
    log.ask(asked("touch migrations/001.sql, please"), EASY)
    cases = cases_of(log.records)
    assert cases[0].turn.prompt == ""
    assert models(cases, pinning) == [CAREFUL]
    assert models(cases, BALANCED) == [CHEAP]


def test_named_model_and_named_preset_are_kept():
    log = LiveLog()
    log.ask(asked("a", 1), EASY, caller=Caller(model="careful"))
    log.ask(asked("b", 2, session="s2"), EASY, caller=Caller(policy="frugal"))
    decisions = decide_again(cases_of(log.records), CATALOG, VERY_CAREFUL)
    assert decisions[0].model == CAREFUL
    assert decisions[1].policy_version == FRUGAL.version


def test_budget_is_spent_by_the_replayed_policy_and_begins_anew_each_month(tmp_path):
    budget = written(tmp_path, "rules: [{monthly_budget_usd: 0.01}]\nspent_budget_weight: 1000\n")
    days = ["2026-11-29", "2026-11-30", "2026-12-01"]
    cases = [case(n, HARD, session=f"s{n}", day=day) for n, day in enumerate(days)]
    assert models(cases, budget) == [CAREFUL, CHEAP, CAREFUL]


def test_policy_that_does_not_fit_the_catalogue_is_refused(tmp_path):
    text = "models: {default: gone, background: background, escalate_to: careful}\n"
    with pytest.raises(ConfigError, match=r"models\.default: found 'gone'"):
        decide_again([case()], CATALOG, written(tmp_path, text))
