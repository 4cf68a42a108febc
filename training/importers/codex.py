"""Rollouts of Codex: `~/.codex/sessions/<year>/<month>/<day>/rollout-<time>-<id>.jsonl`.

Today each line is `{timestamp, type, payload}`. Prompts and answers are `response_item` messages; versions in between
wrote them as events only, and the first ones wrote bare items behind a line of metadata. A file with messages among its
items is read by those, so that nothing is read twice.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pointsman.classifier.assessment import Kind

from .lines import as_count, as_dict, as_object, as_text, read_rows
from .protocol import Cleaner, ImportedTurn, Location, Problems, Usage
from .talk import Talk
from .work import note_command, note_output

_HEAD: Final = re.compile(
    r'"type":\s?"session_meta"|"record_type":|"type":\s?"(?:response_item|event_msg|turn_context)"'
)
_FAILED: Final = re.compile(r"(?:Exit code|Process exited with code):? (?!0\b)-?\d+")
_USER_ITEM: Final = re.compile(rb'"role":\s?"user"')
_EVENT_ROLES: Final = {"user_message": "user", "agent_message": "assistant"}
_ITEM_ROLES: Final = {"usermessage": "user", "agentmessage": "assistant"}


class CodexImporter:
    """Reads one rollout."""

    kind = "codex"

    def recognises(self, location: Location, head: str) -> bool:
        if not location.address.endswith(".jsonl"):
            return False
        first = as_object(head.partition("\n")[0])
        is_old = first is not None and {"id", "timestamp", "instructions"} <= first.keys()
        return is_old or bool(_HEAD.search(head))

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        rollout = _Rollout(location, cleaner, reads_events=not _has_message_items(location))
        for number, row in read_rows(location, problems):
            try:
                yield from rollout.read(row)
            except (TypeError, ValueError, AttributeError, KeyError):
                problems.add(f"{location.address}:{number}", "row of an unknown shape")
        yield from rollout.finish()


def _has_message_items(location: Location) -> bool:
    with open(location.address, "rb") as file:
        return any(_USER_ITEM.search(line) for line in file)


class _Rollout:
    def __init__(self, location: Location, cleaner: Cleaner, *, reads_events: bool) -> None:
        self._cleaner = cleaner
        self._reads_events = reads_events
        self._talk = Talk(location.address.rpartition("/")[2], cleaner)
        self._model: object = None
        self._total: object = None

    def read(self, row: Mapping[str, object]) -> Iterator[ImportedTurn]:
        at = as_text(row.get("timestamp"))
        payload = as_dict(row.get("payload"))
        kind = row.get("type")
        if kind == "session_meta":
            self._meta(as_dict(payload.get("meta")) or payload)
        elif kind == "turn_context":
            self._model = payload.get("model")
        elif kind == "response_item":
            yield from self._item(payload, at)
        elif kind == "event_msg":
            yield from self._event(payload, at)
        elif "payload" not in row and "instructions" in row:
            self._meta(row)
        elif "payload" not in row and isinstance(kind, str):
            yield from self._item(row, at)

    def finish(self) -> Iterator[ImportedTurn]:
        if (turn := self._talk.finish()) is not None:
            yield turn

    def _meta(self, meta: Mapping[str, object]) -> None:
        if self._talk.turn is not None:  # a fork repeats the head of the rollout it came from
            return
        self._cleaner.learn_path(meta.get("cwd"))
        self._talk.session = as_text(meta.get("id")) or self._talk.session
        repository = as_dict(meta.get("git")).get("repository_url")
        self._talk.project = as_text(repository) or as_text(meta.get("cwd")) or ""
        if "subagent" in as_dict(meta.get("source")):
            self._talk.kind = Kind.SUBAGENT

    def _item(self, item: Mapping[str, object], at: str | None) -> Iterator[ImportedTurn]:
        kind = item.get("type")
        turn = self._talk.turn
        if kind == "message" or (kind is None and "role" in item):
            yield from self._say(item, at)
        elif turn is not None and isinstance(kind, str) and kind.endswith("_call"):
            turn.n_tool_calls += 1
            note_command(turn, _command(item))
            self._talk.used_tool(at)
        elif turn is not None and isinstance(kind, str) and kind.endswith("_output"):
            turn.n_tool_errors += _is_failure(item.get("output"))
            note_output(turn, _printed(item.get("output")))
            self._talk.used_tool(at)

    def _event(self, event: Mapping[str, object], at: str | None) -> Iterator[ImportedTurn]:
        kind = event.get("type")
        turn = self._talk.turn
        if kind == "token_count":
            self._tokens(as_dict(event.get("info")))
        elif kind == "turn_aborted" and turn is not None:
            turn.is_interrupted = True
        elif kind in ("error", "stream_error") and turn is not None:
            turn.n_api_errors += 1
        elif self._reads_events and kind in _EVENT_ROLES:
            yield from self._say({"role": _EVENT_ROLES[str(kind)], "content": event.get("message")}, at)
        elif self._reads_events and kind == "item_completed":
            item = as_dict(event.get("item"))
            role = _ITEM_ROLES.get(str(item.get("type")).lower())
            if role is not None:
                yield from self._say({"role": role, "content": _lower_types(item.get("content"))}, at)

    def _say(self, message: Mapping[str, object], at: str | None) -> Iterator[ImportedTurn]:
        ended = self._talk.said(message, at=at)
        if message.get("role") == "assistant" and self._talk.turn is not None:
            self._talk.turn.add_model(self._model)
        if ended is not None:
            yield ended

    def _tokens(self, info: Mapping[str, object]) -> None:
        # The same count is written again when only the rate limits changed.
        total, last = info.get("total_token_usage"), as_dict(info.get("last_token_usage"))
        if not last or total == self._total:
            return
        self._total = total
        cached = as_count(last.get("cached_input_tokens"))
        usage = Usage(
            input_tokens=max(0, as_count(last.get("input_tokens")) - cached),
            cache_read_tokens=cached,
            output_tokens=as_count(last.get("output_tokens")),
            n_messages=1,
        )
        self._talk.spent(usage, model=self._model)


def _lower_types(content: object) -> object:
    if not isinstance(content, list):
        return content
    return [{**as_dict(block), "type": str(as_dict(block).get("type")).lower()} for block in content]


def _command(item: Mapping[str, object]) -> object:
    """Return what a call runs: `arguments` are JSON text, an `action` is an object."""
    given = item.get("arguments")
    arguments = as_object(given) or {} if isinstance(given, str) else as_dict(item.get("action"))
    return arguments.get("command") or arguments.get("cmd")


def _printed(output: object) -> object:
    found = (as_object(output) if isinstance(output, str) and output.startswith("{") else output) or output
    return found.get("output", found.get("content")) if isinstance(found, dict) else found


def _is_failure(output: object) -> bool:
    if isinstance(output, str) and output.startswith("{"):
        output = as_object(output) or output
    if isinstance(output, dict):
        code = as_dict(output.get("metadata")).get("exit_code")
        return output.get("success") is False or (isinstance(code, int) and code != 0)
    return isinstance(output, str) and _FAILED.search(output[:500]) is not None
