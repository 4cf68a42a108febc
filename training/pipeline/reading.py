"""First step: the turns of one part, masked, with marks that copies are found by and votes of what came next."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Final

from pointsman.classifier.assessment import Message
from pointsman.classifier.identity import hash_parts
from pointsman.classifier.labels import HEADS
from pointsman.classifier.story import cut_message
from pointsman.classifier.text import MAX_PROMPT_CHARS, cut_middle
from pointsman.training.importers.cues import read_cues
from pointsman.training.importers.lines import MAX_LINE_BYTES, NOT_JSON, TOO_LONG, as_count, as_dict, as_object, as_text
from pointsman.training.importers.masking import Masker
from pointsman.training.importers.protocol import MAX_LOCATED, Location, Problems
from pointsman.training.importers.rows import RowSettings
from pointsman.training.importers.run import READ_ERRORS, UNREADABLE, read_source, source_at
from pointsman.training.labels_from_next import votes_of

from .files import batches_of, metadata_of, write_rows
from .plan import TURNS, Part, Piece
from .schema import ROWS, messages_of, turn_row
from .words import marks_of

JsonDict = dict[str, object]
COUNTS: Final = "pointsman.counts"
LOCATED: Final = "pointsman.located"
NO_PROMPT: Final = "row without a prompt"
GONE: Final = "log that is gone"
# Of imported text: nothing that a run without a salt would not write.
_SETTINGS: Final = RowSettings(keeps_text=True, salt="")
_HASH_CHARS: Final = 20
_ID_CHARS: Final = 12
#: Columns that a file of other people may use for words.
_WORDED: Final = ("source", "kind", "lang", "license", "outcome", *map(str, HEADS), "sure")
#: A message stands in the context of up to four later turns; it is masked once.
_N_MASKED: Final = 4_096


def read_part(part: Part, path: Path, *, with_subagents: bool) -> None:
    """Write the rows of a part."""
    told: dict[str, str] = {}
    write_rows(path, ROWS, batches_of(_rows(part, told, with_subagents=with_subagents), ROWS), told)


def counts_of(path: Path) -> tuple[Counter[str], list[str]]:
    """Return what was left out of a part, and where the first such places are."""
    told = metadata_of(path)
    return Counter(json.loads(told.get(COUNTS, "{}"))), json.loads(told.get(LOCATED, "[]"))


def _rows(part: Part, told: dict[str, str], *, with_subagents: bool) -> Iterator[JsonDict]:
    problems = Problems()
    for piece in part.pieces:
        rows = _turns(piece, problems) if piece.kind == TURNS else _log(piece, problems, with_subagents=with_subagents)
        for row in rows:
            prompt = as_text(row.get("prompt"))
            context = messages_of(row.get("context"))
            marks = None if prompt is None else marks_of(prompt, [message.text for message in context])
            yield turn_row(row, marks, votes_of([row])[0].tolist())
    told |= {
        COUNTS: json.dumps(problems.counts),
        LOCATED: json.dumps(problems.located[:MAX_LOCATED]),
    }


def _log(piece: Piece, problems: Problems, *, with_subagents: bool) -> Iterator[JsonDict]:
    location = Location(piece.address)
    if not location.is_url and not Path(piece.address).is_file():
        # Clients delete old logs at any time.
        problems.add(piece.address, GONE)
        return
    try:
        source = source_at(location, piece.kind)
        if source is not None:
            yield from read_source(source, _SETTINGS, problems, with_subagents=with_subagents)
    except READ_ERRORS:
        problems.add(location.name, UNREADABLE)


def _turns(piece: Piece, problems: Problems) -> Iterator[JsonDict]:
    clean = lru_cache(_N_MASKED)(Masker().clean)
    name = Path(piece.address).stem
    for offset, line in _lines(piece, problems):
        row = as_object(line)
        prompt = as_text((row or {}).get("prompt"))
        if row is None or prompt is None or not prompt.strip():
            problems.add(f"{piece.address}: byte {offset}", NOT_JSON if row is None else NO_PROMPT)
            continue
        context = tuple(cut_message(m.role, clean(m.text)) for m in messages_of(row.get("context")))
        prompt = cut_middle(clean(prompt), MAX_PROMPT_CHARS)
        row |= {name: clean(text) for name in _WORDED if (text := as_text(row.get(name))) is not None}
        yield row | {
            "id": as_text(row.get("id")) or _named_by_words(f"{name}:{offset}", prompt, context),
            "group": as_text(row.get("group")) or as_text(row.get("source")) or name,
            "prompt": prompt,
            "context": [asdict(message) for message in context],
            "digest": hash_parts("prompt", "", " ".join(prompt.split()))[:_HASH_CHARS],
            "features": _features(row, prompt, context),
        }


def _named_by_words(place: str, prompt: str, context: tuple[Message, ...]) -> str:
    """Name a row by its place and its words: files of one name in two folders count alike."""
    said = [part for message in context for part in (message.role, message.text)]
    return f"{place}:{hash_parts(prompt, *said)[:_ID_CHARS]}"


def _features(row: JsonDict, prompt: str, context: tuple[Message, ...]) -> JsonDict:
    n_media = as_count(as_dict(row.get("features")).get("n_media"))
    return read_cues(prompt).features | {"n_context": len(context), "n_media": n_media}


def _lines(piece: Piece, problems: Problems) -> Iterator[tuple[int, bytes]]:
    if not Path(piece.address).is_file():
        problems.add(piece.address, GONE)
        return
    with open(piece.address, "rb") as file:
        file.seek(piece.start)
        while (offset := file.tell()) < piece.end and (line := file.readline(MAX_LINE_BYTES)):
            if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                problems.add(f"{piece.address}: byte {offset}", TOO_LONG)
                while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
            elif line.strip():
                yield offset, line
