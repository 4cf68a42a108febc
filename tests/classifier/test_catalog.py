import re
from dataclasses import replace
from datetime import date

import pytest

from pointsman.classifier.assessment import CAPABILITIES
from pointsman.classifier.catalog import Catalog, profile_names
from pointsman.classifier.errors import ConfigError
from pointsman.classifier.evidence import Tally
from pointsman.classifier.labels import CATEGORIES
from pointsman.classifier.limits import Limits
from pointsman.classifier.policy import Policy, choose, policy_names
from pointsman.classifier.router import Router
from tests.fakes import FakeAssessor, asked, assessed

SMALL = """\
back_off_trials: 8
families:
  - name: big
    trials: 8
    source: assumption
    failure: {"*": 0.2, docs: 0.05}
  - {name: little, trials: 8, source: assumption, failure: {"*": 0.4}}
models:
  - name: strong
    provider: here
    family: big
    context: 200000
    max_output: 64000
    prices: [{input: 5, output: 25, cache_read: 0.5, cache_write: 6.25}]
    as_of: 2026-11-22
    source: a page
    capabilities: [tools, images]
    cache_ttl_s: 300
  - like: strong
roles: {careful: strong, cheap: weak, background: weak, default: strong}
"""
SMALL = SMALL.replace(
    "  - like: strong\n",
    """\
  - name: weak
    provider: there
    family: little
    context: 100000
    input_max: 90000
    max_output: 8000
    prices:
      - {up_to: 32000, input: 1, output: 5}
      - {input: 2, output: 10}
    assumed: [prices]
    as_of: 2026-11-22
    source: a page
    capabilities: tools
    cache_ttl_s: 0
    evidence:
      - {category: debugging, successes: 3, trials: 5, source: a trial, date: 2026-01-01}
""",
)


@pytest.fixture
def load(tmp_path):
    """Load a small catalogue with one text of it replaced by another."""

    def load(old="", new="", text=SMALL):
        path = tmp_path / "small.yaml"
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return Catalog.load(path)

    return load


def test_small_catalogue_is_read_as_written(load):
    catalog = load()
    strong, weak = catalog.models
    assert (strong.context, strong.input_max, strong.max_output) == (200_000, 200_000, 64_000)
    assert weak.tiers[0].cache_read == weak.tiers[0].cache_write == weak.tiers[0].input == 1.0
    assert weak.capabilities == {"tools"}
    assert weak.assumed == ("prices",)
    assert (catalog.rank("strong"), catalog.rank("weak"), catalog.rank("unheard of")) == (2, 0, 1)


@pytest.mark.parametrize(("tokens", "price"), [(0, 1.0), (32_000, 1.0), (32_001, 2.0), (10**9, 2.0)])
def test_tier_follows_input_size(load, tokens, price):
    assert load().model("weak").prices(tokens).input == price


@pytest.mark.parametrize(
    ("tokens", "reserve", "needs", "obstacle"),
    [
        (90_000, 8_000, "tools", None),
        (90_001, 8_000, "tools", "window of 90000 tokens"),
        (90_000, 20_000, "tools", None),  # no answer is longer than max_output, whatever is reserved
        (10, 10, "images", "not known to take images"),
        (10, 10, "thinking_adaptive", None),
    ],
    ids=["fits", "too long", "reserve above max_output", "hard capability", "soft capability"],
)
def test_model_names_its_obstacle(load, tokens, reserve, needs, obstacle):
    found = load().model("weak").obstacle(frozenset({needs}), tokens, reserve)
    assert found is None if obstacle is None else obstacle in found[1]


def test_reserved_output_counts_against_the_window(load):
    strong = load().model("strong")
    assert strong.obstacle(frozenset(), 192_000, 8_000) is None
    assert strong.obstacle(frozenset(), 192_001, 8_000) == ("window", "whose window of 200000 tokens is too small")


