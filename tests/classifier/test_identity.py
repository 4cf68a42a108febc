"""White space counts for nothing in the keys of a turn, and costs no memory worth naming."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier import identity
from pointsman.classifier.identity import normalised


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@given(text=st.text(st.sampled_from(["a", "b", " ", "\n", "\u3000", "\u200b"]), max_size=40))
def test_text_read_in_pieces_is_normalised_as_a_whole(size, text):
    whole = " ".join(text.split())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identity, "_PIECE_CHARS", size)
        assert normalised(text) == whole


def test_text_of_many_words_takes_little_more_memory_than_itself():
    text = "word " * 1_000_000
    tracemalloc.start()
    try:
        normalised(text)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * len(text)
