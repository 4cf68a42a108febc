"""`Turn` to model input; the one function that training and serving share.

A text is a pair of segments: what the person wrote, and what stood before it. Long prompts keep their head
and tail, because people put the request first or last and paste logs in between. Earlier messages come
newest first, each with a budget of its own, so that the message being answered is never pushed out. What a text
shows counts, not how its code points spell that (`shown`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .assessment import Message, Turn
from .shown import in_plain_letters, without_hidden

#: Earlier messages that are read, and the characters kept of each.
MAX_CONTEXT_MESSAGES: Final = 4
MAX_MESSAGE_CHARS: Final = 600

#: A token is at least one character, so this many characters always fill the largest prompt budget,
#: and the tokenizer never sees a megabyte.
MAX_PROMPT_CHARS: Final = 6000

#: Characters without a width are looked for among this many times the characters that are kept.
PADDING: Final = 10

_GAP: Final = " … "


@dataclass(frozen=True, slots=True)
class Text:
    """Model input before tokenisation: the prompt, and earlier messages newest first with their role."""

    prompt: str
    context: tuple[str, ...]


def cut_middle(text: str, max_chars: int, *, head_share: float = 2 / 3) -> str:
    """Keep the head and the tail of a long text, `max_chars` characters at most."""
    if len(text) <= max_chars:
        return text
    room = max_chars - len(_GAP)
    head = int(room * head_share)
    return text[:head] + _GAP + text[len(text) - (room - head) :]


def build_text(turn: Turn) -> Text:
    """Build the model input of one turn."""
    return text_of(turn.prompt, turn.context)


def text_of(prompt: str, context: Sequence[Message]) -> Text:
    """Build the model input from a prompt and the messages before it, oldest first."""
    recent = context[-MAX_CONTEXT_MESSAGES:]
    return Text(
        prompt=_kept(prompt, MAX_PROMPT_CHARS),
        context=tuple(_render(message) for message in reversed(recent) if message.text.strip()),
    )


def _render(message: Message) -> str:
    return f"{message.role}: {_kept(message.text, MAX_MESSAGE_CHARS)}"


def _kept(text: str, max_chars: int) -> str:
    text = text.strip()
    if text.isascii():
        return cut_middle(text, max_chars)
    shown = without_hidden(cut_middle(text, PADDING * max_chars))
    return in_plain_letters(cut_middle(shown, max_chars))
