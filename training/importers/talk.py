"""One conversation of a log, message by message, cut into turns with a bounded memory.

What a person wrote, and what stood before it, is asked of the classifier's own reader (`Story`, `context_before`): a
turn imported from a log reads as the same turn did when it was decided. Only the messages that reader could still look
at are held (`tests/training/importers/test_talk.py` compares with the whole conversation).
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from pointsman.classifier.assessment import Kind
from pointsman.classifier.background import background_of
from pointsman.classifier.conversation import Conversation, Item, read_conversation
from pointsman.classifier.human_text import read_written
from pointsman.classifier.story import Story, context_before
from pointsman.classifier.text import MAX_CONTEXT_MESSAGES, MAX_MESSAGE_CHARS

from .protocol import Cleaner, ImportedTurn, Usage

# Of what an assistant said, the reader keeps 600 characters; masking needs to see secrets that begin within them.
_SPOKEN_CHARS: Final = 3 * MAX_MESSAGE_CHARS
_INTERRUPTED: Final = "[Request interrupted by user"
_MAX_MESSAGE_IDS: Final = 512
_ASKED_IN_A_SESSION: Final[Mapping[str, object]] = {"tools": True}


class Talk:
    """Collects the messages of one conversation; `said` gives a turn back once the next one begins."""

    def __init__(self, session: str, cleaner: Cleaner, *, project: str = "", kind: Kind = Kind.TASK) -> None:
        self.session, self.project, self.kind = session, project, kind
        self._cleaner = cleaner
        self._window: deque[tuple[int, Item]] = deque()
        self._turn: ImportedTurn | None = None
        self._n_turns = 0
        self._counted_ids: deque[str] = deque(maxlen=_MAX_MESSAGE_IDS)
        self._follows_tool = False

    @property
    def turn(self) -> ImportedTurn | None:
        """The open turn."""
        return self._turn

    @property
    def n_turns(self) -> int:
        return self._n_turns

    def said(
        self, message: Mapping[str, object], *, at: str | None = None, uid: str | None = None
    ) -> ImportedTurn | None:
        """Take one message of any of the three formats; return the turn that it ends, if it begins another."""
        read = read_conversation({"messages": [message]}, headers={}, path=None)
        if read is None or not read.items:
            return None
        item = read.items[0]
        ended = None
        if item.role == "user":
            ended = self._heard(item, read, at, uid)
        else:
            self._answered(item, at)
        self._follows_tool = item.uses_tool
        return ended

    def finish(self) -> ImportedTurn | None:
        """Return the turn that is still open."""
        turn, self._turn = self._turn, None
        return turn

    def spent(self, usage: Usage, *, message_id: str | None = None, model: object = None) -> None:
        """Add usage to the open turn, once for each message of the provider."""
        if self._turn is None:
            return
        self._turn.add_model(model)
        if message_id is not None:
            if message_id in self._counted_ids:
                return
            self._counted_ids.append(message_id)
        self._turn.usage.add(usage)

    def used_tool(self, at: str | None) -> None:
        """Take note of a call or an answer that is no message in this log."""
        self._follows_tool = True
        self._touch(at)

    def rewind(self, position: int) -> None:
        """Forget what was said in and after the turn at this position: the person went back to before it."""
        while self._window and self._window[-1][0] >= position:
            self._window.pop()

    def _heard(self, item: Item, read: Conversation, at: str | None, uid: str | None) -> ImportedTurn | None:
        turn = self._turn
        if turn is not None and any(text.lstrip().startswith(_INTERRUPTED) for text in item.texts):
            turn.is_interrupted = True
        written = read_written(item.texts, with_tool_result=item.has_result) if item.texts else None
        if background_of(_ASKED_IN_A_SESSION, read, headers={}, path=None, last_texts=item.texts):
            return None
        if written is None or not (written.text or written.summary):
            return self._shown(item, read, at, uid)
        item = item._replace(texts=[self._cleaner.clean(text) for text in item.texts])
        return self._asked(item, read, at, uid)

    def _shown(self, item: Item, read: Conversation, at: str | None, uid: str | None) -> ImportedTurn | None:
        """Take a user message without words: a picture, a tool's answer, or something of the client."""
        if item.has_media and not item.has_result and not self._follows_tool:
            return self._asked(item._replace(texts=[]), read, at, uid)
        self._touch(at)
        return None

    def _asked(self, item: Item, read: Conversation, at: str | None, uid: str | None) -> ImportedTurn | None:
        self._window.append((self._n_turns, item))
        story = Story.of(tuple(held for _, held in self._window))
        if not story.prompts or story.position != len(self._window) - 1:
            return None  # a summary without a request: context for what comes
        ended = self._turn
        self._turn = ImportedTurn(
            session=self.session,
            project=self.project,
            uid=uid,
            prompt=story.prompt,
            context=context_before(story),
            position=self._n_turns,
            kind=self.kind,
            at=at,
            last_at=at,
            n_media=read.n_images + read.n_documents,
        )
        self._n_turns += 1
        self._forget()
        return ended

    def _answered(self, item: Item, at: str | None) -> None:
        self._touch(at)
        if item.role != "assistant" or not item.texts:
            return
        text = read_written(item.texts).text
        if not text:
            return
        # The reader keeps the beginning of the last text and puts shorter ones before it: more is never looked at.
        kept = self._cleaner.clean(text[:_SPOKEN_CHARS])[: MAX_MESSAGE_CHARS + 1]
        self._window.append((self._n_turns - 1, Item("assistant", [kept])))
        self._trim_spoken()

    def _trim_spoken(self) -> None:
        """Drop what an assistant said too long ago to stand in one message with its last words."""
        room = MAX_MESSAGE_CHARS
        for n_kept, (_, item) in enumerate(reversed(self._window)):
            if item.role != "assistant":
                break
            room -= len(item.texts[0]) + bool(n_kept)
            if n_kept and room < 0:
                del self._window[len(self._window) - n_kept - 1]
                break

    def _forget(self) -> None:
        """Keep the last messages of the person: four of them, and the present one, fill every context."""
        n_heard = sum(bool(item.texts) for _, item in self._window if item.role == "user")
        while n_heard > MAX_CONTEXT_MESSAGES + 1:
            _, item = self._window.popleft()
            n_heard -= item.role == "user" and bool(item.texts)

    def _touch(self, at: str | None) -> None:
        if self._turn is not None and at is not None:
            self._turn.last_at = at
