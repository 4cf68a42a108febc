"""Session logs of Claude Code: `~/.claude/projects/<folder>/<session>.jsonl`, and the files of its subagents.

A row of type `user` holds a prompt, a tool's answer or something that the client put there; reminders stand in rows of
their own since 2.1 and inside the message before. A command of the person comes in several rows: its name, and then
what it printed (the client carried it out) or what it expanded to (a prompt). Rows of subagents stand in files of their
own, or marked `isSidechain` among the others. Unknown types are skipped.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pointsman.classifier.assessment import Kind

from .lines import as_count, as_dict, as_text, read_rows
from .protocol import Cleaner, ImportedTurn, Location, Problems, Usage
from .talk import Talk
from .work import note_command, note_output

_TYPES: Final = re.compile(r'"type":\s?"(?:user|assistant|summary|file-history-snapshot|queue-operation|system|mode)"')
_ENVELOPE: Final = re.compile(r'"(?:sessionId|isSidechain|leafUuid|parentUuid|messageId)":')
_COMMAND: Final = "<command-"
_LOCAL: Final = "<local-command-"
# How many rows back a person can rewind and still be seen to.
_MAX_KNOWN_ROWS: Final = 5_000


class ClaudeCodeImporter:
    """Reads one session file."""

    kind = "claude-code"

    def recognises(self, location: Location, head: str) -> bool:
        return location.address.endswith(".jsonl") and bool(_TYPES.search(head) and _ENVELOPE.search(head))

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        sessions: dict[str, _Session] = {}
        for number, row in read_rows(location, problems):
            key = _conversation_of(row)
            session = sessions.get(key)
            if row.get("type") not in ("user", "assistant", "system"):
                if session is not None:
                    session.remember(row)
                continue
            if session is None:
                cleaner.learn_path(row.get("cwd"))
                session = sessions[key] = _Session(key, row, cleaner)
            try:
                yield from session.read(row)
            except (TypeError, ValueError, AttributeError, KeyError):
                problems.add(f"{location.address}:{number}", "row of an unknown shape")
        for session in sessions.values():
            yield from session.finish()


def _conversation_of(row: Mapping[str, object]) -> str:
    session = as_text(row.get("sessionId")) or ""
    return f"{session}/{as_text(row.get('agentId')) or 'sidechain'}" if row.get("isSidechain") else session


class _Session:
    """One conversation of a file: the person's, or a subagent's."""

    def __init__(self, key: str, row: Mapping[str, object], cleaner: Cleaner) -> None:
        kind = Kind.SUBAGENT if row.get("isSidechain") else Kind.TASK
        self._talk = Talk(key, cleaner, project=as_text(row.get("cwd")) or "", kind=kind)
        self._command: list[Mapping[str, object]] = []
        self._row_turns: dict[str, int] = {}

    def read(self, row: Mapping[str, object]) -> Iterator[ImportedTurn]:
        if row["type"] == "user":
            yield from self._user(row)
        else:
            yield from self._run_command()
            if row["type"] == "assistant":
                self._assistant(row)
            elif row.get("subtype") == "api_error" and self._talk.turn is not None:
                self._talk.turn.n_api_errors += 1
        self.remember(row)

    def finish(self) -> Iterator[ImportedTurn]:
        yield from self._run_command()
        if (turn := self._talk.finish()) is not None:
            yield turn

    def _user(self, row: Mapping[str, object]) -> Iterator[ImportedTurn]:
        first = _first_text(row)
        belongs = self._command and (row.get("isMeta") or first.startswith(_LOCAL))
        if belongs or first.startswith((_COMMAND, f"{_LOCAL}caveat")):
            # A caveat announces the next command; a name ends the one before.
            if not belongs and not (first.startswith(_COMMAND) and self._only_caveats()):
                yield from self._run_command()
            self._command.append(row)
            return
        yield from self._run_command()
        self._tool_answers(row)
        if not row.get("isMeta"):
            yield from self._say(row, _message(row))

    def _only_caveats(self) -> bool:
        return bool(self._command) and all(_first_text(row).startswith(f"{_LOCAL}caveat") for row in self._command)

    def _run_command(self) -> Iterator[ImportedTurn]:
        rows, self._command = self._command, []
        if not rows:
            return
        blocks = [block for row in rows for block in _blocks(row)]
        named = next((row for row in rows if _first_text(row).startswith(_COMMAND)), None)
        if named is not None:
            yield from self._say(named, {"role": "user", "content": blocks})

    def _say(self, row: Mapping[str, object], message: Mapping[str, object]) -> Iterator[ImportedTurn]:
        self._rewind(row, message)
        ended = self._talk.said(message, at=as_text(row.get("timestamp")), uid=as_text(row.get("uuid")))
        if ended is not None:
            yield ended

    def _rewind(self, row: Mapping[str, object], message: Mapping[str, object]) -> None:
        """Notice a prompt that goes on from an earlier place than the last one: the person took the rest back."""
        turn = self._talk.turn
        parent = row.get("parentUuid")
        if turn is None or not isinstance(parent, str | None) or row.get("isSidechain"):
            return
        if not isinstance(message.get("content"), str) and row.get("toolUseResult") is not None:
            return
        position = self._row_turns.get(parent) if parent is not None else None
        if position is not None and position < turn.position:
            turn.is_undone = True
            self._talk.rewind(position + 1)

    def remember(self, row: Mapping[str, object]) -> None:
        """Keep which turn a row belongs to: a later prompt names the row it goes on from."""
        if (uuid := as_text(row.get("uuid"))) is not None and self._talk.turn is not None:
            self._row_turns[uuid] = self._talk.turn.position
            if len(self._row_turns) > _MAX_KNOWN_ROWS:
                del self._row_turns[next(iter(self._row_turns))]

    def _tool_answers(self, row: Mapping[str, object]) -> None:
        turn = self._talk.turn
        if turn is not None:
            answers = [block for block in _blocks(row) if block.get("type") == "tool_result"]
            turn.n_tool_errors += sum(bool(block.get("is_error")) for block in answers)
            for block in answers:
                note_output(turn, _shown(block.get("content")))

    def _assistant(self, row: Mapping[str, object]) -> None:
        message = _message(row)
        turn = self._talk.turn
        if row.get("isApiErrorMessage"):
            if turn is not None:
                turn.n_api_errors += 1
            return
        self._talk.said(message, at=as_text(row.get("timestamp")))
        if turn is not None:
            calls = [block for block in _blocks(row) if block.get("type") == "tool_use"]
            turn.n_tool_calls += len(calls)
            for call in calls:
                note_command(turn, as_dict(call.get("input")).get("command"))
        message_id = as_text(message.get("id")) or as_text(row.get("requestId"))
        self._talk.spent(_usage(message.get("usage")), message_id=message_id, model=message.get("model"))


def _message(row: Mapping[str, object]) -> dict[str, object]:
    return {"role": row["type"], **as_dict(row.get("message"))}


def _blocks(row: Mapping[str, object]) -> list[dict[str, object]]:
    content = as_dict(row.get("message")).get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def _shown(content: object) -> str:
    """Return the text of a tool's answer."""
    if isinstance(content, list):
        return "\n".join(as_text(as_dict(block).get("text")) or "" for block in content)
    return content if isinstance(content, str) else ""


def _first_text(row: Mapping[str, object]) -> str:
    text = next((block.get("text") for block in _blocks(row) if block.get("type") == "text"), "")
    return text.lstrip() if isinstance(text, str) else ""


def _usage(value: object) -> Usage:
    usage = as_dict(value)
    return Usage(
        input_tokens=as_count(usage.get("input_tokens")),
        cache_read_tokens=as_count(usage.get("cache_read_input_tokens")),
        cache_write_tokens=as_count(usage.get("cache_creation_input_tokens")),
        output_tokens=as_count(usage.get("output_tokens")),
        n_messages=1,
    )
