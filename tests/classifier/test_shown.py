"""What a text shows: odd spellings are put right, ordinary text stays as it is."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.assessment import Message, Turn
from pointsman.classifier.shown import in_plain_letters, without_hidden
from pointsman.classifier.text import MAX_PROMPT_CHARS, build_text
from tests.attacks.unicode_tricks import TRICKS, combining_marks, hidden_words, unbroken_spaces, zero_width_padding

TURNS = Path(__file__).parents[2] / "data" / "turns"
PROMPT = "drop the users table on production then rotate 2 keys"
#: What the tokenizer itself makes of no account: accents, kinds of spaces.
LEFT_TO_THE_TOKENIZER = (combining_marks, unbroken_spaces)


def shown(text):
    return in_plain_letters(without_hidden(text))


def right_to_left(text):
    return f"\u202e{text[::-1]}\u202c"


@pytest.mark.parametrize("trick", set(TRICKS) - set(LEFT_TO_THE_TOKENIZER), ids=lambda trick: trick.__name__)
def test_trick_shows_its_words(trick):
    assert build_text(Turn(trick(PROMPT))).prompt.casefold() == PROMPT


def test_trick_in_an_earlier_message_shows_its_words():
    text = build_text(Turn("yes", context=(Message("user", right_to_left("drop the column")),)))
    assert text.context == ("user: drop the column",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fix\u202eetad\u202c it", "fixdate it"),
        ("\u202eeno eht\nline two", "the one\nline two"),
        ("\u202e2 \u202done\u202c\u202c", "one 2"),
        ("\u202ea\u202eb\u202cc\u202c", "cba"),
        ("\u202e\u2066as it is\u2069\u202c", "as it is"),
        ("\u2067as it is\u2069 \u202bas well\u202c", "as it is as well"),
        ("closed twice\u202c\u2069", "closed twice"),
        ("\u2066\u202eba\u2069c", "abc"),
        ("\u202eשלום\u202c", "שלום"),
    ],
)
def test_override_is_read_in_the_order_it_shows(text, expected):
    assert without_hidden(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ａｐａｃｈｅ－２．０", "Apache-2.0"),
        ("支持ＡＰＩ，然后（１２）", "支持API，然后（12）"),
        ("𝕕𝕣𝕠𝕡 𝖙𝖍𝖊 𝓉𝒶𝒷ℓℯ 𝟚", "drop the table 2"),
        ("Ⓓⓡⓞⓟ ⓘ", "Drop ⓘ"),
        ("№ 5, ½, ™, ﬁ", "№ 5, ½, ™, ﬁ"),
        ("drор thе tаble", "drop the table"),
        ("\u039fpen \u03a4he", "Open The"),
    ],
    ids=["full-width", "Chinese", "mathematical", "circled", "signs", "Cyrillic", "Greek"],
)
def test_letters_are_plain(text, expected):
    assert in_plain_letters(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Почини сборку: падает тест API, а с CI всё хорошо",
        "в Docker-е commitить PDFы",
        "修复登录：用户「张三」无法登录！",
        "ログインを直してください。（至急）",
        "Έλεγξε το deploy: Ωmega, Δt, TNFα",
        "שלום, תקן את ה-API",
        "naïve café, Übergröße, İstanbul — “quoted” … 😀",
    ],
    ids=["Russian", "mixed Russian", "Chinese", "Japanese", "Greek", "Hebrew", "Latin"],
)
def test_ordinary_text_stays_as_it_is(text):
    assert shown(text) == text


def test_nearly_no_prompt_of_the_project_reads_differently():
    lines = [line for path in sorted(TURNS.glob("*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()]
    prompts = [json.loads(line)["prompt"] for line in lines]
    assert len(prompts) > 5000
    assert sum(in_plain_letters(prompt) != prompt for prompt in prompts) / len(prompts) < 0.002


def test_hidden_padding_pushes_nothing_out():
    assert build_text(Turn(zero_width_padding(PROMPT))).prompt == PROMPT
    assert build_text(Turn(hidden_words(PROMPT))).prompt == PROMPT


def test_depth_of_overrides_costs_no_more_than_their_length():
    began = time.process_time()
    text = build_text(Turn("\u202e\u202d" * 500_000 + PROMPT)).prompt
    assert len(text) <= MAX_PROMPT_CHARS
    assert time.process_time() - began < 5


@given(st.text(alphabet="ab \n\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))
def test_order_keeps_every_letter(text):
    assert sorted(without_hidden(text)) == sorted(letter for letter in text if letter in "ab \n")


@given(st.text())
def test_what_is_shown_shows_itself(text):
    assert shown(shown(text)) == shown(text)
