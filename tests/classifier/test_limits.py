"""What narrows a choice beside the request: callers' rules, residency, wishes of the person, pinned paths, budgets."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.asking import Asking, Rules, make_question
from pointsman.classifier.assessment import Message
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import ConfigError
from pointsman.classifier.limits import UNLIMITED, Caller, Limits, matches, paths_in, wishes_in
from pointsman.classifier.policy import Policy, choose, choose_background, choose_default, keep
from pointsman.classifier.router import Router
from pointsman.classifier.session import SessionState
from tests.classifier.test_policy import assessments, turns
from tests.fakes import FakeAssessor, asked, assessed

CATALOG = Catalog.load("anthropic-dashscope")
BALANCED = Policy.load("balanced")
CAREFUL, CHEAP, LOCAL = "claude-opus-5-5", "claude-haiku-5-5", "qwen3-coder-plus"
RISKY, EASY = assessed("debugging", "high", "multi"), assessed("docs", "low", "file")


def weigh(assessment, turn=None, *, policy=BALANCED, catalog=CATALOG, session=None, **limits):
    return choose(turn or asked(), assessment, session, catalog, policy, limits=Limits(**limits))


@pytest.fixture
def policy_of(tmp_path):
    """Load `balanced` with these lines added."""

    def load(text):
        path = tmp_path / "ours.yaml"
        path.write_text(f"extends: balanced\n{text}")
        return Policy.load(path)

    return load


RULES = """\
rules:
  - for: {team: payments}
    deny: [cheap]
  - for: {project: [website, blog]}
    allow: [claude-haiku-5-5, claude-opus-5-5]
    monthly_budget_usd: 200
  - for: {team: payments, key_id: k-7}
    monthly_budget_usd: 50
    soft_from: 0.5
"""


def test_rules_hold_for_those_they_name(policy_of):
    policy = policy_of(RULES)
    assert [rule.name for rule in policy.rules] == ["team=payments", "project=website|blog", "team=payments key_id=k-7"]
    names = [[rule.name for rule in policy.rules_for(caller)] for caller in (Caller(), Caller(team="payments"))]
    assert names == [[], ["team=payments"]]
    both = policy.rules_for(Caller(team="payments", project="blog", key_id="k-7"))
    assert len(both) == 3


def test_denied_role_leaves_its_models_out(policy_of):
    limits = policy_of(RULES).limits(asked(), Caller(team="payments"), CATALOG)
    choice = choose(asked(), EASY, None, CATALOG, BALANCED, limits=limits)
    assert choice.model == CAREFUL
    assert {(e.model, e.code) for e in choice.excluded} == {(CHEAP, "denied"), (LOCAL, "denied")}


def test_allow_list_of_a_rule_holds_beside_the_callers_own(policy_of):
    limits = policy_of(RULES).limits(asked(), Caller(project="blog"), CATALOG, models=[LOCAL, CHEAP])
    choice = choose(asked(), EASY, None, CATALOG, BALANCED, limits=limits)
    assert (choice.model, choice.fallbacks) == (CHEAP, ())


@given(assessments, turns, st.sets(st.sampled_from([model.name for model in CATALOG.models]), max_size=6))
def test_denied_model_is_never_taken(assessment, turn, denied):
    limits = Limits(denied=frozenset(denied))
    session = SessionState(model=CHEAP, turn_key="t", assessment=assessment)
    for choice in (
        choose(turn, assessment, None, CATALOG, BALANCED, limits=limits),
        choose_background(turn, CATALOG, BALANCED, limits=limits),
        choose_default(turn, CATALOG, BALANCED, "Because.", limits=limits),
        keep(turn, session, CATALOG, BALANCED, limits=limits),
    ):
        assert not {choice.model, *choice.fallbacks} & denied


RESIDENT = """\
library: library
models:
  - {like: claude-opus-5-5, residency: [eu]}
  - {like: claude-haiku-5-5, residency: [eu, us]}
  - {like: qwen3-coder-plus}
