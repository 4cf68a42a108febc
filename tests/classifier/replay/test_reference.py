"""References do what they say: one tier for everything, or a look at the words."""

from dataclasses import replace

import pytest

from pointsman.classifier.assessment import Turn
from pointsman.classifier.replay.reference import all_on, by_keywords, sounds_alarming
from tests.fakes import asked

from .stories import BALANCED, CAREFUL, CATALOG, CHEAP, HARD, LOCAL, background, case


def models(taken):
    return [name for name, _ in taken]


def test_every_turn_goes_to_the_first_model_of_the_role():
    cases = [case(1, HARD), case(2)]
    assert models(all_on("careful", cases, CATALOG, BALANCED)) == [CAREFUL, CAREFUL]
    assert models(all_on("cheap", cases, CATALOG, BALANCED)) == [CHEAP, CHEAP]


def test_next_model_of_the_role_takes_what_the_first_cannot():
    rows = tuple(replace(m, input_max=10_000, context=10_000) if m.name == CHEAP else m for m in CATALOG.models)
    small = replace(CATALOG, models=rows)
    assert models(all_on("cheap", [case(1)], small, BALANCED)) == [LOCAL]


def test_other_role_stands_in_where_no_model_of_the_role_fits():
    picture = case(1, turn=asked(needs=frozenset({"images"})))
    rows = tuple(
        replace(m, capabilities=m.capabilities - {"images"}) if m.tier == "cheap" else m for m in CATALOG.models
    )
    assert models(all_on("cheap", [picture], replace(CATALOG, models=rows), BALANCED)) == [CAREFUL]


def test_background_calls_stay_with_the_background_model():
    assert models(all_on("careful", [background()], CATALOG, BALANCED)) == [CHEAP]


@pytest.mark.parametrize(
    ("prompt", "alarming"),
    [
        ("Fix the race condition in checkout", True),
        ("MIGRATE users to the new schema", True),
        ("make the button round", False),
        ("explain what this regex matches", False),
        ("reprod uction of a painting", False),
    ],
)
def test_words_are_looked_for_from_their_beginning(prompt, alarming):
    assert sounds_alarming(prompt) is alarming


def test_keyword_baseline_reads_every_turn_and_keeps_it_over_its_tool_loop():
    loop = replace(asked("deploy it", 1, step=1), prompt="")
    cases = [
        case(1, turn=asked("deploy it", 1)),
        case(2, turn=loop, begins=False, weighed=False),
        case(3, turn=asked("center the title", 3)),
    ]
    assert models(by_keywords(cases, CATALOG, BALANCED)) == [CAREFUL, CAREFUL, CHEAP]


def test_keyword_baseline_needs_text():
    assert by_keywords([case(1, turn=Turn(prompt=""))], CATALOG, BALANCED) is None
