"""Chat histories of aider: `.aider.chat.history.md`, one file per repository.

`# aider chat started at` opens a session, `#### ` begins each line of a prompt, `> ` what aider itself says; the rest
is the model's answer. A fourth-level heading of an answer looks like a prompt: it is taken for one unless it stands in
a code block.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from .protocol import Cleaner, ImportedTurn, Location, Problems, Usage
from .talk import Talk

_STARTED: Final = "# aider chat started at "
_PROMPT: Final = re.compile(r"####(?: (.*))?$")
_FENCE: Final = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_ASKING: Final = re.compile(r"/(?:ask|code|architect|context|chat-mode \w+)\s+(?=\S)")
_MODEL: Final = re.compile(r"> (?:Main m|M)odel: (\S+)")
_TOKENS: Final = re.compile(
    r"> Tokens: ([\d.,]+k?) sent(?:, ([\d.,]+k?) cache write)?(?:, ([\d.,]+k?) cache hit)?, ([\d.,]+k?) received"
    r"(?:\. Cost: \$([\d.]+) message)?"
)
_INTERRUPTED: Final = re.compile(r"> (?:\^C|.*KeyboardInterrupt)")
_MAX_LINE_CHARS: Final = 1_000_000


class AiderImporter:
    """Reads one history."""

    kind = "aider"

    def recognises(self, location: Location, head: str) -> bool:
        return head.lstrip().startswith(_STARTED) or location.address.endswith(".aider.chat.history.md")

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        folder = str(PurePath(location.address).parent)
        cleaner.learn_path(folder)
        history = _History(location.address, folder, cleaner)
        with open(location.address, encoding="utf-8", errors="replace", newline=None) as lines:
            while line := lines.readline(_MAX_LINE_CHARS):
                yield from history.read(line.rstrip("\n"))
        yield from history.finish()


@dataclass(slots=True)
class _History:
    address: str
    folder: str
    cleaner: Cleaner
    talk: Talk | None = None
    model: str | None = None
    prompt: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)
    fence: str | None = None

    def read(self, line: str) -> Iterator[ImportedTurn]:
        if self.fence is None and line.startswith(_STARTED):
            yield from self.finish()
            started = line.removeprefix(_STARTED).strip()
            self.talk = Talk(f"{self.address}#{started}", self.cleaner, project=self.folder)
        elif self.fence is None and (asked := _PROMPT.match(line)):
            self._end_answer()
            self.prompt.append((asked[1] or "").rstrip())
        else:
            yield from self._end_prompt()
            self._said(line)

    def finish(self) -> Iterator[ImportedTurn]:
        yield from self._end_prompt()
        self._end_answer()
        self.fence = None
        if self.talk is not None and (turn := self.talk.finish()) is not None:
            yield turn
        self.talk = None

    def _said(self, line: str) -> None:
        if fence := _FENCE.match(line):
            if self.fence is None:
                self.fence = fence[1]
            elif fence[1].startswith(self.fence) and not line.strip(" `~"):
                self.fence = None
        if self.fence is None and line.startswith(">"):
            self._note(line)
        elif self.talk is not None:
            self.answer.append(line)

    def _note(self, line: str) -> None:
        turn = None if self.talk is None else self.talk.turn
        if found := _MODEL.match(line):
            self.model = found[1]
        if self.talk is None or turn is None:
            return
        if found := _TOKENS.match(line):
            sent, written, hit, received = map(_count, found.groups()[:4])
            usage = Usage(max(0, sent - hit), hit, written, received, 1, float(found[5] or 0))
            self.talk.spent(usage, model=self.model)
        elif _INTERRUPTED.match(line):
            turn.is_interrupted = True

    def _end_answer(self) -> None:
        text, self.answer = "\n".join(self.answer).strip(), []
        if text and self.talk is not None:
            self.talk.said({"role": "assistant", "content": text})

    def _end_prompt(self) -> Iterator[ImportedTurn]:
        text, self.prompt = "\n".join(self.prompt).strip(), []
        if not text or self.talk is None:
            return
        text = _ASKING.sub("", text, count=1) if _ASKING.match(text) else text
        if text.startswith("/undo") and self.talk.turn is not None:
            self.talk.turn.is_undone = True
        if text.startswith(("/", "!")) or text == "<blank>":
            return
        if (ended := self.talk.said({"role": "user", "content": text})) is not None:
            yield ended


def _count(text: str | None) -> int:
    """Read aider's short form of a number of tokens: `5.8k`, `1,024`."""
    if not text:
        return 0
    number = text.rstrip("k").replace(",", "").strip(".")
    try:
        return round(float(number) * (1000 if text.endswith("k") else 1))
    except ValueError:
        return 0
