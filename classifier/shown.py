"""What a text shows, where its code points say something else.

Text can be written so that a person reads one thing and a tokenizer another: run from right to left by a control
character, padded with characters that nothing shows, spelled in mathematical or full-width letters or with Cyrillic
ones among Latin. Each is put back into what a person sees. Text that does none of this comes back as it is: Russian
and Greek words, accents, Chinese and Japanese punctuation keep their own characters.

The same functions in JavaScript: `serving/clients/js/in-process/shown.cjs`.
"""

import re
import unicodedata
from typing import Final

# The bidirectional algorithm (UAX 9): what opens an embedding, an override or an isolate, what ends them, and how deep
# they may lie in one another.
_OVERRIDE: Final = "\u202e"
_OPENED: Final = (
    dict.fromkeys("\u202a\u202b\u202d", "run") | {_OVERRIDE: "turned"} | dict.fromkeys("\u2066\u2067\u2068", "isolate")
)
_POP, _POP_ISOLATE = "\u202c", "\u2069"
_MAX_DEPTH: Final = 125
_LINE_ENDS: Final = frozenset("\n\r\u2029")
_BIDI: Final = re.compile("([\u202a-\u202e\u2066-\u2069\n\r\u2029])")
_RIGHT_TO_LEFT: Final = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")

# Characters without a width: marks of direction, joiners, soft hyphens, selectors of a variant, tags.
_HIDDEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]+"
)

# Letters and digits that differ from plain ones in style alone. Full-width punctuation counts between such letters
# only; circled and squared letters count in words only: alone they are signs.
_WIDE: Final = "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a"
_SCRIPT: Final = "\u2102\u210a-\u2113\u2115\u2119-\u211d\u2124\u2128\u212c\u212d\u212f-\u2131\u2133\u2134"
_STYLED: Final = re.compile(
    f"[{_WIDE}](?:[\uff01-\uff5e]*[{_WIDE}])?"
    f"|[{_SCRIPT}\U0001d400-\U0001d7ff]+|[\u24b6-\u24e9]{{2,}}|[\U0001f130-\U0001f149]{{2,}}"
)

# Cyrillic and Greek letters whose usual shape is that of a Latin one.
_ALIKE: Final = dict(
    zip(
        "асеһіјӏорԛѕуѵԝхԁАВСЕԌНІЈКМОРԚЅТѴԜХУοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
        "acehijlopqsyvwxdABCEGHIJKMOPQSTVWXYoABEZHIKMNOPTYX",
        strict=True,
    )
)
_ALIKE_CHARS: Final = "".join(_ALIKE)
_MIXED: Final = re.compile(f"[A-Za-z][{_ALIKE_CHARS}]|[{_ALIKE_CHARS}][A-Za-z]")
# One look that settles most texts.
_ODD: Final = re.compile(f"[{_ALIKE_CHARS}{_SCRIPT}{_WIDE}\u24b6-\u24e9\U0001d400-\U0001d7ff\U0001f130-\U0001f149]")
_WORD: Final = re.compile("[A-Za-z\u00c0-\u024f\u0370-\u052f]+")
_ONE_SCRIPT: Final = str.maketrans(_ALIKE)


def without_hidden(text: str) -> str:
    """Put runs that are forced from right to left into the order they are read in, and drop what has no width."""
    if not _HIDDEN.search(text):
        return text
    return _HIDDEN.sub("", _in_order(text) if _OVERRIDE in text else text)


def in_plain_letters(text: str) -> str:
    """Spell styled letters plainly, and words of Latin letters with none of another script among them."""
    if not _ODD.search(text):
        return text
    text = _STYLED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    if _MIXED.search(text):
        text = _WORD.sub(lambda found: _in_one_script(found[0]), text)
    return text


def _in_order(text: str) -> str:
    """Turn around what an override shows from right to left; a run inside it that goes on as usual is not turned.

    Letters that are read from right to left by themselves stay as they are: the override changes nothing for them.
    """
    kinds = [""]
    runs: list[list[str]] = [[]]

    def close() -> None:
        kind, run = kinds.pop(), "".join(runs.pop())
        is_turned = (kind == "turned") != (kinds[-1] == "turned") and not _RIGHT_TO_LEFT.search(run)
        runs[-1].append(run[::-1] if is_turned else run)

    for piece in _BIDI.split(text):
        if piece in _OPENED:
            if len(kinds) <= _MAX_DEPTH:
                kinds.append(_OPENED[piece])
                runs.append([])
        elif piece == _POP:
            if kinds[-1] in {"run", "turned"}:
                close()
        elif piece == _POP_ISOLATE:
            if "isolate" in kinds:
                while kinds[-1] != "isolate":
                    close()
                close()
        else:
            # The end of a line ends every run.
            while piece in _LINE_ENDS and len(kinds) > 1:
                close()
            runs[-1].append(piece)
    while len(kinds) > 1:
        close()
    return "".join(runs[0])


def _in_one_script(word: str) -> str:
    """Return a word of Latin letters and of others that look like some in Latin letters alone."""
    others = {letter for letter in word if not letter.isascii()}
    return word.translate(_ONE_SCRIPT) if others <= _ALIKE.keys() and len(others) < len(set(word)) else word
