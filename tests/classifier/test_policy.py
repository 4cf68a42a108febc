"""The rule itself: limits, costs, reasons. The session's manners are in test_policy_manners.py."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.classifier.assessment import Assessment, Exclusion, HeadResult, Kind
from pointsman.classifier.catalog import HARD, Catalog, profile_names
from pointsman.classifier.errors import ConfigError
from pointsman.classifier.labels import HEADS, needs_care
from pointsman.classifier.policy import Policy, choose, choose_background, choose_default, policy_names
from tests.fakes import asked, assessed, head

CATALOGS = {name: Catalog.load(name) for name in profile_names()}
POLICIES = {name: Policy.load(name) for name in policy_names()}
CATALOG = CATALOGS["anthropic-dashscope"]
BALANCED = POLICIES["balanced"]
CAREFUL, CHEAP = "claude-opus-5-5", "claude-haiku-5-5"
CLAUDE_CODE = frozenset({"tools", "thinking_adaptive", "effort", "mid_system"})


def weigh(assessment, turn=None, *, policy=BALANCED, catalog=CATALOG, **limits):
    return choose(turn or asked(needs=CLAUDE_CODE), assessment, None, catalog, policy, **limits)


@st.composite
def probabilities(draw, name):
    weights = draw(st.lists(st.integers(0, 100), min_size=len(HEADS[name]), max_size=len(HEADS[name])))
    total = sum(weights) or len(weights)
    return HeadResult(name, tuple((w if sum(weights) else 1) / total for w in weights))


assessments = st.builds(
    Assessment,
    *(probabilities(name) for name in HEADS),
    novelty=st.floats(0, 1),
    model_version=st.just("m"),
)
turns = st.builds(
    asked,
    context_tokens=st.integers(0, 2_000_000),
    needs=st.frozensets(st.sampled_from(sorted(CLAUDE_CODE | HARD)), max_size=4),
    max_output_tokens=st.none() | st.integers(1, 200_000),
)


@pytest.mark.parametrize(
    ("category", "risk", "scope", "model"),
    [
        ("debugging", "high", "multi", CAREFUL),
        ("debugging", "medium", "multi", CAREFUL),
        ("security", "high", "file", CAREFUL),
        ("security", "medium", "file", CAREFUL),
        ("migration", "high", "repo", CAREFUL),
        ("migration", "medium", "file", CAREFUL),
        ("feature", "high", "multi", CAREFUL),
        ("feature", "medium", "multi", CHEAP),
        ("refactoring", "low", "file", CHEAP),
        ("docs", "low", "file", CHEAP),
        ("tests", "low", "multi", CHEAP),
        ("ui", "low", "file", CHEAP),
        ("scaffolding", "low", "multi", CHEAP),
        ("operation", "low", "file", CHEAP),
        ("other", "low", "file", CHEAP),
    ],
)
def test_balanced_policy_on_plain_cases(category, risk, scope, model):
    assert weigh(assessed(category, risk, scope)).model == model


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_tells_a_race_in_payments_from_a_typo(profile):
    catalog = CATALOGS[profile]
    risky = weigh(assessed("debugging", "high", "multi", sure=0.8), asked(), catalog=catalog).model
    harmless = weigh(assessed("docs", "low", "file", sure=0.9), asked(), catalog=catalog).model
    assert (catalog.rank(risky), catalog.rank(harmless)) == (2, 0)


def test_doubt_pays_for_care():
    sure = assessed("feature", "medium", sure=1.0)
    unsure = replace(sure, risk=HeadResult("risk", (0.1, 0.75, 0.15)))
    assert (weigh(sure).model, weigh(unsure).model) == (CHEAP, CAREFUL)


def test_novelty_widens_towards_care():
    plain = assessed("feature", "medium", novelty=0.0)
    foreign = replace(plain, novelty=1.0)
    assert (weigh(plain).model, weigh(foreign).model) == (CHEAP, CAREFUL)
    assert any("Unlike the training data" in reason for reason in weigh(foreign).reasons)


def test_presets_go_from_frugal_to_careful():
    shares = []
    for name in ("frugal", "balanced", "careful"):
        models = [
            weigh(assessed(c, r, s, sure=0.8), policy=POLICIES[name]).model
            for c in HEADS["category"]
            for r in HEADS["risk"]
            for s in HEADS["scope"]
        ]
        shares.append(models.count(CAREFUL))
    assert shares == sorted(set(shares))


def test_careful_preset_misses_no_turn_that_needs_care_and_is_no_repo_feature():
    labels = [(c, r) for c in HEADS["category"] for r in HEADS["risk"] if needs_care(c, r, "multi")]
    wrong = [x for x in labels if weigh(assessed(*x, "multi"), policy=POLICIES["careful"]).model != CAREFUL]
    assert wrong == []


def test_terms_add_up_to_the_rule():
    assessment = assessed("debugging", "medium", "multi")
    turn = asked(context_tokens=40_000, needs=CLAUDE_CODE)
    cost = next(cost for cost in weigh(assessment, turn).expected_cost if cost.model == CAREFUL)
    assert cost.tokens == pytest.approx(0.51, abs=0.005)  # the worked example of balanced.yaml
    assert cost.switch == 0
    assert cost.failure == pytest.approx(CATALOG.model(CAREFUL).failure[0] * 4)


@given(assessments, st.floats(1, 50))
def test_failure_grows_with_loss(assessment, factor):
    dearer = replace(BALANCED, loss_usd=tuple(loss * factor for loss in BALANCED.loss_usd))
    before = {cost.model: cost for cost in weigh(assessment).expected_cost}
    for cost in weigh(assessment, policy=dearer).expected_cost:
        assert cost.failure == pytest.approx(before[cost.model].failure * factor)
        assert cost.total >= before[cost.model].total - 1e-12
        assert cost.tokens == before[cost.model].tokens


@given(assessments, turns)
@settings(max_examples=200)
def test_chosen_model_fits_whenever_one_does(assessment, turn):
    choice = weigh(assessment, turn)
    reserve = min(BALANCED.reserve_output_tokens, turn.max_output_tokens or 10**9)

    def fits(name):
        return CATALOG.model(name).obstacle(turn.needs, turn.context_tokens, reserve) is None

    able = [model.name for model in CATALOG.candidates() if fits(model.name)]
    assert choice.model in able or not able
    assert choice.model not in choice.fallbacks
    assert set(choice.fallbacks) <= set(able) or not able


@given(assessments, turns)
def test_costs_are_sorted_and_the_first_turn_takes_the_least(assessment, turn):
    choice = weigh(assessment, turn)
    totals = [cost.total for cost in choice.expected_cost]
    assert totals == sorted(totals)
    assert not totals or choice.model == choice.expected_cost[0].model
    assert [cost.model for cost in choice.expected_cost[1:]] == list(choice.fallbacks) or not totals


@given(assessments, turns, st.lists(st.sampled_from([m.name for m in CATALOG.models]), min_size=1, max_size=3))
def test_allow_list_is_kept(assessment, turn, models):
    assert weigh(assessment, turn, models=models).model in models


def test_allow_list_of_strangers_gives_the_safe_default_and_says_so():
    choice = weigh(assessed("docs", "low"), models=["gpt-9"])
    assert choice.model == CAREFUL
    assert "None of the allowed models is in the catalogue: the safe default." in choice.reasons


def test_growth_keeps_a_nearly_full_window_free():
    # 170k leave the 200k of Opus 4.5 room for the answer, but not for what a repo-wide turn adds.
    turn = asked(context_tokens=170_000)
    allowed = ["claude-opus-4-5", "qwen3-coder-plus"]
    narrow = weigh(assessed("debugging", "high", "file"), turn, models=allowed)
    wide = weigh(assessed("debugging", "high", "repo"), turn, models=allowed)
    assert (narrow.model, wide.model) == ("claude-opus-4-5", "qwen3-coder-plus")
    assert Exclusion("claude-opus-4-5", "window", "whose window of 200000 tokens is too small") in wide.excluded


def test_window_without_room_to_grow_beats_none():
    turn = asked(context_tokens=170_000)
    choice = weigh(assessed("debugging", "high", "repo"), turn, models=["claude-opus-4-5", "claude-haiku-4-5"])
    assert choice.model == "claude-opus-4-5"
    assert choice.expected_cost


def test_nothing_fits_takes_the_largest_window():
    choice = weigh(assessed(), asked(context_tokens=5_000_000))
    assert choice.model == CAREFUL
    assert choice.expected_cost == ()
    assert any(reason.startswith("No model takes this request") for reason in choice.reasons)


def test_hard_capability_excludes_and_soft_one_is_translated():
    hard = weigh(assessed("docs", "low"), asked(needs=frozenset({"mid_system"})))
    assert "qwen3-coder-plus" not in (hard.model, *hard.fallbacks)
    assert Exclusion("qwen3-coder-plus", "capability", "which is not known to take mid_system") in hard.excluded
    soft = weigh(
        assessed("docs", "low"), asked(needs=frozenset({"thinking_enabled", "effort"})), models=["qwen3-coder-plus"]
    )
    assert "The gateway must drop or rewrite effort, thinking_enabled for qwen3-coder-plus." in soft.reasons


def test_output_limit_above_the_models_is_named():
    choice = weigh(assessed("docs", "low"), asked(max_output_tokens=128_000), models=["claude-opus-4-5"])
    assert "The gateway must lower the output limit to 64000 for claude-opus-4-5." in choice.reasons


def test_reasons_are_short_and_hold_the_terms():
    choice = weigh(assessed("debugging", "high", sure=0.83), asked("Find my secret bug", needs=CLAUDE_CODE))
    assert choice.reasons == (
        "High risk 0.83 · debugging 0.83 over several files: a miss costs about 33.57 USD here, "
        f"{CAREFUL} 0.45 USD more than {CHEAP}.",
        f"{CAREFUL} fails on about 11% of such turns, {CHEAP} on 32%: 4.19 against 10.62 USD expected in all.",
    )
    assert choice.codes == ("least_cost",)
    assert "secret" not in " ".join(choice.reasons)


@given(turns)
def test_background_never_wakes_the_careful_model_while_another_takes_it(turn):
    turn = replace(turn, kind=Kind.BACKGROUND, prompt="", background="title")
    choice = choose_background(turn, CATALOG, BALANCED)
    reserve = min(BALANCED.reserve_output_tokens, turn.max_output_tokens or 10**9)
    able = [m for m in CATALOG.candidates() if m.obstacle(turn.needs, turn.context_tokens, reserve) is None]
    assert CATALOG.rank(choice.model) < 2 or all(CATALOG.rank(model.name) == 2 for model in able)


def test_background_goes_to_the_named_model():
    turn = asked(kind=Kind.BACKGROUND, background="title", needs=frozenset({"structured_output"}))
    assert choose(turn, assessed("debugging", "high"), None, CATALOG, BALANCED).model == CHEAP


def test_background_too_long_for_its_model_goes_to_the_next_cheap_one():
    turn = asked(kind=Kind.BACKGROUND, background="summary", context_tokens=150_000)
    choice = choose_background(turn, CATALOGS["anthropic-ollama"], BALANCED)
    assert choice.model == "claude-haiku-5-5"
    assert Exclusion("qwen3-coder", "window", "whose window of 64000 tokens is too small") in choice.excluded


def test_background_of_an_allow_list_takes_its_cheapest():
    turn = asked(kind=Kind.BACKGROUND, background="title")
    choice = choose_background(turn, CATALOG, BALANCED, models=["claude-opus-4-5", "claude-sonnet-5-5"])
    assert choice.model == "claude-sonnet-5-5"


def test_default_is_the_careful_model_or_the_next_that_fits():
    assert choose_default(asked(), CATALOG, BALANCED, "Because.").model == CAREFUL
    kimi = CATALOGS["kimi"]
    allowed = choose_default(asked(), kimi, BALANCED, "Because.", models=["kimi-k2.5", "claude-opus-4-5"])
    assert (allowed.model, allowed.reasons[0]) == ("claude-opus-4-5", "Because.")


@given(probabilities("turn"))
def test_stage_is_new_only_when_likely_enough(turn):
    stage = BALANCED.stage(replace(assessed(), turn=turn))
    assert (stage == "new") == (turn.of("new") >= BALANCED.new_task_probability)


POLICY = """\
extends: balanced
loss_usd: {low: 1, medium: 5, high: 50, source: our incidents}
models:
  default: claude-opus-5-5
  background: background
  escalate_to: careful
