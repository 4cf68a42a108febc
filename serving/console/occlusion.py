"""Which words moved the assessment: each is left out once, and the difference is its effect.

What this is not: a proof. Words act together, a word that occurs twice covers for itself, and words beyond the model's
budget have no effect at all. Long prompts are taken in groups of words, so that the number of runs stays bounded.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from pointsman.classifier.assessment import Assessment, Turn

#: Runs of the model for one prompt, at most.
MAX_PARTS: Final = 60
_WORD: Final = re.compile(r"\S+\s*|^\s+")
#: Effects below this are noise of the quantised graph.
LEAST: Final = 0.005


class Part(NamedTuple):
    """A word, or a few, and by how much it raised two probabilities: that care is needed, and that of the category."""

    text: str
    care: float
    category: float


def parts_of(prompt: str) -> list[str]:
    """Cut a prompt into words, or into groups of words where there are many; together they are the prompt."""
    words = _WORD.findall(prompt)
    size = max(1, math.ceil(len(words) / MAX_PARTS))
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]


def without_each(turn: Turn, parts: Sequence[str]) -> list[Turn]:
    """Return the turn with each part left out once."""
    return [
        # A single word leaves nothing: the ellipsis stands for "some prompt".
        replace(turn, prompt="".join((*parts[:place], *parts[place + 1 :])).strip() or "…")
        for place in range(len(parts))
    ]


def effects(parts: Sequence[str], whole: Assessment, left_out: Sequence[Assessment]) -> list[Part]:
    """Compare each assessment without a part to the one of the whole prompt."""
    label = whole.category.label
    return [
        Part(text, whole.care_probability - other.care_probability, whole.category.of(label) - other.category.of(label))
        for text, other in zip(parts, left_out, strict=True)
    ]
