"""Columns of the parts, and a row of an importer or of a person's file as one of them.

A value of the wrong type becomes null: a file written by hand costs no other row.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, Final

import pyarrow as pa

from pointsman.classifier.assessment import Message
from pointsman.classifier.labels import HEADS
from pointsman.training.importers.lines import as_amount, as_count, as_dict, as_text
from pointsman.training.importers.protocol import Usage

from .words import Marks

Row = Mapping[str, object]

_TEXT: Final = pa.string()
_COUNT: Final = pa.int64()
_SHARE: Final = pa.float64()
_FLAG: Final = pa.bool_()

_FEATURES: Final = {
    "n_chars": _COUNT,
    "n_words": _COUNT,
    "n_lines": _COUNT,
    "has_code": _FLAG,
    "n_errors": _COUNT,
    "is_question": _FLAG,
    "script": _TEXT,
    "n_context": _COUNT,
    "n_media": _COUNT,
}
_USAGE: Final = {name: _SHARE if name == "cost_usd" else _COUNT for name in asdict(Usage())}
_TOOLS: Final = {"n_calls": _COUNT, "n_errors": _COUNT, "n_api_errors": _COUNT}
_NEXT: Final = {
    "gap_s": _SHARE,
    "is_repeat": _FLAG,
    "model_changed": _FLAG,
    "says_wrong": _FLAG,
    "asks_undo": _FLAG,
    "approves": _FLAG,
    "repeats_error": _FLAG,
    "n_errors": _COUNT,
    "similarity": _SHARE,
}
_STRUCTS: Final = {"features": _FEATURES, "usage": _USAGE, "tools": _TOOLS, "next": _NEXT}
_TEXTS: Final = ("id", "group", "source", "session", "kind", "at", "lang", "license", "prompt", "digest", "outcome")
_LABELS: Final = (*map(str, HEADS), "sure")
_MESSAGES: Final = pa.list_(pa.struct({"role": _TEXT, "text": _TEXT}))

#: What is known of a turn before a model has seen it. The labels are people's.
TURN_FIELDS: Final[list[pa.Field]] = [
    *(pa.field(name, _TEXT) for name in _TEXTS),
    pa.field("position", _COUNT),
    pa.field("context", _MESSAGES),
    *(pa.field(name, _TEXT) for name in _LABELS),
    *(pa.field(name, pa.struct(fields)) for name, fields in _STRUCTS.items()),
    pa.field("models", pa.list_(_TEXT)),
    pa.field("is_interrupted", _FLAG),
    pa.field("is_undone", _FLAG),
]
#: Between the steps, beside them: what copies are found by, and the votes of `labels_from_next`.
MARK_FIELDS: Final[list[pa.Field]] = [
    pa.field("words", _TEXT),
    pa.field("bands", pa.list_(pa.uint64())),
    pa.field("votes", pa.list_(pa.int8())),
]
ROWS: Final = pa.schema([*TURN_FIELDS, *MARK_FIELDS])
TURN_COLUMNS: Final = [field.name for field in TURN_FIELDS]


def turns_schema(n_dimensions: int | None) -> pa.Schema:
    """Return the columns of a finished part; without dimensions, of one that was not scored."""
    if n_dimensions is None:
        return pa.schema(TURN_FIELDS)
    scores = [
        pa.field("predicted", pa.struct({str(head): _TEXT for head in HEADS})),
        pa.field("probabilities", pa.struct({str(head): pa.list_(pa.float32()) for head in HEADS})),
        pa.field("care_probability", pa.float32()),
        pa.field("novelty", pa.float32()),
        pa.field("embedding", pa.list_(pa.float16(), n_dimensions)),
        pa.field("model_version", _TEXT),
    ]
    return pa.schema([*TURN_FIELDS, *scores])


def turn_row(row: Row, marks: Marks | None, votes: Iterable[int]) -> dict[str, object]:
    """Put a row of an importer, or of a file, into the columns."""
    position = row.get("position")
    is_place = isinstance(position, int) and not isinstance(position, bool) and abs(position) < 2**53
    return {
        **{name: as_text(row.get(name)) for name in (*_TEXTS, *_LABELS)},
        "position": position if is_place else None,
        "context": [asdict(message) for message in messages_of(row.get("context"))],
        **{name: _struct(row.get(name), fields) for name, fields in _STRUCTS.items()},
        "models": [text for value in _list(row.get("models")) if (text := as_text(value)) is not None],
        "is_interrupted": row.get("is_interrupted") is True,
        "is_undone": row.get("is_undone") is True,
        "words": None if marks is None else marks.digest,
        "bands": [] if marks is None else list(marks.bands),
        "votes": list(votes),
    }


def messages_of(value: object) -> tuple[Message, ...]:
    """Read the messages before a prompt; what is none is left out."""
    entries = map(as_dict, _list(value))
    return tuple(Message(as_text(e.get("role")) or "user", text) for e in entries if (text := as_text(e.get("text"))))


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _struct(value: object, fields: Mapping[str, pa.DataType]) -> dict[str, object] | None:
    given = as_dict(value)
    return {name: _READERS[kind](given.get(name)) for name, kind in fields.items()} if given else None


def _count(value: object) -> int | None:
    return None if value is None else as_count(value)


def _amount(value: object) -> float | None:
    return None if value is None else as_amount(value)


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


_READERS: Final[dict[pa.DataType, Callable[[object], Any]]] = {
    _TEXT: as_text,
    _COUNT: _count,
    _SHARE: _amount,
    _FLAG: _flag,
}