# Each mistake: what is replaced, by what, on which line it is then found, in which field, with which words.
MISTAKES = {
    "unknown field": ("provider: here", "providor: here", 10, "models[0].providor", "Did you mean 'provider'?"),
    "missing field": ("    provider: here\n", "", 9, "models[0].provider", "found no such field"),
    "field twice": ("source: a page", "source: a page\n    source: b", 17, "models[0].source", "found the field twice"),
    "wrong type": ("context: 200000", "context: large", 12, "models[0].context", "found text ('large'); expected a wh"),
    "truth for a number": ("    trials: 8", "    trials: yes", 4, "families[0].trials", "found true or false ('yes')"),
    "negative price": ("output: 25", "output: -25", 14, "models[0].prices[0].output", "found -25; expected a number"),
    "not a number": ("output: 25", "output: .nan", 14, "models[0].prices[0].output", "found nan"),
    "no date": ("as_of: 2026-11-22", "as_of: lately", 15, "models[0].as_of", "expected a date like 2026-11-22"),
    "no such day": ("as_of: 2026-11-22", "as_of: 2026-13-45", 15, "models[0].as_of", "expected a date like"),
    "duplicate name": ("- name: weak", "- name: strong", 19, "models[1].name", "found 'strong' twice"),
    "unknown family": ("family: big", "family: huge", 11, "models[0].family", "expected one of big, little"),
    "unknown capability": ("[tools, images]", "[tools, imges]", 17, "models[0].capabilities", "found 'imges'"),
    "unknown category": ("category: debugging", "category: bugs", 34, "models[1].evidence[0].category", "found 'bugs'"),
    "more successes than trials": ("successes: 3", "successes: 6", 34, "evidence[0].successes", "0 to 5"),
    "certain prior": ('"*": 0.4', '"*": 0', 7, "families[1].failure.*", "from 0.001 to 0.999"),
    "role without a model": ("careful: strong", "careful: stronk", 35, "roles.careful", "found 'stronk'; expected one"),
    "role missing": (", default: strong", "", 35, "roles.default", "found no such field"),
    "two backgrounds": ("background: weak", "background: [weak, strong]", 35, "roles.background", "found 2 models"),
    "careful and cheap": ("cheap: weak", "cheap: [weak, strong]", 35, "roles.cheap", "which is careful too"),
    "tiers out of order": ("{input: 2,", "{up_to: 9, input: 2,", 27, "models[1].prices[1].up_to", "an end to the last"),
    "input above context": ("input_max: 90000", "input_max: 190000", 23, "models[1].input_max", "at most the context"),
    "empty prices": ("[{input: 5, output: 25, cache_read: 0.5, cache_write: 6.25}]", "[]", 14, "prices", "empty list"),
    "prices no list": ("[{input: 5, output: 25, cache_read: 0.5, cache_write: 6.25}]", "5", 14, "prices", "a list"),
    "model no mapping": ("  - name: weak\n", "  - weak\n  - name: weak\n", 19, "models[1]", "expected fields with val"),
    "no YAML": ("roles: {", "roles: {{", 36, "file", "expected YAML"),
    "unknown library": ("back_off_trials: 8", "library: nowhere", 1, "library", "found no such file; expected a path"),
}


@pytest.mark.parametrize(("old", "new", "line", "field", "words"), MISTAKES.values(), ids=MISTAKES)
def test_mistake_is_named_by_file_line_and_field(load, old, new, line, field, words):
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        load(old, new)
    assert f"small.yaml:{line}: " in str(caught.value)
    assert field in caught.value.field


def test_missing_catalogue_lists_the_profiles():
    with pytest.raises(ConfigError, match="expected a path, or one of anthropic-dashscope, anthropic-ollama"):
        Catalog.load("no-such-profile")


def test_every_mistake_says_what_to_do(load):
    for old, new, *_ in MISTAKES.values():
        with pytest.raises(ConfigError, match=r"found .*; expected .*\. .+\.$|Did you mean .*\?$"):
            load(old, new)


