"""Files of labels by the id of a turn, without its text: what people and language models said, one judgement a row.

JSON lines, CSV or TSV with `id`, any of the four heads, and `by`: `person:anna`, `llm:some-model`. Rows without `by`
are the file's. A file is only ever added to; of several rows by one labeller on one turn the last counts, head by head,
and an empty label of JSON lines takes an earlier one back.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.records import utc_now


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one labeller says of one turn; an empty label takes an earlier one back."""

    id: str
    by: str
    labels: Mapping[Head, str] = field(default_factory=dict)


def read_judgements(paths: Iterable[Path]) -> Iterator[Judgement]:
    """Read label files in order.

    Raises
    ------
    InputError
        A file is missing, or a row has no id or an unknown label; names file and line.
    """
    for path in paths:
        if not path.is_file():
            msg = f"{path}: no such file; expected labels as JSON lines, CSV or TSV. Check the path."
            raise InputError(msg)
        for number, row in _rows(path):
            name = str(row.get("id") or "")
            if not name:
                msg = f"{path}:{number}: no id; expected the id of a turn. Add it or remove the row."
                raise InputError(msg)
            found = {head: str(row[head]) for head in HEADS if row.get(head) is not None}
            for head, label in found.items():
                if label and label not in HEADS[head]:
                    msg = f"{path}:{number}: {head}: {label[:30]!r} is not one of {', '.join(HEADS[head])}. Correct it."
                    raise InputError(msg)
            yield Judgement(name, str(row.get("by") or f"file:{path.stem}"), found)


def labels_by(paths: Iterable[Path]) -> dict[str, dict[str, dict[Head, str]]]:
    """Return the labels that count: by turn, then by labeller, then by head."""
    found: dict[str, dict[str, dict[Head, str]]] = {}
    for judgement in read_judgements(paths):
        labels = found.setdefault(judgement.id, {}).setdefault(judgement.by, {})
        for head, label in judgement.labels.items():
            if label:
                labels[head] = label
            else:
                labels.pop(head, None)
    return found


def append_judgement(path: Path, judgement: Judgement, **more: object) -> None:
    """Add one judgement to a file of JSON lines and see to it that it is on the disk."""
    row: dict[str, object] = {"id": judgement.id, "by": judgement.by, "at": utc_now()}
    row |= {str(head): label for head, label in judgement.labels.items()} | more
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


class _Tabs(csv.excel_tab):
    quoting = csv.QUOTE_NONE


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    name = path.name.lower()
    with path.open(encoding="utf-8-sig", newline="") as lines:
        if name.endswith((".csv", ".tsv")):
            is_tab = name.endswith(".tsv")
            reader = csv.DictReader(lines, dialect=_Tabs if is_tab else csv.excel)
            if "id" not in (reader.fieldnames or ()):
                msg = f"{path}: no column id; expected id and any of {', '.join(HEADS)} in its header."
                raise InputError(msg)
            for row in reader:
                # An empty cell says nothing here; only JSON lines are written by labellers that take things back.
                yield reader.line_num, {key: value for key, value in row.items() if value}
            return
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _object(path, number, line)


def _object(path: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        msg = f"{path}:{number}: not JSON; expected one object a line. Correct or remove the line."
        raise InputError(msg) from error
    if not isinstance(row, dict):
        msg = f"{path}:{number}: a row is a JSON object, got {type(row).__name__}. Correct or remove the line."
        raise InputError(msg)
    return row
