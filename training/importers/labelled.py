"""Turns that were labelled by hand: JSON lines, CSV or Parquet with `prompt` and the four labels (`data/README.md`).

A row that lacks a label, or has an unknown one, is located and left out: it would not train.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Final

from pointsman.classifier.assessment import Message
from pointsman.classifier.labels import HEADS
from pointsman.classifier.story import cut_message

from .lines import MAX_LINE_BYTES, as_dict, as_object, as_text, as_value, read_rows
from .protocol import Cleaner, ImportedTurn, Location, Problems

_BATCH_ROWS: Final = 500
_KEPT: Final = ("lang", "license", "source")
_HEADER: Final = re.compile(r"(?=.*\bprompt\b)(?=.*\bcategory\b)")


class LabelledImporter:
    """Reads one file of labelled turns."""

    kind = "labelled"

    def recognises(self, location: Location, head: str) -> bool:
        name = location.address.lower()
        if name.endswith(".parquet"):
            return head.startswith("PAR1")
        first = head.partition("\n")[0]
        if name.endswith((".csv", ".tsv")):
            return bool(_HEADER.match(first))
        return {"prompt", "category"} <= (as_object(first) or {}).keys() or bool(
            re.search(r'"prompt":', head) and re.search(r'"category":', head) and name.endswith(".jsonl")
        )

    def turns(self, location: Location, cleaner: Cleaner, problems: Problems) -> Iterator[ImportedTurn]:
        positions: dict[str, int] = {}
        for place, row in _rows(location, problems):
            prompt = row.get("prompt")
            labels = {str(head): str(row.get(head)) for head in HEADS}
            wrong = [str(head) for head, known in HEADS.items() if labels[head] not in known]
            if not isinstance(prompt, str) or not prompt.strip() or wrong:
                problems.add(place, f"no known label of {', '.join(wrong)}" if wrong else "no prompt")
                continue
            group = as_text(row.get("group")) or as_text(row.get("source")) or location.address
            session = as_text(row.get("session")) or group
            position = positions[session] = positions.get(session, -1) + 1
            if sure := as_text(row.get("sure")):
                labels["sure"] = sure
            yield ImportedTurn(
                session=session,
                project=group,
                uid=as_text(row.get("id")),
                prompt=cleaner.clean(prompt),
                context=_context(row.get("context"), cleaner),
                position=position,
                labels=labels,
                extra={name: row[name] for name in _KEPT if as_text(row.get(name)) is not None},
            )


def _context(value: object, cleaner: Cleaner) -> tuple[Message, ...]:
    if isinstance(value, str):
        value = as_value(value)
    entries = map(as_dict, value) if isinstance(value, list) else ()
    return tuple(
        cut_message(str(entry.get("role", "user")), cleaner.clean(text))
        for entry in entries
        if (text := as_text(entry.get("text"))) is not None
    )


def _rows(location: Location, problems: Problems) -> Iterator[tuple[str, Mapping[str, object]]]:
    name = location.address
    if name.lower().endswith(".parquet"):
        yield from _parquet_rows(name, problems)
    elif name.lower().endswith((".csv", ".tsv")):
        csv.field_size_limit(MAX_LINE_BYTES)
        with open(name, encoding="utf-8-sig", errors="replace", newline="") as lines:
            reader = csv.DictReader(lines, delimiter="\t" if name.lower().endswith(".tsv") else ",")
            for row in reader:
                yield f"{name}:{reader.line_num}", row
    else:
        for number, found in read_rows(location, problems):
            yield f"{name}:{number}", found


def _parquet_rows(name: str, problems: Problems) -> Iterator[tuple[str, Mapping[str, object]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(name) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{name}: row {number}", row
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        problems.add(f"{name}: after row {number}", f"not readable as Parquet ({type(error).__name__})")
