"""The rows of one retraining, gathered, told apart and frozen: what was learned from stays known by its digest.

Sources are labelled files, with label files (readings) for rows without labels, and the records of the service, where
it keeps text and people labelled turns in the console or corrected labels by feedback. Of two rows of one group with
the same text the later source wins. The newest labelled turns of the service are set apart, sessions whole: the
challenger never sees them, and the contest is held on them.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pointsman.classifier.assessment import Message
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.text import text_of

from .datasets import digest_of, read_context, read_examples, read_readings
from .embedding_cache import text_digest
from .importers.lines import as_object

TRAIN: Final = "train.jsonl"
RECENT: Final = "recent.jsonl"
SUMMARY: Final = "snapshot.json"
#: How many snapshots stay: they hold text.
_N_KEPT: Final = 3
#: What a row of the snapshot keeps of its source.
_FIELDS: Final = ("id", "group", "source", "lang", "context", "prompt", *HEADS, "sure", "labels", "position")
_WHEN: Final = ("at", "session")
#: Labels that the model gave and a person left as they were: trusted like a reader's least sure ones (`datasets`).
_OWN_CERTAINTY: Final = 0.85

JsonDict = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where rows come from.

    Attributes
    ----------
    data : tuple of path
        Labelled turns as JSON lines; rows without labels need a reading.
    readings : tuple of path
        Label files by row id (`datasets.read_readings`).
    records : tuple of str
        Stores of the service by URL, or files of records.
    recent_share : float
        Of the dated rows, the newest share that is set apart for the contest.
    traffic : tuple of path
        Those files of `data` whose turns are like the traffic to come (`TrainConfig.traffic`).
    """

    data: tuple[Path, ...] = ()
    readings: tuple[Path, ...] = ()
    records: tuple[str, ...] = ()
    recent_share: float = 0.2
    traffic: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The frozen rows in a folder, under one digest."""

    folder: Path
    digest: str
    summary: JsonDict

    @property
    def train(self) -> Path:
        return self.folder / TRAIN

    @property
    def recent(self) -> Path:
        return self.folder / RECENT

    def traffic(self) -> frozenset[str]:
        """Return the ids of the rows to train on that are like the traffic to come."""
        with self.train.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        return frozenset(str(row["id"]) for row in rows if row.get("is_traffic"))

    def recent_days(self) -> list[str]:
        """Return the day of each recent row, in their order."""
        with self.recent.open(encoding="utf-8") as lines:
            return [str(json.loads(line)["at"])[:10] for line in lines]


def take_snapshot(folder: Path, sources: Sources) -> Snapshot:
    """Gather the rows of all sources and freeze them in a folder named after their digest.

    Raises
    ------
    InputError
        A source is missing, a row is malformed, or no row has labels.
    """
    counts: Counter[str] = Counter()
    rows: dict[tuple[str, bytes], JsonDict] = {}
    for row in _rows(sources, counts):
        key = str(row["group"]), _text_of(row)
        earlier = rows.pop(key, {})
        counts["same text, the later source kept"] += bool(earlier)
        rows[key] = row | ({"is_traffic": True} if earlier.get("is_traffic") else {})
    train, recent = set_apart(list(rows.values()), sources.recent_share)
    if not train:
        msg = f"no labelled turn in {_named(sources)}; expected rows with {', '.join(HEADS)}. Name files with --data."
        raise InputError(msg)
    texts = {TRAIN: _lines(train), RECENT: _lines(recent)}
    digest = hashlib.sha256(b"".join(hashlib.sha256(text.encode()).digest() for text in texts.values())).hexdigest()
    summary = {
        "digest": digest,
        "rows": {"train": len(train), "recent": len(recent)},
        "counts": {name: n for name, n in sorted(counts.items()) if n},
        "files": {path.name: digest_of(path) for path in (*sources.data, *sources.readings)},
    }
    target = folder / digest[:16]
    _write(target, texts | {SUMMARY: json.dumps(summary, indent=2) + "\n"})
    read_examples([target / TRAIN, target / RECENT])  # says what is wrong with a row before anything is trained
    _prune(folder, keep=target)
    return Snapshot(target, digest, summary)


def set_apart(rows: Sequence[JsonDict], share: float) -> tuple[list[JsonDict], list[JsonDict]]:
    """Split off the newest dated rows, oldest first; a session that reaches into them goes with them."""
    dated = sorted((row for row in rows if row.get("at")), key=lambda row: (str(row["at"]), str(row.get("id"))))
    newest = dated[len(dated) - round(share * len(dated)) :]
    sessions = {str(row["session"]) for row in newest if row.get("session")}
    names = {id(row) for row in newest}
    recent = [row for row in dated if id(row) in names or str(row.get("session")) in sessions]
    chosen = {id(row) for row in recent}
    return [row for row in rows if id(row) not in chosen], recent


def _rows(sources: Sources, counts: Counter[str]) -> Iterator[JsonDict]:
    readings = read_readings(sources.readings)
    data, traffic = ({path.resolve() for path in paths} for paths in (sources.data, sources.traffic))
    for path in sources.traffic:
        if path.resolve() not in data:
            msg = f"{path}: named with --traffic alone; expected a file of --data. Name it with both."
            raise InputError(msg)
    for path in sources.data:
        mark = {"is_traffic": True} if path.resolve() in traffic else {}
        yield from (row | mark for row in _labelled(path, readings, counts))
    for url in sources.records:
        yield from _recorded(url, counts)


def _labelled(path: Path, readings: Mapping[str, Mapping[str, str]], counts: Counter[str]) -> Iterator[JsonDict]:
    if not path.is_file():
        msg = f"{path}: no such file; expected labelled turns as JSONL. Check --data."
        raise InputError(msg)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            row: JsonDict | None = as_object(line)
            if row is None:
                msg = f"{path}:{number}: no JSON object; expected one a line. Correct the line."
                raise InputError(msg)
            if row.get("context") is not None:
                read_context(path, number, row["context"])
            row |= readings.get(str(row.get("id")), {})
            if not isinstance(row.get("prompt"), str):
                counts[f"without text, left out: {path.name}"] += 1
            elif any(row.get(head) is None for head in HEADS):
                counts[f"without labels, left out: {path.name}"] += 1
            else:
                counts[f"taken from {path.name}"] += 1
                named = {"id": f"{path.stem}:{number}", "group": row.get("source") or path.stem}
                yield named | {name: row[name] for name in (*_FIELDS, *_WHEN) if row.get(name) is not None}


def _recorded(url: str, counts: Counter[str]) -> Iterator[JsonDict]:
    """Yield the turns that people labelled, in the console or by feedback, masked like any import."""
    from .importers.protocol import Problems
    from .label_sources import gather
    from .recorded_rows import recorded_rows

    problems = Problems()
    kept: list[JsonDict] = []
    for row in recorded_rows(url, problems):
        judged = [head for head in HEADS if row.get(head) is not None]
        if not judged:
            counts["records without a person's label, left out"] += 1
        elif not row.get("prompt"):
            counts["records without text, left out (POINTSMAN_STORE_TEXT)"] += 1
        elif len(judged) < len(HEADS) and not isinstance(row.get("assessed"), Mapping):
            counts["records labelled in part and not assessed, left out"] += 1
        else:
            kept.append(row)
    # People alone: where somebody corrected one label, the rest of what the model said was seen and left.
    people = gather({"id": row["id"], "votes": row["votes"]} for row in kept).by_id
    for row in kept:
        said = people[row["id"]]
        counts["taken from records"] += 1
        counts["taken from records, labelled by several people"] += len({vote["source"] for vote in row["votes"]}) > 1
        labels = {head: said[head].to_json() if head in said else _own_label(row, head) for head in HEADS}
        found = {name: row[name] for name in (*_FIELDS, *_WHEN) if row.get(name) is not None}
        yield found | {head: label["label"] for head, label in labels.items()} | {"labels": labels}
    counts["records that could not be read"] += len(problems.located)


def _own_label(row: JsonDict, head: str) -> JsonDict:
    return {"label": row["assessed"][head], "certainty": _OWN_CERTAINTY, "sources": ["model"]}


def _text_of(row: Mapping[str, Any]) -> bytes:
    context = row.get("context") or []
    messages = [Message(str(item.get("role", "user")), str(item.get("text", ""))) for item in context]
    return text_digest(text_of(str(row["prompt"]), messages))


def _lines(rows: Sequence[JsonDict]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)


def _write(target: Path, texts: Mapping[str, str]) -> None:
    """Write a folder whole; one that is there already has the same digest."""
    if target.is_dir():
        os.utime(target)
        return
    scratch = target.with_name(f".{target.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name, text in texts.items():
        (scratch / name).write_text(text, encoding="utf-8")
    os.replace(scratch, target)


def _prune(folder: Path, *, keep: Path) -> None:
    others = sorted((p for p in folder.iterdir() if p != keep), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in others[_N_KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def _named(sources: Sources) -> str:
    names = [path.name for path in sources.data] + [f"{len(sources.records)} record stores"] * bool(sources.records)
    return ", ".join(names) or "no source at all"
