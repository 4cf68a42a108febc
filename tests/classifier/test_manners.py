"""The table of a session's manners, row by row, and what holds whatever it is asked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.assessment import CandidateCost
from pointsman.classifier.manners import TABLE, settle

RANKS = {"strong": 2, "strong too": 2, "middling": 1, "weak": 0, "weak too": 0}


def cost(model, total):
    return CandidateCost(model, total, 0.0, 0.0)


def settled(costs, present, situation, margin=0.1):
    ordered = sorted(costs, key=lambda c: c.total)
    return settle(
        ordered,
        present,
        situation,
        rank=RANKS.__getitem__,
        margin=margin,
        careful=("strong", "strong too"),
        escalate_after=2,
    )


# From a model that costs 1.00, to one of another tier at 0.50: is it taken?
ROWS = {
    "first": {"up": True, "level": True, "down": True},
    "new": {"up": True, "level": True, "down": True},
    "follow": {"up": True, "level": False, "down": False},
    "correct": {"up": True, "level": False, "down": False},
    "subagent": {"up": True, "level": True, "down": False},
}
MOVES = {"up": ("weak", "strong"), "level": ("weak", "weak too"), "down": ("strong", "weak")}


@pytest.mark.parametrize("situation", ROWS)
@pytest.mark.parametrize("move", MOVES)
def test_table_allows(situation, move):
    present, other = MOVES[move]
    chosen, _ = settled([cost(present, 1.0), cost(other, 0.5)], present, situation)
    assert (chosen.model == other) is ROWS[situation][move]


def test_every_situation_has_its_row():
    assert set(TABLE) == {*ROWS, "pressed"}


@pytest.mark.parametrize(("gain", "moves"), [(0.09, False), (0.11, True)])
def test_follow_up_needs_a_margin_and_a_correction_none(gain, moves):
    costs = [cost("weak", 1.0), cost("strong", 1.0 - gain)]
    assert (settled(costs, "weak", "follow")[0].model == "strong") is moves
    assert settled(costs, "weak", "correct")[0].model == "strong"


def test_pressed_session_gets_a_careful_model_whatever_it_costs():
    costs = [cost("weak", 0.1), cost("strong too", 9.0), cost("strong", 10.0)]
    assert settled(costs, "weak", "pressed")[0].model == "strong too"
    assert settled(costs, "strong", "pressed")[0].model == "strong"
    assert settled(costs[:1], "weak", "pressed")[0].model == "weak"


situations = st.sampled_from(sorted(TABLE))
candidates = st.dictionaries(st.sampled_from(sorted(RANKS)), st.floats(0, 100), min_size=1).map(
    lambda found: [cost(model, total) for model, total in found.items()]
)
models = st.sampled_from(sorted(RANKS))


@given(candidates, models, situations)
def test_going_down_takes_a_boundary_and_a_gain(costs, present, situation):
    chosen, _ = settled(costs, present, situation)
    stay = next((c for c in costs if c.model == present), None)
    if stay is not None and RANKS[chosen.model] < RANKS[present] and situation != "first":
        assert situation == "new"
        assert chosen.total < stay.total


@given(candidates, models, situations)
def test_moving_always_pays_unless_the_session_is_pressed(costs, present, situation):
    chosen, _ = settled(costs, present, situation)
    stay = next((c for c in costs if c.model == present), chosen)
    assert situation == "pressed" or chosen.total <= stay.total


@given(candidates, models, st.sampled_from(["follow", "correct", "subagent"]))
def test_a_model_that_cannot_go_on_is_left_upwards_where_possible(costs, present, situation):
    others = [c for c in costs if c.model != present] or [cost("strong", 1.0)]
    chosen, _ = settled(others, present, situation)
    able = [c for c in others if RANKS[c.model] >= RANKS[present]]
    assert chosen in able or not able


@given(candidates, models, situations)
def test_choice_is_one_of_the_candidates_and_says_why(costs, present, situation):
    chosen, note = settled(costs, present, situation)
    assert chosen in costs
    assert (note is None) == (situation == "first")
