"""Spend logs of LiteLLM, exported as JSON lines or CSV (table `LiteLLM_SpendLogs`).

Each row is one request with its whole history, so each is read as it would be decided (`read_request`); requests of one
tool loop become one turn. Bodies are there only where the proxy stores prompts (`store_prompts_in_spend_logs`).
Exports often come newest first: rows are read in the order of their time, by their places in the file.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

from pointsman.classifier.assessment import Kind, Message, Turn
from pointsman.classifier.conversation import CALL, Item, read_conversation
from pointsman.classifier.request import read_request
from pointsman.classifier.story import Story, context_before
from pointsman.classifier.text import MAX_CONTEXT_MESSAGES

from .lines import MAX_LINE_BYTES, NOT_JSON, as_amount, as_count, as_dict, as_object, as_text, as_value
from .open_turns import OpenTurns
from .protocol import Cleaner, ImportedTurn, Location, Problems, Usage

_COLUMNS: Final = re.compile(r"(?=.*\brequest_id\b)(?=.*\b(?:startTime|start_time)\b)(?=.*\b(?:messages|call_type)\b)")
NO_BODY: Final = "request without a stored prompt (store_prompts_in_spend_logs is off)"


class LiteLLMImporter:
    """Reads one export."""

    kind = "litellm"

    def recognises(self, location: Location, head: str) -> bool:
        return not location.is_url and bool(_COLUMNS.match(head.partition("\n")[0]))

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        opened = OpenTurns()
        for row in _rows_by_time(location, problems):
            body = _body(row)
            if body is None:
                problems.skip(NO_BODY)
                continue
            yield from _read(row, body, cleaner, opened)
        yield from opened.finish()


def _read(
    row: Mapping[str, object], body: Mapping[str, object], cleaner: Cleaner, opened: OpenTurns
) -> Iterator[ImportedTurn]:
    turn = read_request(body)
    if turn.kind is Kind.BACKGROUND or not turn.key:
        return
    # The gateway names sessions, too, but often anew for each request: the chain of prompts tells better.
    named = as_text(row.get("session_id"))
    session = opened.session_of(turn.session_id, turn.story_key, turn.next_state_key, named=named)
    current = opened.current(session, turn.key)
    if current is None:
        if not turn.prompt:
            return
        current = _begin(session, turn, row, body, cleaner)
        yield from opened.begin(current, turn.key)
    _spend(current, row, body)


def _begin(
    session: str, turn: Turn, row: Mapping[str, object], body: Mapping[str, object], cleaner: Cleaner
) -> ImportedTurn:
    prompt, context = _masked(body, cleaner)
    team = as_text(row.get("team_id")) or as_text(row.get("end_user")) or as_text(row.get("user"))
    return ImportedTurn(
        session=session,
        project=team or "",
        uid=turn.key,
        prompt=prompt,
        context=context,
        kind=Kind.SUBAGENT if turn.kind is Kind.SUBAGENT or turn.agent_id is not None else Kind.TASK,
        at=_time(row),
        n_media=turn.n_images + turn.n_documents,
    )


def _masked(body: Mapping[str, object], cleaner: Cleaner) -> tuple[str, tuple[Message, ...]]:
    """Return prompt and context masked: the same reader on the end of the conversation, cleaned before it is cut."""
    conversation = read_conversation(body, headers={}, path=None)
    items = conversation.items if conversation is not None else ()
    story = Story.of(items)
    spoken = [i for i, kept in story.written.items() if (kept.text or kept.summary) and i <= story.position]
    first = sorted(spoken)[-(MAX_CONTEXT_MESSAGES + 1) :][:1]
    tail = tuple(
        Item(item.role, [cleaner.clean(text) for text in item.texts], item.holds)
        for item in items[first[0] if first else 0 : story.position + 1]
        if item.texts and item.role in ("user", "assistant")
    )
    masked = Story.of(tail)
    return masked.prompt, context_before(masked)


def _spend(turn: ImportedTurn, row: Mapping[str, object], body: Mapping[str, object]) -> None:
    turn.last_at = _time(row, "endTime", "end_time", "completionStartTime") or turn.last_at
    if row.get("status") == "failure":
        turn.n_api_errors += 1
        return
    turn.add_model(as_text(row.get("model_group")) or row.get("model"))
    reported = as_dict(as_dict(_value(row.get("metadata"))).get("usage_object"))
    details = as_dict(reported.get("prompt_tokens_details"))
    cached = as_count(reported.get("cache_read_input_tokens")) or as_count(details.get("cached_tokens"))
    written = as_count(reported.get("cache_creation_input_tokens"))
    sent = as_count(_value(row.get("prompt_tokens")))
    output = as_count(_value(row.get("completion_tokens")))
    usage = Usage(max(0, sent - cached - written), cached, written, output, 1, as_amount(_value(row.get("spend"))))
    turn.usage.add(usage)
    if turn.usage.n_messages > 1:
        conversation = read_conversation(body, headers={}, path=None)
        followers = Story.of(conversation.items).followers if conversation is not None else ()
        turn.n_tool_calls = sum(bool(item.holds & CALL) for item in followers)


def _body(row: Mapping[str, object]) -> dict[str, object] | None:
    """Return the request: as the client sent it, or rebuilt from its messages."""
    sent = as_dict(_value(row.get("proxy_server_request")))
    sent = as_dict(sent.get("body")) or sent
    if sent.get("messages") or sent.get("input"):
        return sent
    messages = _value(row.get("messages"))
    if isinstance(messages, list) and messages:
        # Titles are told by their missing tools; what a bare list of messages came with is not known.
        return {"messages": messages, "model": row.get("model")}
    return None


def _value(field: object) -> object:
    """Return a field parsed: CSV and some exports hold JSON as text."""
    if isinstance(field, str) and field[:1] in '{["-0123456789':
        value = as_value(field)
        return field if value is None else value
    return field


def _time(row: Mapping[str, object], *names: str) -> str | None:
    for name in names or ("startTime", "start_time"):
        if (text := as_text(row.get(name))) is not None:
            text = text.strip().replace(" ", "T", 1)
            return text if re.search(r"Z$|[+-]\d\d:?\d\d$", text) else f"{text}Z"
    return None


def _rows_by_time(location: Location, problems: Problems) -> Iterator[dict[str, object]]:
    is_csv = not _starts_with_brace(location)
    with open(location.address, "rb") as file:
        columns = _columns(file) if is_csv else None
        places = []
        for number, start, row in _rows(file, columns):
            if row is None:
                problems.add(f"{location.address}:{number}", NOT_JSON if columns is None else "row of another width")
            else:
                places.append((_time(row) or "", start))
        for _, start in sorted(places):
            file.seek(start)
            _, _, row = next(_rows(file, columns))
            problems.n_bytes += file.tell() - start
            if row is not None:
                yield row


def _starts_with_brace(location: Location) -> bool:
    with open(location.address, "rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"


def _columns(file: BinaryIO) -> list[str]:
    return next(csv.reader([file.readline().decode("utf-8-sig", "replace")]), [])


def _rows(file: BinaryIO, columns: list[str] | None) -> Iterator[tuple[int, int, dict[str, object] | None]]:
    """Yield each row with its number and place; a CSV row may hold line ends."""
    number = 0
    csv.field_size_limit(MAX_LINE_BYTES)
    while True:
        start = file.tell()
        number += 1
        if columns is None:
            line = file.readline()
            if not line:
                return
            if line.strip():
                yield number, start, as_object(line)
            continue
        lines = (line.decode("utf-8", "replace") for line in iter(file.readline, b""))
        try:
            fields: list[Any] | None = next(csv.reader(lines), None)
        except csv.Error:
            fields = [""]
        if fields is None:
            return
        if fields:
            yield number, start, dict(zip(columns, fields, strict=True)) if len(fields) == len(columns) else None
