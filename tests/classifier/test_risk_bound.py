"""The bundle's promise: read, written, shown, and kept by the policy whatever prices say."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.bundle import load_bundle, write_manifest
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import BundleCorruptError
from pointsman.classifier.labels import CATEGORIES, RISKS, SCOPES, needs_care
from pointsman.classifier.limits import Limits
from pointsman.classifier.policy import Policy, choose, keep
from pointsman.classifier.risk_bound import RiskBound, bound_for, promise_for, promises_of
from pointsman.classifier.router import Router
from pointsman.classifier.session import SessionState
from tests.classifier.test_policy import assessments, turns
from tests.fakes import FakeAssessor, asked, assessed

CATALOG = Catalog.load("anthropic-dashscope")
FRUGAL = Policy.load("frugal")
CAREFUL, CHEAP = "claude-opus-5-5", "claude-haiku-5-5"
BOUND = RiskBound(0.05, 0.9, threshold=0.2, n_turns=500, n_needs_care=160, cheap_share=0.4, reason=None)
NO_BOUND = RiskBound(0.05, 0.9, None, 40, 3, None, "3 turns that need care are too few; 45 are needed")
KEPT = Limits(care_threshold=0.2)

#: Worth no careful model to the frugal preset, yet above the threshold.
RISKY = assessed("debugging", "medium", "multi", sure=0.9)


def weigh(assessment, turn=None, *, policy=FRUGAL, limits=KEPT, session=None):
    return choose(turn or asked(), assessment, session, CATALOG, policy, limits=limits)


@pytest.mark.parametrize("category", ["debugging", "docs"])
@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("scope", SCOPES)
def test_care_probability_of_sure_labels_is_the_definition(category, risk, scope):
    assert assessed(category, risk, scope).care_probability == pytest.approx(float(needs_care(category, risk, scope)))


def test_care_probability_by_hand():
    assessment = assessed("debugging", "medium", "file", sure=0.7)
    hard = 0.7 + 2 * 0.3 / (len(CATEGORIES) - 1)
    assert assessment.care_probability == pytest.approx(0.15 + 0.7 * (1 - (1 - hard) * (1 - 0.15)))


def test_bound_outweighs_prices():
    assert weigh(RISKY, limits=Limits()).model == CHEAP
    bounded = weigh(RISKY)
    assert bounded.model == CAREFUL
    assert "risk_bound" in bounded.codes
    assert any(reason.startswith("Care probability 0.88 is above the risk bound's 0.20") for reason in bounded.reasons)
    assert {e.model for e in bounded.excluded if e.code == "risk_bound"} == {CHEAP, "qwen3-coder-plus"}


@given(assessments, turns, st.floats(0, 1))
def test_no_cheap_model_above_the_threshold_while_another_takes_the_request(assessment, turn, threshold):
    choice = weigh(assessment, turn, limits=Limits(care_threshold=threshold))
    reserve = FRUGAL.reserve(turn)
    held = [m for m in CATALOG.candidates() if m.tier != "cheap"]
    able = [m for m in held if m.obstacle(turn.needs, turn.context_tokens, reserve) is None]
    if assessment.care_probability > threshold and able:
        assert CATALOG.rank(choice.model) > 0
        assert all(CATALOG.rank(name) > 0 for name in choice.fallbacks)


@given(assessments, turns)
def test_bound_changes_nothing_below_its_threshold(assessment, turn):
    limits = Limits(care_threshold=assessment.care_probability)
    assert weigh(assessment, turn, limits=limits) == weigh(assessment, turn, limits=Limits())


def test_bound_ends_a_cheap_session():
    choice = weigh(replace(RISKY, turn=assessed(turn="follow").turn), session=SessionState(model=CHEAP, turn_key="t"))
    assert (choice.model, choice.sticky) == (CAREFUL, False)


def test_bound_leaves_a_turn_under_way_alone():
    session = SessionState(model=CHEAP, turn_key="t", assessment=RISKY)
    assert keep(asked(step=2), session, CATALOG, FRUGAL, limits=KEPT).model == CHEAP


def test_only_a_policy_that_says_so_turns_the_bound_off(tmp_path):
    path = tmp_path / "ours.yaml"
    path.write_text("extends: frugal\nenforce_risk_bound: false\n")
    off = weigh(RISKY, policy=Policy.load(path))
    assert off.model == CHEAP
    assert "risk_bound_off" in off.codes
    assert all(Policy.load(name).enforce_risk_bound for name in ("frugal", "balanced", "careful"))


def test_bound_that_no_model_can_keep_is_said():
    choice = weigh(RISKY, limits=replace(KEPT, models=frozenset({CHEAP})))
    assert choice.model == CHEAP
    assert "risk_bound_unmet" in choice.codes


def test_room_to_grow_is_worth_less_than_the_promise():
    turn = asked(context_tokens=170_000)
    limits = replace(KEPT, models=frozenset({"claude-opus-4-5", CHEAP}))
    grown = assessed("debugging", "medium", "repo", sure=0.9)
    assert weigh(grown, turn, limits=replace(limits, care_threshold=None)).model == CHEAP
    assert weigh(grown, turn, limits=limits).model == "claude-opus-4-5"


def test_router_keeps_the_promise_of_its_bundle_and_records_the_threshold():
    assessor = FakeAssessor(default=RISKY)
    assert Router(assessor, CATALOG, FRUGAL).decide_turn(asked()).model == CHEAP
    assessor.risk_bounds = (BOUND,)
    decision = Router(assessor, CATALOG, FRUGAL).decide_turn(asked())
    assert (decision.model, decision.limits.care_threshold) == (CAREFUL, 0.2)
    assert decision.stakes.care_probability == pytest.approx(RISKY.care_probability)


def test_bundle_without_a_threshold_promises_nothing():
    assessor = FakeAssessor(default=RISKY)
    assessor.risk_bounds = (NO_BOUND,)
    assert Router(assessor, CATALOG, FRUGAL).decide_turn(asked()).model == CHEAP


WIDER = replace(BOUND, max_missed=0.2, threshold=0.5, cheap_share=0.7, n_groups=40, n_effective=90.5)


@pytest.mark.parametrize(
    ("max_missed", "kept"),
    [(0.05, (0.05, 0.2)), (0.19, (0.05, 0.2)), (0.2, (0.2, 0.5)), (0.9, (0.2, 0.5)), (0.01, (0.05, 0.2))],
    ids=["as asked", "stricter", "as asked, wider", "the widest", "none so strict"],
)
def test_policy_keeps_the_widest_promise_it_asks_for(max_missed, kept):
    assert promise_for(promises_of((NO_BOUND, BOUND, WIDER)), max_missed) == kept


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_asking_for_less_never_raises_the_threshold(rows, one, other):
    promises = tuple(
        zip(sorted({share for share, _ in rows}), sorted(threshold for _, threshold in rows), strict=False)
    )
    low, high = promise_for(promises, min(one, other)), promise_for(promises, max(one, other))
    assert low[1] <= high[1]


def test_bundle_without_any_threshold_keeps_no_promise():
    assert promise_for(promises_of((NO_BOUND,)), 0.5) is None
    assert bound_for((NO_BOUND,), 0.5) is None


def test_each_policy_keeps_its_own_promise_of_one_bundle():
    assessor = FakeAssessor(default=assessed("docs", "high", sure=0.4))
    assessor.risk_bounds = (BOUND, WIDER)
    router = Router(assessor, CATALOG, replace(FRUGAL, max_missed=0.05))
    wide = replace(FRUGAL, max_missed=0.2)
    kept = [
        router.decide_turn(asked(session=name), policy=policy).limits.care_threshold
        for name, policy in (("one", None), ("other", wide))
    ]
    assert kept == [0.2, 0.5]
    assert router.risk_bound == BOUND


def test_presets_ask_for_less_the_more_careful_they_are():
    asked_for = [Policy.load(name).max_missed for name in ("careful", "balanced", "frugal")]
    assert asked_for == sorted(set(asked_for))


@pytest.mark.parametrize("bounds", [(BOUND, WIDER), (NO_BOUND,), ()], ids=["with", "refused", "without"])
def test_manifest_carries_the_bounds(tiny_bundle_copy, bounds):
    manifest = load_bundle(tiny_bundle_copy).manifest
    write_manifest(tiny_bundle_copy, replace(manifest, risk_bounds=bounds))
    assert load_bundle(tiny_bundle_copy).manifest.risk_bounds == bounds


@pytest.mark.parametrize("bound", [BOUND, None], ids=["with", "without"])
def test_bundle_of_format_1_brings_its_one_bound(tiny_bundle_copy, bound):
    manifest = json.loads((tiny_bundle_copy / "manifest.json").read_text())
    manifest.pop("risk_bounds", None)
    old = None if bound is None else {name: getattr(BOUND, name) for name in RiskBound.__slots__[:7]}
    (tiny_bundle_copy / "manifest.json").write_text(json.dumps(manifest | {"format": 1, "risk_bound": old}))
    assert load_bundle(tiny_bundle_copy).manifest.risk_bounds == (() if bound is None else (BOUND,))


@pytest.mark.parametrize(
    "change",
    [{"threshold": 1.5}, {"threshold": "high"}, {"n_needs_care": 501}, {"threshold": None}, {"confidence": None}],
    ids=str,
)
def test_senseless_bound_is_refused(tiny_bundle_copy, change):
    with pytest.raises(BundleCorruptError, match=r"manifest\.json: .*Fetch the bundle again"):
        load_bundle(with_bounds(tiny_bundle_copy, [asdict(BOUND) | change]))


def test_wider_promise_with_a_lower_threshold_is_refused(tiny_bundle_copy):
    with pytest.raises(BundleCorruptError, match="a wider promise has a lower threshold"):
        load_bundle(with_bounds(tiny_bundle_copy, [asdict(BOUND), asdict(replace(WIDER, threshold=0.1))]))


def with_bounds(folder, bounds):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"risk_bounds": bounds}))
    return folder


def test_bound_explains_itself():
    assert BOUND.describe().startswith("at most 5% of turns that need care miss a careful model, at 90% confidence")
    assert WIDER.describe().endswith("(160 of 500 calibration turns needed care in 40 groups)")
    assert NO_BOUND.describe() == f"no risk bound of 5%: {NO_BOUND.reason}"
