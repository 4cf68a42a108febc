"""What makes two turns copies: the words of the prompt and of what stood before it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.training.pipeline.words import marks_of, similarity, words_of

LONG = "The ferry leaves the quay at noon and comes back with the tide when the lamp of the tower is lit"


@pytest.mark.parametrize(
    ("text", "words"),
    [("Fix it, NOW!", ["fix", "it", "now"]), ("修复bug", ["修", "复", "bug"]), ("?!", ["?!"]), ("", [])],
    ids=["signs and case", "unspaced script", "signs only", "empty"],
)
def test_words_are_read_in_every_script(text, words):
    assert words_of(text) == words


def test_case_and_signs_make_no_other_digest():
    assert marks_of("Fix the lamp!", ["Done."]).digest == marks_of("fix  the lamp", ["done"]).digest


def test_digest_tells_prompt_and_context_apart():
    assert marks_of("fix", ["the lamp"]).digest != marks_of("fix the", ["lamp"]).digest


def test_nearly_equal_turns_meet_in_a_band():
    one, other = (marks_of(f"{LONG} {LONG[::-1]} {end}", [LONG]).bands for end in ("today", "again"))
    assert set(zip(range(8), one, strict=True)) & set(zip(range(8), other, strict=True))


def test_short_answers_to_one_message_are_not_alike():
    assert similarity(("yes", [LONG]), ("no, still wrong", [LONG])) == 0.0


def test_same_prompt_after_other_messages_is_not_alike():
    assert similarity(("continue", [LONG]), ("continue", ["The lamp is broken"])) < 0.2


@given(st.text(max_size=60), st.lists(st.text(max_size=40), max_size=3))
def test_every_turn_is_like_itself(prompt, context):
    assert similarity((prompt, context), (prompt, context)) == 1.0
    assert marks_of(prompt, context) == marks_of(prompt, context)
