"""Noise for training: the same request in other clothes, so that no decision hangs on them.

People mistype, hurry, belittle and paste; clients add text of their own. None of it changes what is asked, hence the
labels stay. `robustness.py` measures flips with noise of its own; no phrase here occurs there.
"""

import random
import re
import string
from collections.abc import Callable, Sequence
from typing import Final

from pointsman.classifier.assessment import Message

_ALPHABET: Final = string.ascii_lowercase
#: Share of longer words that get a slip, drawn anew for each text.
_SLIP_RATES: Final = (0.04, 0.2)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_END_MARKS: Final = re.compile(r"[.,;:!?]+(?=\s|$)")

#: What stands in front of a request without changing it: greetings, haste, belittling, politeness, alarm.
_OPENERS: Final = (
    "hi, ", "hey there! ", "ok so ", "alright. ", "hmm ", "yo, ", "good morning, ", "sorry to bother you again but ",
    "easy one: ", "small thing, ", "super simple, ", "no big deal but ", "tiny fix: ", "this should take a minute: ",
    "nothing fancy, ", "piece of cake for you: ", "a no-brainer: ", "5 min job, ", "minor: ", "low prio, ",
    "ASAP!!! ", "IMPORTANT: ", "need this in ten minutes, ", "critical!! ", "everything is on fire. ", "P0: ",
    "please please ", "could you kindly ", "if you have a moment: ", "carefully now: ", "think hard. ", "ultrathink. ",
)  # fmt: skip

#: House rules and notes as agent files and reminders hold them; they say nothing about the request.
_HOUSE_RULES: Final = (
    "Use pnpm, never npm.",
    "All endpoints need authentication and an audit entry.",
    "Run the linter and the type checker before you finish.",
    "Do not touch the payments module without asking.",
    "Commit messages follow the conventional format.",
    "The production cluster is deployed from the release branch only.",
    "Schema changes are reviewed by the data team.",
    "Write unit tests for new functions.",
    "Components live in src/components, hooks in src/hooks.",
    "Prefer small pull requests.",
    "API tokens are read from the vault at start.",
    "Keep the public interface stable.",
    "Answer briefly and do not repeat the question.",
    "The staging database is a copy of last night's production data.",
    "Errors are logged with a request id.",
    "Document user-visible behaviour in docs/.",
    "Never delete customer data; mark it as removed.",
    "Feature flags are defined in flags.yaml.",
    "Use the existing logger instead of print.",
    "Security fixes need a test that fails without them.",
    "Your task list has unfinished items.",
    "The user opened another file in the editor.",
    "Files were modified since you last read them.",
    "Python code is formatted with black, TypeScript with prettier.",
)
_WRAPS: Final = (
    "<system-reminder>\n{}\n</system-reminder>",
    "<context>\n{}\n</context>",
    "<instructions>{}</instructions>",
    "# Project rules\n{}",
    "NOTE: {}",
    "{}",
)


def disturb(chance: random.Random, prompt: str) -> str:
    """Put a request into other clothes, in one way chosen by chance.

    Parameters
    ----------
    chance : random.Random
        Seeded by the caller.
    prompt : str
        What the person wrote.

    Returns
    -------
    str
        The same request; not empty where `prompt` is not.
    """
    return chance.choice(_WAYS)(chance, prompt) or prompt


def without_answers(context: Sequence[Message]) -> tuple[Message, ...]:
    """Return what the person said; an agent that worked through tools alone has often answered nothing in words."""
    return tuple(message for message in context if message.role == "user")


def mistype(chance: random.Random, prompt: str) -> str:
    """Slip in some of the longer words: a letter lost, doubled, swapped, replaced or added."""
    rate = chance.uniform(*_SLIP_RATES)
    return re.sub(r"[^\W\d_]{4,}", lambda word: _slip(chance, word[0]) if chance.random() < rate else word[0], prompt)


def _slip(chance: random.Random, word: str) -> str:
    i = chance.randrange(len(word) - 1)
    before, letter, following, after = word[:i], word[i], word[i + 1], word[i + 2 :]
    return before + chance.choice(
        (
            following,
            letter + letter + following,
            following + letter,
            chance.choice(_ALPHABET) + following,
            letter + chance.choice(_ALPHABET) + following,
        )
    ) + after  # fmt: skip


def recase(chance: random.Random, prompt: str) -> str:
    """Write all in one case, or leave marks at the ends of words off, or both."""
    cased = chance.choice((str.lower, str.lower, str.upper, str))(prompt)
    return _END_MARKS.sub("", cased) if chance.random() < 0.5 else cased


def lay_out(chance: random.Random, prompt: str) -> str:
    """Write the sentences as a list, a quotation, one line, or under a heading."""
    lines = [part for part in _SENTENCE_END.split(prompt) if part.strip()] or [prompt]
    mark = chance.choice(("- ", "* ", "> ", "  ", "", "1. "))
    heading = chance.choice(("", "", "### Task\n", "## TODO\n\n", "Prompt:\n"))
    joint = chance.choice(("\n", "\n\n", " "))
    return heading + joint.join(mark + line for line in lines)


def open_with(chance: random.Random, prompt: str) -> str:
    """Put a greeting, haste, belittling or alarm in front."""
    return chance.choice(_OPENERS) + prompt


def add_rules(chance: random.Random, prompt: str) -> str:
    """Paste house rules or a client's note in front or behind, in the same text."""
    rules = chance.choice(("\n", " ", "\n- ")).join(chance.sample(_HOUSE_RULES, chance.randint(2, 6)))
    pasted = chance.choice(_WRAPS).format(rules)
    return f"{pasted}\n\n{prompt}" if chance.random() < 0.5 else f"{prompt}\n\n{pasted}"


_WAYS: Final[tuple[Callable[[random.Random, str], str], ...]] = (
    mistype,
    mistype,
    recase,
    lay_out,
    open_with,
    add_rules,
)