roles: {careful: claude-opus-5-5, cheap: [claude-haiku-5-5, qwen3-coder-plus], background: claude-haiku-5-5,
        default: claude-opus-5-5}
"""


@pytest.fixture
def resident(tmp_path):
    path = tmp_path / "resident.yaml"
    path.write_text(RESIDENT)
    return Catalog.load(path)


def test_residency_takes_models_that_are_known_to_stay_inside(resident):
    strict = weigh(EASY, catalog=resident, residency=frozenset({"eu"}))
    assert strict.model == CAREFUL
    assert {e.model: e.code for e in strict.excluded} == {CHEAP: "residency", LOCAL: "residency"}
    assert weigh(EASY, catalog=resident, residency=frozenset({"eu", "us"})).model == CHEAP


def test_residency_holds_where_nothing_is_weighed(resident):
    limits = Limits(residency=frozenset({"eu"}))
    assert choose_background(asked(background="title"), resident, BALANCED, limits=limits).model == CAREFUL
    # The asking's own list gives way before the rule does.
    only_cheap = replace(limits, models=frozenset({CHEAP}))
    choice = choose(asked(), EASY, None, resident, BALANCED, limits=only_cheap)
    assert (choice.model, choice.codes) == (CAREFUL, ("none_allowed",))


def test_rule_that_leaves_no_model_stops_the_start(policy_of, resident):
    with pytest.raises(ConfigError, match=r"ours\.yaml.*rules\[0\]: found no model of the catalogue that it leaves"):
        policy_of("rules: [{residency: [ch]}]\n").check(resident)
    with pytest.raises(ConfigError, match=r"rules\[0\]: found 'gpt-9'; expected a role or a model"):
        policy_of("rules: [{deny: [gpt-9]}]\n").check(resident)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("rules: [{for: {tema: x}}]", r"rules\[0\]\.for\.tema: .*'team'"),
        ("rules: [{monthly_budget_usd: 0}]", r"rules\[0\]\.monthly_budget_usd: found 0; expected a number of at least"),
        ("paths: [{match: x, risk: hihg}]", r"paths\[0\]\.risk: found 'hihg'; expected one of low, medium, high"),
        ("enforce_risk_bound: maybe", r"enforce_risk_bound: found text \('maybe'\); expected true or false"),
        (
            "explore: {max_care_probability: 2}",
            r"explore\.max_care_probability: found 2; expected a number from 0 to 1",
        ),
    ],
)
def test_mistake_in_a_rule_is_named(policy_of, text, match):
    with pytest.raises(ConfigError, match=match):
        policy_of(text + "\n")


@pytest.mark.parametrize(
    ("prompt", "wishes"),
    [
        ("@model:claude-opus-5-5 fix it", {"model": "claude-opus-5-5"}),
        ("fix it, @model:openrouter/qwen/qwen3-coder. Please", {"model": "openrouter/qwen/qwen3-coder"}),
        ("a @policy:careful b @model:careful", {"policy": "careful", "model": "careful"}),
        ("mail me@model:x or @models:x", {}),
        ("@model: x", {}),
    ],
)
def test_wishes_are_words_of_their_own(prompt, wishes):
    assert wishes_in(prompt) == wishes


def asking(prompt="fix it", policy=BALANCED, **caller):
    question = make_question(asked(prompt), Asking(caller=Caller(**caller)), Rules.of(CATALOG, policy))
    return question.limits, question.policy.name, [note.code for note in question.notes]


def test_header_stands_before_the_prompt():
    limits, policy, notes = asking("@model:cheap @policy:frugal go", model=CAREFUL)
    assert (limits.wanted, limits.wanted_by, policy) == (CAREFUL, "header", "frugal")
    assert notes == ["explicit_policy"]


def test_unknown_wishes_are_ignored_and_said_without_their_words():
    limits, policy, notes = asking("@model:gpt-9-secret go", policy=BALANCED)
    assert (limits.wanted, policy, notes) == (None, "balanced", ["explicit_model_unknown"])
    assert asking(**{"policy": BALANCED}, model="x")[2] == ["explicit_model_unknown"]
    question = make_question(asked("@policy:../x/y go"), Asking(), Rules.of(CATALOG, BALANCED))
    assert [note.code for note in question.notes] == ["explicit_policy_unknown"]
    assert not any("secret" in note.text or ".." in note.text for note in question.notes)


def test_policy_may_forbid_wishes(policy_of):
    limits, _, notes = asking("@model:cheap go", policy_of("user_override: false\n"))
    assert (limits.wanted, notes) == (None, ["override_off"])


OURS = """\
rules: [{for: {team: [payments]}, deny: [cheap], monthly_budget_usd: 10}]
paths: [{match: ["migrations/**"], risk: high}]
spent_budget_weight: 9
"""


@pytest.mark.parametrize(
    "asking",
    [
        {"prompt": "@policy:frugal edit migrations/1.sql"},
        {"caller": {"policy": "frugal"}},
        {"policy": "frugal"},
    ],
    ids=["prompt", "header", "envelope"],
)
def test_named_preset_keeps_to_the_rules_paths_and_budgets_in_use(policy_of, asking):
    router = Router(FakeAssessor(default=EASY), CATALOG, policy_of(OURS), spent=lambda: {"team=payments": 10.0})
    caller = Caller(team="payments", **asking.get("caller", {}))
    turn = asked(asking.get("prompt", "edit migrations/1.sql"))
    decision = router.decide_turn(turn, policy=asking.get("policy"), caller=caller)
    assert decision.policy_version.startswith("frugal:")
    assert (decision.model, decision.limits.pins, decision.limits.spent_share) == (CAREFUL, ("migrations/**",), 1.0)
    assert {CHEAP, LOCAL} <= decision.limits.denied
    assert decision.stakes.money_weight == 9


def test_named_preset_is_its_own_version_only_under_rules(policy_of):
    plain, ruled = (
        Rules.of(CATALOG, policy).presets["frugal"] for policy in (policy_of("scale: 2\n"), policy_of(OURS))
    )
    assert plain.version == Policy.load("frugal").version != ruled.version
    assert (ruled.loss_usd, ruled.max_missed) == (plain.loss_usd, plain.max_missed)


@pytest.mark.parametrize("threshold", [None, 0.1], ids=["plain", "bounded"])
def test_explicit_model_wins_over_costs_and_bound(threshold):
    choice = weigh(RISKY, wanted=CHEAP, wanted_by="prompt", care_threshold=threshold)
    assert choice.model == CHEAP
    assert "explicit_model" in choice.codes
    assert ("risk_bound_overridden" in choice.codes) == (threshold is not None)
    assert f"Asked for in the prompt: {CHEAP}." in choice.reasons


def test_explicit_model_wins_over_manners_but_not_over_rules():
    session = SessionState(model=CAREFUL, turn_key="t")
    follow = assessed("docs", "low", "file", "follow")
    assert weigh(follow, session=session, wanted="cheap").model == CHEAP
    denied = weigh(follow, session=session, wanted=CHEAP, denied=frozenset({CHEAP}))
    assert (denied.model, "explicit_model_unfit" in denied.codes) == (CAREFUL, True)


def test_explicit_model_beside_the_roles_is_taken():
    assert weigh(EASY, wanted="claude-sonnet-5-5").model == "claude-sonnet-5-5"
    assert choose_default(asked(), CATALOG, BALANCED, "Because.", limits=Limits(wanted=CHEAP)).model == CHEAP


def test_background_takes_no_wishes():
    turn = asked(background="title")
    assert choose_background(turn, CATALOG, BALANCED, limits=Limits(wanted=CAREFUL)).model == CHEAP


def test_wish_makes_another_question_and_its_turn_keeps_the_model():
    router = Router(FakeAssessor(default=EASY), CATALOG, BALANCED)
    wish = Caller(model=CAREFUL)
    assert router.decide_turn(asked()).model == CHEAP
    first = router.decide_turn(asked("go", n=2), caller=wish)
    loop = router.decide_turn(asked("go", n=2, step=1))
    assert (first.model, loop.model) == (CAREFUL, CAREFUL)
    assert first.limits.wanted == CAREFUL


def test_caller_is_read_from_headers_in_any_case():
    headers = {"X-Pointsman-Team": " payments ", "x_pointsman_key_id": "k-7", "x-pointsman-model": "m" * 900, "a": "b"}
    caller = Caller.of(headers)
    assert (caller.team, caller.key_id, len(caller.model), caller.project) == ("payments", "k-7", 200, None)
    assert Caller.of(None) == Caller()


@pytest.mark.parametrize(
    ("pattern", "path", "is_match"),
    [
        ("migrations/**", "migrations/001.sql", True),
        ("migrations/**", "/home/me/app/migrations/a/b.sql", True),
        ("migrations/**", "my_migrations/001.sql", False),
        ("**/auth/**", "src/auth/login.ts", True),
        ("**/auth/**", "auth/login.ts", True),
        ("**/auth/**", "src/author.ts", False),
        ("*.tf", "infra/main.tf", True),
        ("*.tf", "main.tfvars", False),
        ("src/*.py", "src/a/b.py", False),
        ("a?.py", "ab.py", True),
        ("a.b", "aXb", False),
    ],
)
def test_globs(pattern, path, is_match):
    assert matches(pattern, path) is is_match


def test_paths_are_found_in_running_text():
    text = 'Look at `src/auth/login.ts`, "db\\migrations\\001.sql" (and main.tf)! Not this. Or 3/4.'
    assert {"src/auth/login.ts", "db/migrations/001.sql", "main.tf"} <= paths_in([text])


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("fix @migrations/001.sql", "migrations/**"),
        ("fix @infra/main.tf#L5-10, please", "*.tf"),
        ("change **migrations/001.sql**.", "migrations/*.sql"),
        ("change _migrations/001.sql_.", "migrations/*.sql"),
        ("edit .github/workflows/ci.yml", ".github/workflows/**"),
        ("edit ./.github/workflows/ci.yml", ".github/workflows/**"),
        ("put the key into .env", ".env*"),
        ("put the key into **.env**.", ".env"),
        ("and @.env.production!", ".env*"),
        ("look at ~/.ssh/config", ".ssh/**"),
        ("look at .ssh\\config", ".ssh/**"),
        ("touch src/__init__.py and src/__pycache__/", "src/__init__.py"),
        ("touch __init__.py?", "__init__.py"),
        ("go up ../migrations/001.sql", "migrations/**"),
        ("改 migrations/001.sql，再改 main.tf。", "*.tf"),
        ("改 main.tf，再改 migrations/001.sql。", "*.tf"),
        ("see “infra/main.tf”", "*.tf"),
    ],
)
def test_pinned_path_is_found_however_it_is_written(text, pattern):
    assert any(matches(pattern, path) for path in paths_in([text]))


@given(st.text(max_size=300))
def test_any_text_may_hold_paths(text):
    assert all(1 < len(path) <= 300 for path in paths_in([text, text * 5]))


def test_pinned_path_raises_the_risk(policy_of):
    policy = policy_of('paths: [{match: ["migrations/**", "**/auth/**"], risk: high}]\n')
    turn = replace(asked("rename the column"), context=(Message("assistant", "I changed migrations/001.sql."),))
    limits = policy.limits(turn, Caller(), CATALOG)
    choice = choose(turn, EASY, None, CATALOG, policy, limits=limits)
    assert (limits.pins, choice.model) == (("migrations/**",), CAREFUL)
    assert choice.stakes.care_probability == 1.0
    assert "pinned_path" in choice.codes
    plain = choose(turn, EASY, None, CATALOG, policy, limits=policy.limits(asked(), Caller(), CATALOG))
    assert plain.model == CHEAP


def test_pin_never_lowers_a_risk(policy_of):
    policy = policy_of("paths: [{match: docs/**, risk: medium}]\n")
    limits = Limits(pins=("docs/**",))
    plain = choose(asked(), RISKY, None, CATALOG, policy).stakes
    assert choose(asked(), RISKY, None, CATALOG, policy, limits=limits).stakes == plain


@pytest.mark.parametrize(("share", "weight"), [(None, 1), (0.8, 1), (0.9, 2.5), (1.0, 4), (7, 4)])
def test_money_counts_for_more_as_a_budget_runs_out(share, weight):
    assert BALANCED.money_weight(Limits(spent_share=share)) == pytest.approx(weight)


def test_spent_budget_lands_softly_and_leaves_care_alone():
    middling = assessed("debugging", "medium", "multi")
    assert weigh(middling).model == CAREFUL
    landed = weigh(middling, spent_share=1.2)
    assert (landed.model, "budget_spent" in landed.codes) == (CHEAP, True)
    assert weigh(middling, spent_share=1.2, care_threshold=0.3).model == CAREFUL
    assert weigh(RISKY, spent_share=1.2).model == CAREFUL


def test_tightest_budget_of_a_caller_counts(policy_of):
    policy = policy_of(RULES)
    caller = Caller(team="payments", key_id="k-7", project="blog")
    spent = {"team=payments key_id=k-7": 30.0, "project=website|blog": 20.0}
    limits = policy.limits(asked(), caller, CATALOG, spent=spent)
    assert (limits.spent_share, limits.soft_from) == (pytest.approx(0.6), 0.5)


TWO_BUDGETS = """\
rules:
  - {monthly_budget_usd: 100, soft_from: 0.8}
  - {for: {team: a}, monthly_budget_usd: 100, soft_from: 0.3}
