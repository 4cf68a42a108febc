"""What a person wrote in a user message, told apart from what the client put there.

Clients add reminders, environment blocks, command output and notifications to *user* messages. They are recognised only
where a text block starts with them; reminders also at its end, on lines of their own, as where a gateway has joined
blocks. A person who quotes a tag in the middle of a sentence keeps it. Everything works on positions in the block,
never on copies of its rest, so that the time stays linear in the length of the text.

The tags were seen in Claude Code 2.1, Codex 0.169 and opencode 1.18, or are named in the sources of Codex.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

_TAGS: Final = (
    "system-reminder",
    r"local-command-[\w-]+",
    "environment_context",
    "skills_instructions",
    "permissions instructions",
    "user_instructions",
    "task-notification",
    # The editor a client runs in, and shell commands that the person ran beside the conversation.
    "ide_opened_file",
    "ide_selection",
    "ide_diagnostics",
    "bash-input",
    "bash-stdout",
    "bash-stderr",
    "user_shell_command",
    # Codex: an interrupted turn and news of a subagent, both written as user messages.
    "turn_aborted",
    "subagent_notification",
)
_OPENING: Final = re.compile(rf"<({'|'.join(_TAGS)})(?:\s[^<>]*)?>")
_COMMAND: Final = re.compile(r"<command-(name|message|args)>(.*?)</command-\1>", re.DOTALL)
_REMINDER: Final = ("<system-reminder>", "</system-reminder>")
_SPACE: Final = re.compile(r"\s*")

# A mark that stands before (or instead of) a person's words: skip the mark, read on.
_MARK: Final = re.compile(
    r"\[Request interrupted by user[^\]\n]*\]"
    r"|<image name=[^<>\n]*>|</image>"
    r"|Attached (?:image\(s\)|media) from tool result:"
)
# A text the client wrote from end to end.
_NOTICE: Final = re.compile(r"\[SYSTEM NOTIFICATION|Continue if you have next steps, or stop and ask")
_AGENTS_FILE: Final = "# AGENTS.md instructions for "
_AGENTS_END: Final = "</INSTRUCTIONS>"
_EDITOR_PREFACE: Final = ("# Context from my IDE setup:", "# Files mentioned by the user:")
_EDITOR_REQUEST: Final = "## My request for Codex:"
_SKILL_BODY: Final = "Base directory for this skill:"
_SUMMARY: Final = (
    "This session is being continued from a previous conversation",
    "Another language model started to solve this problem and produced a summary",
)

# How anything a client adds can start. Most messages are a person's and are settled by this one look.
_ADDED: Final = re.compile(
    "|".join((r"[<\[]", "Attached ", "Continue if ", *map(re.escape, (*_SUMMARY, _AGENTS_FILE, *_EDITOR_PREFACE))))
)

# Commands that Claude Code carries out itself. Those that expand to a prompt (`/init`, `/review`) are not here.
_LOCAL_COMMAND: Final = re.compile(
    r"/?(?:add-dir|agents|bug|clear|color|compact|config|context|copy|cost|desktop|diff|doctor|effort|exit|export"
    r"|extra-usage|fast|feedback|files|help|hooks|ide|install-github-app|keybindings|login|logout|mcp|memory"
    r"|mobile|model|output-style|passes|permissions|plugin|privacy-settings|quit|rate-limit-options|release-notes"
    r"|reload-plugins|remote-control|rename|resume|rewind|sandbox|skills|stats|status|statusline|stickers"
    r"|tasks|terminal-setup|theme|todos|upgrade|usage|vim)(?!\S)"
)

_SegmentKind = Literal["person", "command", "caveat", "output", "injected", "summary"]
_Segment = tuple[_SegmentKind, str]


class Written(NamedTuple):
    """A user message without what the client added to it."""

    text: str
    summary: str = ""


def read_written(texts: Iterable[str], *, with_tool_result: bool = False) -> Written:
    """Keep a person's words out of the text blocks of one message.

    Parameters
    ----------
    texts : iterable of str
        The text blocks, in order.
    with_tool_result : bool
        The message also answers a tool call; then an expanded skill in it was called by the model, not by the person.

    Returns
    -------
    Written
        `text`: the kept blocks, one per line, a called command as `/name arguments` before its expanded body.
        `summary`: the client's summary of an earlier conversation, which is context and no prompt.
    """
    segments = [segment for text in texts for segment in _segments(text)]
    kept = [
        text
        for i, (kind, text) in enumerate(segments)
        if (kind == "person" and not (with_tool_result and text.startswith(_SKILL_BODY)))
        or (kind == "command" and _is_task(segments, i, with_tool_result=with_tool_result))
    ]
    summary = next((text for kind, text in segments if kind == "summary"), "")
    return Written(_unquoted("\n".join(kept)), summary)


def _segments(text: str) -> Iterator[_Segment]:
    """Cut one text block into what the client added and what is left."""
    position, end = 0, len(text.rstrip())
    while (position := _skip_space(text, position)) < end:
        if not _ADDED.match(text, position):
            yield "person", text[position : _before_reminders(text, position, end)]
            return
        if text.startswith(_SUMMARY, position):
            yield "summary", text[position:end]
            return
        if _NOTICE.match(text, position):
            return
        if opening := _OPENING.match(text, position):
            yield _tag_kind(opening[1]), ""
            position = _end_of_element(text, opening[1], opening.end(), end)
        elif _COMMAND.match(text, position):
            command, position = _read_command(text, position)
            yield "command", command
        else:
            after = _end_of_preface(text, position, end)
            if after == position:
                yield "person", text[position : _before_reminders(text, position, end)]
                return
            position = after


def _skip_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


def _tag_kind(tag: str) -> _SegmentKind:
    if tag == "local-command-caveat":
        return "caveat"
    return "output" if tag.startswith("local-command-") else "injected"


def _end_of_element(text: str, tag: str, position: int, end: int) -> int:
    """Return where the element that was opened before `position` ends.

    A block that ends with the closing tag is one element however many closing tags it quotes. A block that never closes
    its tag is the client's to the end.
    """
    if text.endswith(f"</{tag}>", position, end):
        return end
    depth = 1
    for found in re.compile(rf"<(/?){re.escape(tag)}>").finditer(text, position, end):
        depth += -1 if found[1] else 1
        if depth == 0:
            return found.end()
    return end


def _before_reminders(text: str, position: int, end: int) -> int:
    """Return where a person's words from `position` end, when reminders on lines of their own follow them."""
    opening, closing = _REMINDER
    while text.endswith(closing, position, end):
        start = text.rfind(opening, position, end)
        line = text.rfind("\n", position, start) + 1
        if start < 0 or not line or text[line:start].strip() or text.find(closing, start, end) != end - len(closing):
            break
        while line > position and text[line - 1].isspace():
            line -= 1
        end = line
    return end