def test_row_like_another_takes_what_it_leaves_out(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "library: library\nmodels:\n  - like: claude-opus-5-5\n    name: mine\n    context: 300000\n"
        "  - like: claude-haiku-5-5\nroles: {careful: mine, cheap: claude-haiku-5-5,"
        " background: claude-haiku-5-5, default: mine}\n"
    )
    mine = Catalog.load(path).model("mine")
    shipped = Catalog.load("anthropic-dashscope").model("claude-opus-5-5")
    assert mine == replace(shipped, name="mine", context=300_000, input_max=300_000)


def test_mistake_in_an_inherited_field_names_the_own_row(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("library: library\nmodels:\n  - like: claude-opus-6\nroles: {}\n")
    with pytest.raises(ConfigError, match=r"mine.yaml:3: models\[0\].like: found 'claude-opus-6'; expected one of"):
        Catalog.load(path)


def test_version_changes_with_content_and_not_with_comments(load):
    version = load().version
    assert load("back_off_trials: 8", "# about right\nback_off_trials: 8").version == version
    assert load("output: 25", "output: 26").version != version


def test_yaml_tags_build_nothing(load):
    with pytest.raises(ConfigError, match="expected"):
        load("provider: here", "provider: !!python/object/apply:os.getcwd []")


@pytest.mark.parametrize("profile", profile_names())
@pytest.mark.parametrize("preset", policy_names())
def test_shipped_profile_and_preset_fit(profile, preset):
    catalog = Catalog.load(profile)
    Policy.load(preset).check(catalog)
    assert len(catalog.models) >= 4
    for model in catalog.models:
        assert model.capabilities <= set(CAPABILITIES)
        assert len(model.failure) == len(CATEGORIES)
        assert all(0 < rate < 1 for rate in model.failure)


@pytest.mark.parametrize("profile", profile_names())
def test_careful_models_fail_less_where_it_is_hard_and_hardly_less_where_it_is_easy(profile):
    catalog = Catalog.load(profile)
    hard = {"debugging", "migration", "security", "infrastructure", "refactoring", "feature"}
    for careful in catalog.roles["careful"]:
        for cheap in catalog.roles["cheap"]:
            pairs = zip(CATEGORIES, catalog.model(careful).failure, catalog.model(cheap).failure, strict=True)
            for category, low, high in pairs:
                gap = high - low
                assert gap > 0.03 if category in hard else -0.03 <= gap <= 0.04, (careful, cheap, category)


def test_newest_careful_model_is_no_worse_and_no_dearer_than_the_ones_behind_it():
    catalog = Catalog.load("anthropic-dashscope")
    newest, older = (catalog.model(name) for name in catalog.roles["careful"])
    assert all(a <= b for a, b in zip(newest.failure, older.failure, strict=True))
    assert newest.prices(0).input < older.prices(0).input


def test_default_profile_has_the_published_prices():
    catalog = Catalog.load("anthropic-dashscope")
    opus, qwen = catalog.model("claude-opus-5-5").prices(0), catalog.model("qwen3-coder-plus")
    assert (opus.input, opus.output, opus.cache_read) == (4, 20, 0.20)
    assert [(t.up_to, t.input, t.output) for t in qwen.tiers] == [
        (32_000, 1, 5),
        (128_000, 1.8, 9),
        (256_000, 3, 15),
        (None, 6, 60),
    ]
    assert qwen.input_max == 997_952
    assert {"claude-opus-4-5", "claude-opus-5-5"} == set(catalog.roles["careful"])


def test_role_says_the_tier_and_else_the_row():
    catalog = Catalog.load("anthropic-dashscope")
    tiers = {model.name: model.tier for model in catalog.models}
    assert tiers["claude-opus-5-5"] == "careful"
    assert tiers["claude-haiku-4-5"] == "cheap"  # it has no role here: its row says so
    assert tiers["claude-sonnet-5-5"] == "standard"
    assert [catalog.rank(name) for name in tiers] == [
        {"careful": 2, "standard": 1, "cheap": 0}[t] for t in tiers.values()
    ]


def test_role_outweighs_the_tier_of_a_library(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "library: library\nmodels:\n  - like: claude-opus-5-5\n  - like: claude-haiku-5-5\n"
        "roles: {careful: claude-haiku-5-5, cheap: claude-opus-5-5, background: claude-haiku-5-5,"
        " default: claude-haiku-5-5}\n"
    )
    assert [model.tier for model in Catalog.load(path).models] == ["cheap", "careful"]


CURRENCIES = "currencies: [{name: CNY, usd: 0.14, as_of: 2026-11-20, source: a bank}]\n"


def test_prices_in_another_currency_are_converted(load):
    text = CURRENCIES + SMALL.replace("provider: there", "provider: there\n    currency: CNY")
    weak = load(text=text).model("weak")
    assert (weak.currency, weak.prices(0).input) == ("CNY", pytest.approx(0.14))
    assert weak.prices(0).cache_write == pytest.approx(0.14)
    assert load(text=text).currencies[0].source == "a bank"


def test_unknown_currency_and_tier_are_named(load):
    with pytest.raises(ConfigError, match=r"models\[1\]\.currency: found 'CNY'; expected one of USD"):
        load("provider: there", "provider: there\n    currency: CNY")
    with pytest.raises(ConfigError, match=r"models\[1\]\.tier: found 'dear'; expected one of careful, standard, cheap"):
        load("provider: there", "provider: there\n    tier: dear")


EFFORTS = """capabilities: [tools, images, effort]
    efforts:
      - {name: low, output: 0.4, failure_odds: 2, source: a trial}
      - {name: high, output: 1.5, failure_odds: 0.5, source: a trial}
"""


def test_effort_is_weighed_with_its_model(load):
    catalog = load("capabilities: [tools, images]\n", EFFORTS)
    policy = Policy.load("balanced")
    allowed = Limits(models=frozenset({"strong"}))
    easy = choose(asked(), assessed("docs", "low", "file"), None, catalog, policy, limits=allowed)
    hard = choose(asked(), assessed("debugging", "high", "file"), None, catalog, policy, limits=allowed)
    assert (easy.effort, hard.effort) == ("low", "high")
    assert hard.expected_cost[0].failure_probability == pytest.approx(1 / 9)  # odds of 1/4, halved
    assert easy.expected_cost[0].tokens < hard.expected_cost[0].tokens


def test_effort_of_a_turn_stays_along_its_loop(load):
    catalog = load("capabilities: [tools, images]\n", EFFORTS)
    router = Router(FakeAssessor(default=assessed("debugging", "high")), catalog, Policy.load("balanced"))
    assert [router.decide_turn(asked(step=i)).effort for i in range(3)] == ["high"] * 3


def test_efforts_need_the_capability(load):
    with pytest.raises(ConfigError, match=r"models\[0\]\.efforts: found efforts of a model that takes none"):
        load("capabilities: [tools, images]\n", EFFORTS.replace(", effort]", "]"))


def test_cheap_models_drift_over_a_whole_code_base():
    catalog = Catalog.load("anthropic-dashscope")
    for name, drifts in (("claude-opus-5-5", False), ("claude-haiku-5-5", True), ("qwen3-coder-plus", True)):
        file, multi, repo = catalog.model(name).posterior.rates[:3]
        assert file == multi
        assert (repo > multi) is drifts


def test_outcomes_make_another_version_and_leave_the_rest():
    catalog = Catalog.load("anthropic-dashscope")
    failed = catalog.with_outcomes({"claude-haiku-5-5": [Tally(30, 40)] * len(CATEGORIES)}, date(2026, 11, 22))
    assert failed.model("claude-haiku-5-5").failure[0] > catalog.model("claude-haiku-5-5").failure[0]
    assert failed.model("claude-opus-5-5") == catalog.model("claude-opus-5-5")
    assert failed.version.startswith(catalog.version + "+")
    assert failed.with_outcomes({}, date(2026, 11, 22)).models == catalog.models


def test_files_of_a_catalogue_and_a_policy_are_known():
    assert [path.name for path in Catalog.load("kimi").files] == ["kimi.yaml", "library.yaml"]
    assert [path.name for path in Policy.load("frugal").files] == ["frugal.yaml", "balanced.yaml"]
