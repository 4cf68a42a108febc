"""Routers side by side: own cuts by hand, ranking, and figures that a constant cannot inflate."""

import numpy as np
import pytest

from pointsman.training.contenders import Contender, measure, own_split, ranked
from pointsman.training.datasets import Example
from pointsman.training.evaluate import Draws


def example(name, category="docs", risk="low"):
    return Example(
        name, name, "en", name, (), {"category": category, "risk": risk, "scope": "file", "turn": "new"}, 1.0
    )


EXAMPLES = [
    example("a", "debugging", "high"),
    example("b", "debugging", "medium"),
    example("c"),
    example("d", "ui"),
]


def standing(score, **values):
    contender = Contender(name="r", kind="peer", note="", score=np.array(score, dtype=float), **values)
    return measure(contender, EXAMPLES, Draws.of(EXAMPLES, 20))


def test_own_cut_by_hand():
    cut = own_split(np.array([True, False, True, False]), EXAMPLES)
    assert (cut.share, cut.recall, cut.high_risk_recall, cut.informedness) == (0.5, 0.5, 1.0, 0.0)


def test_router_that_sends_everything_up_has_no_informedness():
    assert own_split(np.ones(4, dtype=bool), EXAMPLES).informedness == 0


def test_category_is_measured_where_a_router_has_one():
    assert standing([0, 0, 0, 0], categories=["debugging", "docs", "docs", "docs"]).category_accuracy == 0.5
    assert standing([0, 0, 0, 0]).category_accuracy is None


def test_constant_score_catches_its_share_and_no_more():
    care = standing([1, 1, 1, 1]).care
    assert care.auc == 0.5
    assert care.recall["50%"] == pytest.approx(0.5)


def test_routers_are_ranked_by_care_and_the_undefined_last():
    good, bad = standing([4, 3, 2, 1]), standing([1, 2, 3, 4])
    low = [example("x")]
    unknown = measure(Contender("u", "peer", "", np.zeros(1)), low, Draws.of(low, 5))
    assert ranked([unknown, bad, good]) == [good, bad, unknown]
