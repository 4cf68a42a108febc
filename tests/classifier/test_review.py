"""The queue asks first for the labels that would change decisions most, and not for one thing twice."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.assessment import Kind
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.labels import HEADS
from pointsman.classifier.limits import Limits
from pointsman.classifier.policy import Policy, choose
from pointsman.classifier.records import DecisionRecord
from pointsman.classifier.replay.case import certain
from pointsman.classifier.review import Candidate, label_value, review_queue
from pointsman.classifier.router import Router
from tests.classifier.test_policy import assessments
from tests.fakes import FakeAssessor, asked, assessed, head

CATALOG = Catalog.load("anthropic-dashscope")
POLICY = Policy.load("balanced")
BOUND = Limits(care_threshold=0.03)
SURE = assessed("debugging", "low", "file", sure=1.0)
TORN = replace(SURE, risk=replace(SURE.risk, probabilities=(0.5, 0.0, 0.5)))


def value(assessment, **fields):
    return label_value(Candidate("a", asked(context_tokens=40_000), assessment, **fields), CATALOG, POLICY)


def queue(*candidates, **options):
    return [item.id for item in review_queue(candidates, CATALOG, POLICY, **options)]


def candidate(name, assessment=TORN, embedding=None):
    return Candidate(name, asked(context_tokens=40_000), assessment, embedding=embedding)


def test_label_that_is_known_already_is_worth_nothing():
    assert value(SURE) == pytest.approx((0.0, 0.0))


def test_doubt_between_models_is_worth_what_it_costs():
    found = value(TORN)
    costs = {
        cost.model: cost for cost in choose(asked(context_tokens=40_000), TORN, None, CATALOG, POLICY).expected_cost
    }
    low = choose(asked(context_tokens=40_000), SURE, None, CATALOG, POLICY)
    taken, other = min(costs.values(), key=lambda cost: cost.total).model, low.model
    assert taken != other
    by_model = {cost.model: cost.total for cost in low.expected_cost}
    assert found.usd == pytest.approx(0.5 * (by_model[taken] - by_model[other]), rel=0.02)
    assert found.change_probability == pytest.approx(0.5)


def test_doubt_that_no_model_depends_on_is_worth_nothing():
    torn = replace(SURE, turn=head("turn", "new", 0.4))
    assert value(torn) == pytest.approx((0.0, 0.0))


def test_turn_held_by_the_risk_bound_alone_is_worth_a_label():
    nearly = replace(assessed("docs", "low", "file"), risk=replace(SURE.risk, probabilities=(0.96, 0.0, 0.04)))
    assert value(nearly, limits=BOUND).change_probability > 0.9
    assert value(nearly).change_probability < 0.1


def test_novel_turn_is_worth_more():
    assert value(replace(SURE, novelty=1.0)).usd > value(SURE).usd + 0.01


@given(assessments)
def test_value_is_never_negative_and_change_a_probability(assessment):
    found = value(assessment, limits=BOUND)
    assert found.usd >= 0
    assert 0 <= found.change_probability <= 1 + 1e-9


@given(assessments)
def test_knowing_every_label_leaves_nothing_to_ask(assessment):
    known = certain(assessment, {name: getattr(assessment, name).label for name in HEADS})
    assert value(replace(known, novelty=0.0), limits=BOUND) == pytest.approx((0.0, 0.0))


def test_queue_begins_with_what_changes_most():
    assert queue(candidate("sure", SURE), candidate("torn", TORN)) == ["torn", "sure"]


def test_queue_asks_for_one_of_two_that_are_alike():
    x, y = np.eye(2, dtype=np.float32)
    some = replace(TORN, risk=replace(TORN.risk, probabilities=(0.7, 0.0, 0.3)))
    found = queue(candidate("a", embedding=x), candidate("again", embedding=x), candidate("other", some, y))
    assert found == ["a", "other", "again"]


def test_queue_prefers_a_turn_that_stands_for_many():
    x, y = np.eye(2, dtype=np.float32)
    crowd = [candidate(f"many{i}", embedding=x) for i in range(3)]
    assert queue(candidate("lone", embedding=y), *crowd)[0] == "many0"


def test_queue_passes_over_what_is_known():
    x, y = np.eye(2, dtype=np.float32)
    assert queue(candidate("a", embedding=x), candidate("b", embedding=y), known=[x]) == ["b", "a"]


@given(st.lists(assessments, max_size=6), st.integers(1, 4))
def test_queue_holds_each_turn_once(found, limit):
    names = queue(*(candidate(str(i), item) for i, item in enumerate(found)), limit=limit)
    assert len(names) == len(set(names)) == min(limit, len(found))


def test_record_becomes_a_candidate_where_something_was_weighed():
    router = Router(FakeAssessor(default=TORN), CATALOG, POLICY)
    turn = asked(context_tokens=40_000)
    record = DecisionRecord.of(turn, router.decide_turn(turn), created_at="2026-11-22T00:00:00.000000Z")
    made = Candidate.of(record)
    assert made is not None
    assert label_value(made, CATALOG, POLICY).usd > 0
    assert Candidate.of(replace(record, kind=Kind.BACKGROUND)) is None
    assert review_queue([None], CATALOG, POLICY) == []
