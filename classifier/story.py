"""Where the person speaks in a conversation: the present prompt, what stood before it, what came after.

A *prompt* is a user message with words of the person left, never simply the last message: that one may be a tool's
result, a notification or a reminder.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

from .assessment import Kind, Message
from .conversation import Item
from .human_text import Written, read_written
from .identity import hash_parts, normalised, storable
from .text import MAX_CONTEXT_MESSAGES, MAX_MESSAGE_CHARS

_WORDLESS: Final = Written("")
#: Many people begin with the same words and get "Hello! How can I help you?"; nobody shares a paragraph.
DISTINCT_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Story:
    """Where the person speaks in a conversation.

    `written` holds every user message by its position, stripped; `prompts` the positions of those that are a turn.
    """

    items: tuple[Item, ...]
    written: dict[int, Written]
    prompts: tuple[int, ...]

    @classmethod
    def of(cls, items: tuple[Item, ...]) -> "Story":
        written = {
            # Most user messages of a long session hold a tool's answer and no text.
            i: read_written(item.texts, with_tool_result=item.has_result) if item.texts else _WORDLESS
            for i, item in enumerate(items)
            if item.role == "user"
        }
        return cls(items, written, tuple(i for i, kept in written.items() if kept.text or _is_picture(items, i)))

    @property
    def position(self) -> int:
        """Position of the present prompt; -1 when there is none."""
        return self.prompts[-1] if self.prompts else -1

    @property
    def prompt(self) -> str:
        return self.written[self.position].text if self.prompts else ""

    @property
    def first_prompt(self) -> str:
        return self.written[self.prompts[0]].text if self.prompts else ""

    @property
    def summary(self) -> str:
        """The client's summary of what was said before this conversation; empty when it has not compacted."""
        return next((kept.summary for kept in self.written.values() if kept.summary), "")

    @property
    def last_texts(self) -> list[str]:
        """The text blocks of the present prompt as sent."""
        return self.items[self.position].texts if self.prompts else []

    @property
    def followers(self) -> tuple[Item, ...]:
        """What came after the present prompt: the tool loop so far."""
        return self.items[self.position + 1 :]


def _is_picture(items: tuple[Item, ...], i: int) -> bool:
    """Say whether a message without text shows something a person sent: clients put a tool's images there, too."""
    item = items[i]
    return item.has_media and not item.has_result and not (i and items[i - 1].uses_tool)


def kind_of(story: Story, *, is_subagent: bool) -> Kind:
    """Tell a new turn from one that goes on.

    An assistant message right behind the prompt may be a prefill, which is part of the new turn. Behind an answer,
    whatever follows without a person's words (a notification, a reminder) goes on with the turn.
    """
    if any(item.uses_tool for item in story.followers) or (story.summary and not story.prompts):
        return Kind.TOOL_LOOP
    answered = False
    for item in story.followers:
        if item.role == "assistant":
            answered = True
        elif answered and item.role in ("system", "user"):
            return Kind.TOOL_LOOP
    return Kind.SUBAGENT if is_subagent else Kind.TASK


def context_before(story: Story) -> tuple[Message, ...]:
    """Collect the messages before the prompt, newest first, and return the last four, oldest first.

    What an assistant says between two prompts is one message, however many tool calls interrupt it.
    """
    if not story.prompts:
        return ()
    found: list[Message] = []
    spoken: list[str] = []
    if summary := story.written[story.position].summary:
        found.append(cut_message("user", summary))
    for i in range(story.position - 1, -1, -1):
        if len(found) >= MAX_CONTEXT_MESSAGES:
            break
        item = story.items[i]
        if item.role == "assistant" and (text := read_written(item.texts).text):
            spoken.append(text)
        elif item.role == "user" and story.written[i] != _WORDLESS:
            found.extend(_spoken_message(spoken))
            spoken.clear()
            found.extend(cut_message("user", text) for text in story.written[i] if text)
    found.extend(_spoken_message(spoken))
    return tuple(reversed(found[:MAX_CONTEXT_MESSAGES]))


def _spoken_message(spoken: list[str]) -> list[Message]:
    """Join what an assistant said, given newest first: the last text whole, as many before it as fit."""
    if not spoken:
        return []
    joined = spoken[0]
    for text in spoken[1:]:
        if len(text) + 1 + len(joined) > MAX_MESSAGE_CHARS:
            break
        joined = f"{text}\n{joined}"
    return [cut_message("assistant", joined)]


def cut_message(role: str, text: str) -> Message:
    """Cut an earlier message from its head, as the rows of the training data are."""
    return Message(role, storable(text[:MAX_MESSAGE_CHARS]))


class Chain(NamedTuple):
    """Hashes of a conversation up to the prompt before the present one, and up to the present one.

    `is_distinct` says whether `before` holds so much of what the assistant said that no other conversation gives it.
    """

    before: str
    after: str
    is_distinct: bool


NO_CHAIN: Final = Chain("", "", is_distinct=False)


def chain_of(story: Story) -> Chain:
    """Hash a conversation whose client does not name its session: `after` of a turn is `before` of the next.

    Tool results, reminders and the system prompt are left out, since clients rewrite them as a session goes on.
    """
    if not story.prompts and not story.summary:
        return NO_CHAIN
    before = state = hash_parts("anonymous", normalised(story.summary))
    n_before = n_said = len(story.summary)
    answers: list[str] = []
    for i, item in enumerate(story.items[: story.position + 1]):
        if item.role == "assistant":
            answers.extend(map(normalised, item.texts))
        elif i in story.written and (story.written[i].text or i == story.position):
            before, state = state, hash_parts(state, *filter(None, answers), normalised(story.written[i].text))
            n_before, n_said = n_said, n_said + sum(map(len, answers))
            answers = []
    return Chain(f"anon:{before}", f"anon:{state}", n_before >= DISTINCT_CHARS)