"""


@pytest.fixture
def load(tmp_path):
    def load(old="", new=""):
        path = tmp_path / "ours.yaml"
        assert old in POLICY
        path.write_text(POLICY.replace(old, new, 1))
        return Policy.load(path)

    return load


def test_policy_extends_a_preset(load):
    policy = load()
    assert policy.loss_usd == (1, 5, 50)
    assert policy.loads == BALANCED.loads
    assert policy.version.startswith("ours:")
    assert policy.version != BALANCED.version


def test_presets_differ_by_scale_and_promise_alone():
    assert POLICIES["careful"].loss_usd == tuple(3 * loss for loss in BALANCED.loss_usd)
    same = {name: getattr(BALANCED, name) for name in ("name", "loss_usd", "max_missed", "version")}
    assert replace(POLICIES["careful"], **same) == BALANCED


POLICY_MISTAKES = {
    "unknown field": ("extends: balanced", "extends: balanced\nlos_usd: 3", "ours.yaml:2: los_usd: .*'loss_usd'"),
    "wrong type": ("medium: 5", "medium: much", r"ours.yaml:2: loss_usd.medium: found text \('much'\)"),
    "missing": ("low: 1, ", "", "ours.yaml:2: loss_usd.low: found no such field"),
    "loss falls": ("high: 50", "high: 2", "ours.yaml:2: loss_usd.high: found less than the risk below it"),
    "no source": (", source: our incidents", "", "loss_usd.source: found no such field"),
    "no base": ("extends: balanced", "extends: nothing", "ours.yaml:1: extends: found no such file"),
    "circle": ("extends: balanced", "extends: ours.yaml", "ours.yaml:1: extends: found a circle"),
}


@pytest.mark.parametrize(("old", "new", "match"), POLICY_MISTAKES.values(), ids=POLICY_MISTAKES)
def test_policy_mistake_is_named_by_file_line_and_field(load, old, new, match):
    with pytest.raises(ConfigError, match=match):
        load(old, new)


def test_policy_that_names_an_absent_model_is_refused_with_its_line(load):
    policy = load("default: claude-opus-5-5", "default: claude-opus-6")
    with pytest.raises(ConfigError, match=re.escape("ours.yaml:4: models.default: found 'claude-opus-6'; expected a")):
        policy.check(CATALOG)


def test_policy_may_name_a_model_of_the_catalogue(load):
    policy = load("default: claude-opus-5-5", "default: claude-opus-4-5")
    policy.check(CATALOG)
    assert choose_default(asked(), CATALOG, policy, "Because.").model == "claude-opus-4-5"


def test_choice_is_a_pure_function():
    assessment, turn = assessed("debugging", "medium", sure=0.7, novelty=0.4), asked(needs=CLAUDE_CODE)
    assert weigh(assessment, turn) == weigh(assessment, turn)


def test_fake_head_sums_to_one():
    assert sum(head("category", "docs", 0.7).probabilities) == pytest.approx(1)
