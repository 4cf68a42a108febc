"""What a prompt looks like, without its words: how long it is, and in which script it is written."""

import re
from typing import Final

_SCANNED_CHARS: Final = 400
_SCRIPTS: Final = (
    ("kana", re.compile(r"[\u3040-\u30ff]")),
    ("han", re.compile(r"[\u4e00-\u9fff]")),
    ("hangul", re.compile(r"[\uac00-\ud7af]")),
    ("cyrillic", re.compile(r"[\u0400-\u04ff]")),
    ("arabic", re.compile(r"[\u0600-\u06ff]")),
    ("devanagari", re.compile(r"[\u0900-\u097f]")),
    ("latin", re.compile(r"[A-Za-z]")),
)


def script_of(text: str) -> str:
    """Return the script of a prompt's beginning: the first of those that is not Latin, where there is one."""
    start = text[:_SCANNED_CHARS]
    scripts = _SCRIPTS[-1:] if start.isascii() else _SCRIPTS
    return next((name for name, letters in scripts if letters.search(start)), "other")
