"""The database of opencode: `~/.local/share/opencode/opencode.db`, SQLite with tables session, message and part.

Opened read-only; opencode may be running. Parts marked `synthetic` are the client's own words. Sessions with a parent
are subagents'.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

from pointsman.classifier.assessment import Kind

from .databases import SQLITE_HEAD, connect_readonly, tables_of
from .lines import as_amount, as_count, as_dict, as_object, as_text
from .protocol import Cleaner, ImportedTurn, Location, Problems, Usage
from .talk import Talk
from .work import note_command, note_output

_MESSAGES: Final = """
SELECT message.id, message.session_id, message.data, part.id, part.data
FROM message LEFT JOIN part ON part.message_id = message.id
ORDER BY message.session_id, message.time_created, message.id, part.id
"""
_Message = tuple[str, str, dict[str, object], list[dict[str, object]]]


class OpencodeImporter:
    """Reads one database."""

    kind = "opencode"

    def recognises(self, location: Location, head: str) -> bool:
        return head.startswith(SQLITE_HEAD) and {"session", "message", "part"} <= tables_of(location)

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        with closing(connect_readonly(location)) as connection:
            sessions = _sessions(connection)
            talk: Talk | None = None
            for message_id, session_id, data, parts in _messages(connection, location, problems):
                if talk is None or talk.session != session_id:
                    if talk is not None and (turn := talk.finish()) is not None:
                        yield turn
                    directory, parent = sessions.get(session_id, ("", None))
                    cleaner.learn_path(directory)
                    kind = Kind.SUBAGENT if parent else Kind.TASK
                    talk = Talk(session_id, cleaner, project=directory, kind=kind)
                if (turn := _say(talk, message_id, data, parts)) is not None:
                    yield turn
            if talk is not None and (turn := talk.finish()) is not None:
                yield turn


def _sessions(connection: sqlite3.Connection) -> dict[str, tuple[str, str | None]]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(session)")}
    directory = "directory" if "directory" in columns else "''"
    parent = "parent_id" if "parent_id" in columns else "NULL"
    query = f"SELECT id, {directory}, {parent} FROM session"  # noqa: S608 - names out of this function
    return {name: (folder or "", above) for name, folder, above in connection.execute(query)}


def _messages(connection: sqlite3.Connection, location: Location, problems: Problems) -> Iterator[_Message]:
    current: _Message | None = None
    cursor: Any = connection.execute(_MESSAGES)
    for message_id, session_id, data, part_id, part in cursor:
        if current is None or current[0] != message_id:
            if current is not None:
                yield current
            message = as_object(data) if isinstance(data, str | bytes) else None
            if message is None:
                problems.add(f"{location.address}: message {message_id}", "not a JSON object")
            current = (message_id, session_id, message or {}, [])
        if part_id is None:
            continue
        found = as_object(part) if isinstance(part, str | bytes) else None
        if found is None:
            problems.add(f"{location.address}: part {part_id}", "not a JSON object")
        else:
            current[3].append(found)
    if current is not None:
        yield current


def _say(
    talk: Talk, message_id: str, data: Mapping[str, object], parts: list[dict[str, object]]
) -> ImportedTurn | None:
    role = as_text(data.get("role"))
    if role not in ("user", "assistant"):
        return None
    at = _time(as_dict(data.get("time")).get("created"))
    blocks: list[dict[str, object]] = [
        {"type": "text", "text": part.get("text")}
        for part in parts
        if part.get("type") == "text" and not part.get("synthetic") and not part.get("ignored")
    ]
    blocks += [{"type": "file"} for part in parts if part.get("type") == "file" and role == "user"]
    ended = talk.said({"role": role, "content": blocks}, at=at, uid=message_id)
    turn = talk.turn
    if role == "assistant" and turn is not None:
        tools = [part for part in parts if part.get("type") == "tool"]
        turn.n_tool_calls += len(tools)
        turn.n_tool_errors += sum(as_dict(part.get("state")).get("status") == "error" for part in tools)
        for tool in tools:
            state = as_dict(tool.get("state"))
            note_command(turn, as_dict(state.get("input")).get("command"))
            note_output(turn, state.get("output"))
        error = as_dict(data.get("error")).get("name")
        turn.is_interrupted |= error == "MessageAbortedError"
        turn.n_api_errors += error is not None and error != "MessageAbortedError"
        talk.spent(_usage(data), message_id=message_id, model=data.get("modelID"))
    return ended


def _usage(data: Mapping[str, object]) -> Usage:
    tokens = as_dict(data.get("tokens"))
    cache = as_dict(tokens.get("cache"))
    return Usage(
        input_tokens=as_count(tokens.get("input")),
        cache_read_tokens=as_count(cache.get("read")),
        cache_write_tokens=as_count(cache.get("write")),
        output_tokens=as_count(tokens.get("output")) + as_count(tokens.get("reasoning")),
        n_messages=1,
        cost_usd=as_amount(data.get("cost")),
    )


def _time(milliseconds: object) -> str | None:
    if not isinstance(milliseconds, int | float) or not 0 < milliseconds < 4e12:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
