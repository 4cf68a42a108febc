"""The bundle's promise: read, written, shown, and kept by the policy whatever prices say."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.bundle import load_bundle, write_manifest
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import BundleCorruptError
from pointsman.classifier.labels import CATEGORIES, RISKS, SCOPES, needs_care
from pointsman.classifier.limits import Limits
from pointsman.classifier.policy import Policy, choose, keep
from pointsman.classifier.risk_bound import RiskBound
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
    assessor.risk_bound = BOUND
    decision = Router(assessor, CATALOG, FRUGAL).decide_turn(asked())
    assert (decision.model, decision.limits.care_threshold) == (CAREFUL, 0.2)
    assert decision.stakes.care_probability == pytest.approx(RISKY.care_probability)


def test_bundle_without_a_threshold_promises_nothing():
    assessor = FakeAssessor(default=RISKY)
    assessor.risk_bound = NO_BOUND
    assert Router(assessor, CATALOG, FRUGAL).decide_turn(asked()).model == CHEAP


@pytest.mark.parametrize("bound", [BOUND, NO_BOUND, None], ids=["with", "refused", "without"])
def test_manifest_carries_the_bound(tiny_bundle_copy, bound):
    manifest = load_bundle(tiny_bundle_copy).manifest
    write_manifest(tiny_bundle_copy, replace(manifest, risk_bound=bound))
    assert load_bundle(tiny_bundle_copy).manifest.risk_bound == bound


def test_bundle_of_before_stays_readable(tiny_bundle_copy):
    path = tiny_bundle_copy / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["risk_bound"]
    path.write_text(json.dumps(manifest))
    assert load_bundle(tiny_bundle_copy).manifest.risk_bound is None


@pytest.mark.parametrize(
    "change",
    [{"threshold": 1.5}, {"threshold": "high"}, {"n_needs_care": 501}, {"threshold": None}, {"confidence": None}],
    ids=str,
)
def test_senseless_bound_is_refused(tiny_bundle_copy, change):
    manifest = json.loads((tiny_bundle_copy / "manifest.json").read_text())
    bound = {name: getattr(BOUND, name) for name in BOUND.__slots__} | change
    (tiny_bundle_copy / "manifest.json").write_text(json.dumps(manifest | {"risk_bound": bound}))
    with pytest.raises(BundleCorruptError, match=r"manifest\.json: .*Fetch the bundle again"):
        load_bundle(tiny_bundle_copy)


def test_bound_explains_itself():
    assert BOUND.describe().startswith("at most 5% of turns that need care miss a careful model, at 90% confidence")
    assert NO_BOUND.describe() == f"no risk bound: {NO_BOUND.reason}"