def _end_of_preface(text: str, position: int, end: int) -> int:
    """Return where the person's words start behind a mark or preface at `position`; `position` when there is none."""
    if mark := _MARK.match(text, position):
        return mark.end()
    if text.startswith(_AGENTS_FILE, position):
        closing = text.rfind(_AGENTS_END, position, end)
        return end if closing < 0 else closing + len(_AGENTS_END)
    if text.startswith(_EDITOR_PREFACE, position):
        request = text.find(_EDITOR_REQUEST, position, end)
        return position if request < 0 else request + len(_EDITOR_REQUEST)
    return position


def _read_command(text: str, position: int) -> tuple[str, int]:
    """Read the neighbouring `<command-...>` elements as one line: the name and its arguments."""
    found: dict[str, str] = {}
    while element := _COMMAND.match(text, position):
        found.setdefault(element[1], element[2].strip())
        position = _skip_space(text, element.end())
    return f"{found.get('name', '')} {found.get('args', '')}".strip(), position


def _is_task(segments: list[_Segment], i: int, *, with_tool_result: bool) -> bool:
    """Say whether the command at `i` asks the model for something.

    Not when the client carried it out itself: a caveat or its output stands beside it, or it is known to and expands to
    nothing. Nor when the model called a skill: that comes with a tool result and a name without a slash.
    """
    command = segments[i][1]
    before = segments[i - 1][0] if i else None
    after = segments[i + 1][0] if i + 1 < len(segments) else None
    if before == "caveat" or after == "output" or (_LOCAL_COMMAND.match(command) and after != "person"):
        return False
    return bool(command) and (command.startswith("/") or not with_tool_result)


def _unquoted(text: str) -> str:
    """Take off the quotation marks that `opencode run` puts around a prompt of several words."""
    inner = text[1:-1]
    if len(text) < 3 or text[0] != '"' or text[-1] != '"' or '"' in inner.replace('\\"', ""):
        return text
    return inner.replace('\\"', '"').strip()
