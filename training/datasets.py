"""Labelled turns: read, validate, split.

A split is a stable hash of the group (repository, author, session), so a row never crosses over when rows are
added, and no person is on both sides.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pointsman.classifier.assessment import Message
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS, Head, needs_care
from pointsman.classifier.text import Text, text_of


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled turn; `position` is its place in its session, where the row says so."""

    id: str
    group: str
    lang: str
    prompt: str
    context: tuple[Message, ...]
    labels: dict[Head, str]
    certainty: float
    position: int | None = None

    @property
    def text(self) -> Text:
        return text_of(self.prompt, self.context)

    @property
    def needs_care(self) -> bool:
        return needs_care(self.labels["category"], self.labels["risk"], self.labels["scope"])


#: How far a reader's "high / medium / low" certainty is trusted as a training target.
_CERTAINTY: Final = {"h": 1.0, "m": 0.95, "l": 0.85}


#: Labels of rows by their id, as a reader gave them.
Readings = Mapping[str, Mapping[str, str]]


def read_examples(paths: Iterable[Path], readings: Readings | None = None) -> list[Example]:
    """Read labelled JSONL files; where a row has a reading, its labels are the reading's.

    Raises
    ------
    InputError
        A file is missing, or a row is not JSON, lacks a field or has an unknown label; names file and line.
    """
    examples: list[Example] = []
    for path in paths:
        examples += _read_file(Path(path), readings or {})
    return examples


def read_readings(paths: Iterable[Path]) -> dict[str, dict[str, str]]:
    """Read label files: tab-separated, with a header that names `id`, the four heads and, if wished, `sure`.

    They label rows that have no labels yet, and correct rows that have wrong ones, without a copy of the text. A later
    file overrides an earlier one.

    Raises
    ------
    InputError
        A file is missing, its header lacks a column, or it holds the JSON lines of `pointsman label`.
    """
    readings: dict[str, dict[str, str]] = {}
    for path in paths:
        if not path.is_file():
            msg = f"{path}: no such file; expected labels as tab-separated text. Check the path."
            raise InputError(msg)
        with path.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
            if "".join(rows.fieldnames or ()).startswith("{"):
                msg = (
                    f"{path}: JSON lines; expected tab-separated text with id, {', '.join(HEADS)} in its header. Join "
                    f"them with their turns: pointsman labels TURNS --labels {path.name} --output labelled.jsonl, and "
                    "name labelled.jsonl with --data."
                )
                raise InputError(msg)
            missing = {"id", *HEADS} - set(rows.fieldnames or ())
            if missing:
                msg = f"{path}: no column {', '.join(sorted(missing))}; expected id, {', '.join(HEADS)} in its header."
                raise InputError(msg)
            readings.update({row["id"]: row for row in rows})
    return readings


def _read_file(path: Path, readings: Readings) -> list[Example]:
    if not path.is_file():
        msg = f"{path}: no such file; expected labelled turns as JSONL. Check the path."
        raise InputError(msg)
    with path.open(encoding="utf-8") as lines:
        return [_example(path, number, line, readings) for number, line in enumerate(lines, 1) if line.strip()]


def _example(path: Path, number: int, line: str, readings: Readings) -> Example:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        msg = f"{path}:{number}: not JSON ({error.msg} at column {error.colno}); expected one object a line."
        raise InputError(msg) from error
    if not isinstance(row, dict):
        msg = f"{path}:{number}: a row is a JSON object, got {type(row).__name__}."
        raise InputError(msg)
    row |= readings.get(str(row.get("id")), {})
    prompt = row.get("prompt")
    if not isinstance(prompt, str):
        msg = f"{path}:{number}: prompt: expected text, got {type(prompt).__name__}."
        raise InputError(msg)
    return Example(
        id=str(row.get("id", f"{path.stem}:{number}")),
        group=str(row.get("group") or row.get("source") or path.stem),
        lang=str(row.get("lang", "en")),
        prompt=prompt,
        context=read_context(path, number, row.get("context", [])),
        labels={head: _label(path, number, row, head) for head in HEADS},
        certainty=_certainty(row),
        position=_position(path, number, row.get("position")),
    )


def _certainty(row: Mapping[str, Any]) -> float:
    """Return how far the labels are trusted: on average what `pointsman labels` says of each, else the reader's own."""
    combined = row.get("labels")
    if isinstance(combined, Mapping) and all(head in combined for head in HEADS):
        return sum(float(combined[head]["certainty"]) for head in HEADS) / len(HEADS)
    return _CERTAINTY.get(str(row.get("sure", "h")), 1.0)


def _position(path: Path, number: int, value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    msg = f"{path}:{number}: position: expected a whole number, got {type(value).__name__}. Correct or remove it."
    raise InputError(msg)


def read_context(path: Path, number: int, value: Any) -> tuple[Message, ...]:
    """Read the messages before a prompt; an InputError names the file and the line of anything else."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        msg = f'{path}:{number}: context: expected a list of {{"role", "text"}}, got {type(value).__name__}.'
        raise InputError(msg)
    return tuple(Message(str(item.get("role", "user")), str(item.get("text", ""))) for item in value)


def _label(path: Path, number: int, row: dict[str, Any], head: Head) -> str:
    label = row.get(head)
    if label not in HEADS[head]:
        msg = f"{path}:{number}: {head}: {label!r} is not one of {', '.join(HEADS[head])}."
        raise InputError(msg)
    return str(label)


def position(group: str, *, salt: str = "pointsman") -> float:
    """Return where a group falls in [0, 1); the same for ever."""
    digest = hashlib.blake2b(f"{salt}/{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_by_group(examples: Sequence[Example], calibration_share: float) -> tuple[list[Example], list[Example]]:
    """Split into (train, calibration) by the stable hash of the group."""
    train = [example for example in examples if position(example.group) >= calibration_share]
    calibration = [example for example in examples if position(example.group) < calibration_share]
    return train, calibration


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
