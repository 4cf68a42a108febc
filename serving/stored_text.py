"""What is kept of a person's words where the service stores text: bounded, and without secrets and names."""

from dataclasses import replace
from typing import Final

from pointsman.classifier.assessment import Message
from pointsman.classifier.masking import Masker
from pointsman.classifier.records import DecisionRecord, FeedbackRecord
from pointsman.classifier.text import MAX_MESSAGE_CHARS, MAX_PROMPT_CHARS

_GAP: Final = " … "


class TextKeeper:
    """Makes records fit to be stored; slow (milliseconds a text), so never called on the event loop."""

    def __init__(self) -> None:
        self._masker = Masker()

    def decision(self, record: DecisionRecord) -> DecisionRecord:
        """Return the record with what may be kept of its text."""
        if record.prompt is None:
            return record
        context = tuple(Message(said.role, self._kept(said.text, MAX_MESSAGE_CHARS)) for said in record.context or ())
        return replace(record, prompt=self._kept(record.prompt, MAX_PROMPT_CHARS), context=context)

    def feedback(self, record: FeedbackRecord) -> FeedbackRecord:
        """Return the record with what may be kept of its comment."""
        return record if record.comment is None else replace(record, comment=self._masker.clean(record.comment))

    def _kept(self, text: str, max_chars: int) -> str:
        return self._masker.clean(shortened(text.strip(), max_chars))


def without_text(record: DecisionRecord) -> DecisionRecord:
    """Return the record as a service keeps it that stores no text."""
    return record if record.prompt is None else replace(record, prompt=None, context=None)


def shortened(text: str, max_chars: int) -> str:
    """Keep head and tail of a long text, as the model reads it, cut between words: half a secret is not recognised."""
    if len(text) <= max_chars:
        return text
    head_chars = 2 * (max_chars - len(_GAP)) // 3
    tail_chars = max_chars - len(_GAP) - head_chars
    head, tail = text[: head_chars + 1], text[-tail_chars - 1 :]
    return f"{_up_to_last_space(head)}{_GAP}{_up_to_last_space(tail[::-1])[::-1]}"


def _up_to_last_space(text: str) -> str:
    """Leave out the word at the end, which may be cut; all of it where it is one word."""
    whole = text.rstrip()
    if len(whole) < len(text):
        return whole
    cut = max((i for i, letter in enumerate(text) if letter.isspace()), default=0)
    return text[:cut].rstrip()
