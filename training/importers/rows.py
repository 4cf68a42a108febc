"""Imported turns as rows of `data/README.md`, each with what came next.

A row can be written once the next turn of its session is known, or the source has ended.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from pointsman.classifier.identity import hash_parts
from pointsman.classifier.text import MAX_PROMPT_CHARS, cut_middle

from .cues import Cues, read_cues, similarity
from .open_turns import MAX_OPEN
from .protocol import ImportedTurn

JsonDict = dict[str, object]
_HASH_CHARS: Final = 20


@dataclass(frozen=True, slots=True)
class RowSettings:
    """How rows are written.

    `salt` keys the digests of projects, sessions and prompts, so that nobody without it can test a guess.
    """

    keeps_text: bool
    salt: str


@dataclass(frozen=True, slots=True)
class _Seen:
    turn: ImportedTurn
    cues: Cues
    digest: str


def rows_of(turns: Iterable[ImportedTurn], kind: str, settings: RowSettings) -> Iterator[JsonDict]:
    """Turn the turns of one source into rows, in the order in which they end."""
    waiting: OrderedDict[str, _Seen] = OrderedDict()
    for turn in turns:
        prompt = turn.prompt or ""
        seen = _Seen(turn, read_cues(prompt), hash_parts("prompt", settings.salt, " ".join(prompt.split())))
        before = waiting.pop(turn.session, None)
        if before is not None:
            yield _row(before, seen, kind, settings)
        waiting[turn.session] = seen
        if len(waiting) > MAX_OPEN:
            yield _row(waiting.popitem(last=False)[1], None, kind, settings)
    for seen in waiting.values():
        yield _row(seen, None, kind, settings)


def _row(seen: _Seen, following: _Seen | None, kind: str, settings: RowSettings) -> JsonDict:
    turn = seen.turn
    row: JsonDict = {
        "id": _id(turn, kind, settings),
        "group": _group(turn, kind, settings),
        "source": kind,
        "session": hash_parts("session", settings.salt, turn.session)[:_HASH_CHARS],
        "position": turn.position,
        "kind": str(turn.kind),
        "at": turn.at,
    }
    if settings.keeps_text:
        row["context"] = [asdict(message) for message in turn.context]
        # What lies between is never read (`text.text_of`).
        row["prompt"] = None if turn.prompt is None else cut_middle(turn.prompt, MAX_PROMPT_CHARS)
    row |= turn.labels
    if turn.votes:
        row["votes"] = turn.votes
    row |= {
        "digest": seen.digest[:_HASH_CHARS],
        "features": seen.cues.features | {"n_context": len(turn.context), "n_media": turn.n_media},
        "models": turn.models,
        "usage": asdict(turn.usage),
        "tools": _tools(turn),
        "is_interrupted": turn.is_interrupted,
        "is_undone": turn.is_undone,
        "outcome": turn.outcome,
        "next": None if following is None else _next(seen, following, settings),
    }
    extra = turn.extra if settings.keeps_text else {name: turn.extra[name] for name in turn.extra if name != "source"}
    return row | extra


def _tools(turn: ImportedTurn) -> JsonDict:
    return {
        "n_calls": turn.n_tool_calls,
        "n_errors": turn.n_tool_errors,
        "n_api_errors": turn.n_api_errors,
        "tests": turn.tests,
        "n_commits": turn.n_commits,
        "n_reverts": turn.n_reverts,
    }


def _next(seen: _Seen, following: _Seen, settings: RowSettings) -> JsonDict:
    signals: JsonDict = {
        "gap_s": _seconds(seen.turn.last_at, following.turn.at),
        "is_repeat": seen.digest == following.digest and bool(seen.turn.prompt),
        "model": following.turn.models[0] if following.turn.models else None,
        "model_changed": bool(following.turn.models) and following.turn.models[0] not in seen.turn.models,
        "n_reverts": following.turn.n_reverts,
    }
    if settings.keeps_text and following.turn.prompt is not None:
        signals |= {
            "says_wrong": following.cues.says_wrong,
            "asks_undo": following.cues.asks_undo,
            "approves": following.cues.approves,
            "repeats_error": bool(seen.cues.errors & following.cues.errors),
            "n_errors": following.cues.features["n_errors"],
            "similarity": similarity(seen.cues.words, following.cues.words),
        }
    return signals


def _id(turn: ImportedTurn, kind: str, settings: RowSettings) -> str:
    if kind == "labelled" and turn.uid is not None:
        return turn.uid
    name: object = turn.uid if turn.uid is not None else (turn.session, turn.position)
    if kind == "labelled":
        # Two files count their rows alike: only the words tell such rows apart.
        said = [part for message in turn.context for part in (message.role, message.text)]
        name = (name, hash_parts(turn.prompt, *said))
    # Some sources name a turn by a hash of its words: without text, the salt guards the id, too.
    return hash_parts("turn", "" if settings.keeps_text else settings.salt, kind, name)[:_HASH_CHARS]


def _group(turn: ImportedTurn, kind: str, settings: RowSettings) -> str:
    if kind == "labelled" and settings.keeps_text:
        return turn.project
    return hash_parts("group", settings.salt, turn.project or turn.session)[:_HASH_CHARS]


def _seconds(start: str | None, end: str | None) -> float | None:
    if start is None or end is None:
        return None
    try:
        return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 1)
    except (ValueError, TypeError):
        return None