"""


@pytest.mark.parametrize(
    ("everyone", "team", "tightest", "weight"),
    [
        (70, 60, (0.6, 0.3), 1 + 3 * 3 / 7),  # the larger share has not begun to land
        (90, 31, (0.9, 0.8), 2.5),
        (70, 20, (0.7, 0.8), 1),
        (130, 120, (1.3, 0.8), 4),
    ],
)
def test_budget_furthest_into_its_landing_counts(policy_of, everyone, team, tightest, weight):
    policy = policy_of(TWO_BUDGETS)
    spent = {"everyone": everyone, "team=a": team}
    limits = policy.limits(asked(), Caller(team="a"), CATALOG, spent=spent)
    assert (limits.spent_share, limits.soft_from) == pytest.approx(tightest)
    assert policy.money_weight(limits) == pytest.approx(weight)


def test_exploring_draws_only_where_little_is_at_stake(policy_of):
    policy = policy_of("explore: {max_care_probability: 0.05}\n")
    drawn = {choose(asked(), EASY, None, CATALOG, policy, limits=Limits(seed=f"s{i}")).expected_cost for i in range(5)}
    assert len(drawn) == 5
    again = choose(asked(), EASY, None, CATALOG, policy, limits=Limits(seed="s1"))
    assert again == choose(asked(), EASY, None, CATALOG, policy, limits=Limits(seed="s1"))
    assert "explored" in again.codes
    risky = choose(asked(), RISKY, None, CATALOG, policy, limits=Limits(seed="s1"))
    assert risky == choose(asked(), RISKY, None, CATALOG, policy)
    assert weigh(EASY, seed="s1") == weigh(EASY)  # off by default


limited = st.builds(
    Limits,
    models=st.none() | st.frozensets(st.text(max_size=5), max_size=3),
    denied=st.frozensets(st.text(max_size=5), max_size=3),
    residency=st.none() | st.frozensets(st.sampled_from(["eu", "us"])),
    wanted=st.none() | st.just("m"),
    pins=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    spent_share=st.none() | st.floats(0, 2),
    care_threshold=st.none() | st.floats(0, 1),
    promises=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=3).map(tuple),
)


@given(limited)
def test_limits_survive_json(limits):
    assert Limits.from_json(json.loads(json.dumps(limits.to_json()))) == limits


def test_no_limits_take_no_room():
    assert UNLIMITED.to_json() == {}
