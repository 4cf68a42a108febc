"""What the model reads of a turn."""

from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.assessment import Message, Turn
from pointsman.classifier.text import MAX_CONTEXT_MESSAGES, MAX_PROMPT_CHARS, build_text, cut_middle


def test_context_comes_newest_first_with_roles():
    turn = Turn("yes", context=(Message("user", "drop the column"), Message("assistant", "Shall I?")))
    assert build_text(turn).context == ("assistant: Shall I?", "user: drop the column")


def test_empty_messages_are_left_out():
    turn = Turn("yes", context=(Message("user", "  "), Message("assistant", "Shall I?")))
    assert build_text(turn).context == ("assistant: Shall I?",)


def test_only_the_last_messages_are_read():
    turn = Turn("go", context=tuple(Message("user", str(n)) for n in range(9)))
    assert build_text(turn).context == ("user: 8", "user: 7", "user: 6", "user: 5")
    assert len(build_text(turn).context) == MAX_CONTEXT_MESSAGES


def test_long_prompt_keeps_its_head_and_its_tail():
    text = build_text(Turn("FIRST " + "log line\n" * 10_000 + " LAST")).prompt
    assert text.startswith("FIRST")
    assert text.endswith("LAST")
    assert len(text) <= MAX_PROMPT_CHARS


@given(st.text(), st.integers(4, 50))
def test_cut_never_exceeds_its_room(text, room):
    assert len(cut_middle(text, room)) <= max(room, 0)
