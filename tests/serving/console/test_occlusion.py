"""Words are left out once each, and the whole prompt is in their parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.assessment import Turn
from pointsman.serving.console.occlusion import MAX_PARTS, effects, parts_of, without_each

from ..clients import RACE
from ..fakes import FakeAssessor


@given(st.text(max_size=2000))
def test_parts_are_the_prompt_and_bounded(prompt):
    parts = parts_of(prompt)
    assert "".join(parts) == prompt
    assert len(parts) <= MAX_PARTS


def test_each_part_is_left_out_once():
    parts = parts_of("fix the race")
    assert [turn.prompt for turn in without_each(Turn("fix the race"), parts)] == ["the race", "fix race", "fix the"]


def test_single_word_leaves_a_placeholder():
    assert without_each(Turn("help"), ["help"])[0].prompt == "…"


def test_word_that_decides_has_the_effect():
    turn, assessor = Turn(RACE), FakeAssessor()
    parts = parts_of(RACE)
    found = effects(parts, assessor.assess([turn])[0], assessor.assess(without_each(turn, parts)))
    moved = {part.text.strip(): part.care for part in found if part.care}
    assert list(moved) == ["race"]
    assert moved["race"] == pytest.approx(max(part.care for part in found))
