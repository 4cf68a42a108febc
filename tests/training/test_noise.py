"""Noise for training: the request stays, its clothes change."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.assessment import Message
from pointsman.training import robustness
from pointsman.training.noise import (
    _HOUSE_RULES,
    _OPENERS,
    add_rules,
    disturb,
    lay_out,
    mistype,
    open_with,
    recase,
    without_answers,
)

PROMPT = "The invoice job fails at night. Please look at src/jobs/invoice.py, and fix it!"


def chance(seed=1):
    return random.Random(seed)


@given(st.text(min_size=1), st.integers(0, 1000))
def test_a_prompt_never_becomes_empty(prompt, seed):
    assert disturb(chance(seed), prompt)


def test_the_same_chance_gives_the_same_noise():
    assert [disturb(chance(7), PROMPT) for _ in range(3)] == [disturb(chance(7), PROMPT)] * 3


def test_most_prompts_change():
    assert sum(disturb(chance(seed), PROMPT) != PROMPT for seed in range(200)) > 150


def test_slips_hit_some_longer_words_and_no_short_one():
    texts = [mistype(chance(seed), PROMPT) for seed in range(50)]
    assert any(text != PROMPT for text in texts)
    assert all(" at " in text and " job " in text and len(text.split()) == len(PROMPT.split()) for text in texts)


def test_case_changes_letters_and_end_marks_only():
    texts = {recase(chance(seed), PROMPT) for seed in range(50)}
    assert len(texts) > 3
    assert all("src/jobs/invoice.py" in text.lower() for text in texts)


def test_layout_keeps_every_word():
    for seed in range(50):
        assert set(PROMPT.split()) <= set(lay_out(chance(seed), PROMPT).split())


@pytest.mark.parametrize("way", [open_with, add_rules])
def test_what_is_added_stands_beside_the_whole_prompt(way):
    texts = [way(chance(seed), PROMPT) for seed in range(50)]
    assert all(PROMPT in text and len(text) > len(PROMPT) for text in texts)


def test_rules_come_before_and_after():
    places = {add_rules(chance(seed), PROMPT).startswith(PROMPT) for seed in range(20)}
    assert places == {True, False}


def test_no_phrase_of_the_robustness_measurement_is_trained_on():
    measured = " ".join(
        block for change in robustness.PERTURBATIONS for block in change.apply(chance(), "PROMPT")
    ).lower()
    for phrase in (*_OPENERS, *_HOUSE_RULES):
        assert phrase.strip().lower() not in measured


def test_a_context_without_answers_keeps_what_the_person_said_in_order():
    context = [Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    assert [message.text for message in without_answers(context)] == ["a", "c"]
