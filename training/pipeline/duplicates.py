"""Second step: which turns are copies of earlier ones? One decision over all parts, out of core.

DuckDB holds the marks, within a memory limit and beyond it on disk; on marks of 4 million turns it took 12 s and 1.1 GB
where Polars' streaming engine took 20 s and 3.4 GB, and at 10 million it took 56 s and still 1.1 GB (2026-11-22).

A turn is a copy of the first one (those that people labelled first, then in the order of the parts) that has its id and
group, or its words, or, checked on the texts, nearly its words. A copy of a copy is a copy of the first.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from .config import Folder, PipelineConfig, key_of
from .files import PARTIAL, write_rows, write_text
from .outcomes import label_patterns
from .plan import Part
from .words import similarity

#: Why a turn is a copy.
REASONS: Final = ("id", "words", "nearly")
_PAIRS: Final = pa.schema([("turn", pa.int64()), ("first", pa.int64())])
_JUDGED: Final = pa.schema(
    [
        ("votes", pa.list_(pa.int8())),
        ("label", pa.string()),
        ("confidence", pa.float64()),
        ("sources", pa.list_(pa.string())),
    ]
)
_BATCH_PAIRS: Final = 1_000
_DATABASE: Final = "duplicates.duckdb"
_SPILL: Final = "spill"
# A turn's number: its place (part, then row); without a label by a person it comes after all that have one.
_MACROS: Final = """
CREATE MACRO place_at(part, row) AS (part::BIGINT << 32) + row;
CREATE MACRO number_at(place, is_labelled) AS place + CASE WHEN is_labelled THEN 0 ELSE 1::BIGINT << 61 END;
CREATE MACRO place_of(turn) AS turn & ((1::BIGINT << 61) - 1);
CREATE MACRO part_of(turn) AS (place_of(turn) >> 32)::INTEGER;
CREATE MACRO row_of(turn) AS place_of(turn) & ((1::BIGINT << 32) - 1);
"""
_TURNS: Final = """
CREATE TABLE turns AS
SELECT number_at(place_at(parts.number, file_row_number), category IS NOT NULL) AS turn,
       id, "group", words, bands, votes
FROM read_parquet($files, filename = true, file_row_number = true) AS rows
JOIN parts ON parts.filename = rows.filename
"""
_NO_TURNS: Final = """
CREATE TABLE turns (turn BIGINT, id VARCHAR, "group" VARCHAR, words VARCHAR, bands UBIGINT[], votes TINYINT[])
"""
_SAME: Final = """
CREATE TABLE {table} AS
WITH known AS (
    SELECT turn, min(turn) OVER (PARTITION BY {column}) AS first FROM turns WHERE {condition}
)
SELECT turn, first FROM known WHERE turn <> first
"""
# Turns that are copies already look for no other.
_BANDS: Final = """
CREATE TABLE banded AS
SELECT turn, unnest(bands) AS value, generate_subscripts(bands, 1) AS band
FROM turns ANTI JOIN same USING (turn) ANTI JOIN same_id USING (turn)
WHERE words IS NOT NULL
"""
_MEETING: Final = """
CREATE TABLE meeting AS
WITH firsts AS (SELECT band, value, min(turn) AS first FROM banded GROUP BY band, value HAVING count(*) > 1)
SELECT DISTINCT turn, first FROM banded JOIN firsts USING (band, value) WHERE turn <> first
"""
_TEXTS: Final = """
CREATE TABLE texts AS
SELECT place, prompt, list_transform(context, lambda message: message.text) AS context
FROM (
    SELECT place_at(parts.number, file_row_number) AS place, prompt, context
    FROM read_parquet($files, filename = true, file_row_number = true) AS rows
    JOIN parts ON parts.filename = rows.filename
)
SEMI JOIN (SELECT place_of(turn) AS place FROM meeting UNION SELECT place_of(first) FROM meeting) USING (place)
"""
_NO_TEXTS: Final = "CREATE TABLE texts (place BIGINT, prompt VARCHAR, context VARCHAR[])"
_COMPARED: Final = """
SELECT turn, first, one.prompt, one.context, other.prompt, other.context
FROM meeting
JOIN texts AS one ON one.place = place_of(turn)
JOIN texts AS other ON other.place = place_of(first)
"""
_LINKS: Final = """
CREATE TABLE links AS
SELECT turn, min(first) AS first, arg_min(reason, (first, reason)) AS reason
FROM (
    SELECT turn, first, 'id' AS reason FROM same_id
    UNION ALL SELECT turn, first, 'words' FROM same
    UNION ALL SELECT turn, first, 'nearly' FROM near
)
GROUP BY turn
"""
_FOLLOWED: Final = """
CREATE OR REPLACE TABLE links AS
SELECT links.turn, coalesce(further.first, links.first) AS first, links.reason
FROM links LEFT JOIN links AS further ON further.turn = links.first
"""
_UNFINISHED: Final = "SELECT count(*) FROM links SEMI JOIN links AS further ON further.turn = links.first"
_COPIES: Final = """
CREATE TABLE copies AS
SELECT copy.id, kept.id AS duplicate_of, reason, part_of(links.turn) AS part, row_of(links.turn) AS row
FROM links
JOIN turns AS copy ON copy.turn = links.turn
JOIN turns AS kept ON kept.turn = links.first
"""
_BY_REASON: Final = "SELECT reason, count(*) FROM copies GROUP BY reason"
_DROPPED: Final = "SELECT part, md5(string_agg(row::VARCHAR, ',' ORDER BY row)) FROM copies GROUP BY part ORDER BY part"
_VOTES: Final = "SELECT votes, count(*) FROM turns ANTI JOIN links USING (turn) GROUP BY votes ORDER BY votes"
_OUTCOMES: Final = """
SELECT id, label, confidence, sources
FROM turns ANTI JOIN links USING (turn) JOIN judged USING (votes)
ORDER BY turn
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: copies by reason, a digest of the copies in each part that has any, and labels by source."""

    n_turns: int
    n_copies: dict[str, int]
    dropped: dict[int, str]
    outcomes: list[dict[str, Any]]


def find_duplicates(folder: Folder, parts: Sequence[Part], config: PipelineConfig) -> Found:
    """Search the rows of all parts; write `duplicates.parquet` and `outcomes.parquet`, or find that they stand."""
    key = key_of([part.key for part in parts], config.similarity)
    told = folder.work / f"search-{key}.json"
    if told.exists() and folder.duplicates.exists() and folder.outcomes.exists():
        known = json.loads(told.read_text(encoding="utf-8"))
        return Found(**known | {"dropped": {int(part): digest for part, digest in known["dropped"].items()}})
    for stale in folder.work.glob("search-*.json"):
        stale.unlink()
    path = folder.work / _DATABASE
    path.unlink(missing_ok=True)
    with duckdb.connect(str(path), config=_settings(folder, config)) as database:
        found = _search(database, folder, parts, config)
    path.unlink()
    shutil.rmtree(folder.work / _SPILL, ignore_errors=True)
    write_text(told, json.dumps(asdict(found)))
    return found


def dropped_rows(path: Path, part: int) -> set[int]:
    """Return which rows of a part are copies."""
    return set(pq.read_table(path, columns=["row"], filters=[("part", "=", part)]).column("row").to_pylist())


def _settings(folder: Folder, config: PipelineConfig) -> dict[str, Any]:
    settings = {
        "memory_limit": f"{config.memory_gb}GB",
        "temp_directory": str(folder.work / _SPILL),
        "preserve_insertion_order": False,
    }
    return settings | ({"threads": config.n_workers} if config.n_workers else {})


def _search(database: Any, folder: Folder, parts: Sequence[Part], config: PipelineConfig) -> Found:
    files = {str(folder.rows(part.key)): part.number for part in parts}
    given = {"files": list(files)}
    named = pa.table({"filename": pa.array(files, pa.string()), "number": pa.array(files.values(), pa.int64())})
    # Else a bar for each slow query, wherever the output goes.
    database.execute("SET enable_progress_bar = false")
    database.register("named", named)
    database.execute(_MACROS)
    database.execute("CREATE TABLE parts AS SELECT * FROM named")
    database.execute(_TURNS if files else _NO_TURNS, given if files else None)
    database.execute(_SAME.format(table="same_id", column='"group", id', condition="id IS NOT NULL"))
    database.execute(_SAME.format(table="same", column="words", condition="words IS NOT NULL"))
    database.execute(_BANDS)
    database.execute(_MEETING)
    database.execute(_TEXTS if files else _NO_TEXTS, given if files else None)
    _compare(database, folder.work / "near.parquet", config.similarity)
    database.execute(_LINKS)
    while database.execute(_UNFINISHED).fetchone()[0]:
        database.execute(_FOLLOWED)
    database.execute(_COPIES)
    _copy(database, "SELECT * FROM copies ORDER BY part, row", folder.duplicates)
    return Found(
        n_turns=database.execute("SELECT count(*) FROM turns").fetchone()[0],
        n_copies=dict.fromkeys(REASONS, 0) | dict(database.execute(_BY_REASON).fetchall()),
        dropped=dict(database.execute(_DROPPED).fetchall()),
        outcomes=_judge(database, folder),
    )


def _compare(database: Any, path: Path, least: float) -> None:
    """Keep the pairs that are alike by their texts, not only by their marks."""

    def alike() -> Iterator[pa.RecordBatch]:
        pairs = database.execute(_COMPARED)
        while held := pairs.fetchmany(_BATCH_PAIRS):
            kept = [(turn, first) for turn, first, *texts in held if similarity(texts[:2], texts[2:]) >= least]
            yield pa.RecordBatch.from_pylist([{"turn": turn, "first": first} for turn, first in kept], schema=_PAIRS)

    write_rows(path, _PAIRS, alike())
    database.execute("CREATE TABLE near AS SELECT * FROM read_parquet($file)", {"file": str(path)})
    path.unlink()


def _judge(database: Any, folder: Folder) -> list[dict[str, Any]]:
    """Label the turns that are no copies by what came next; write `outcomes.parquet`."""
    counts = {tuple(votes): n for votes, n in database.execute(_VOTES).fetchall()}
    labels, reports = label_patterns(counts)
    rows = [
        {"votes": list(votes), "label": label.label, "confidence": label.confidence, "sources": list(label.sources)}
        for votes, label in labels.items()
    ]
    database.register("judged", pa.Table.from_pylist(rows, schema=_JUDGED))
    _copy(database, _OUTCOMES, folder.outcomes)
    return [asdict(report) for report in reports]


def _copy(database: Any, query: str, path: Path) -> None:
    partial = path.with_name(f"{path.name}{PARTIAL}")
    database.execute(
        f"COPY ({query}) TO '{str(partial).replace(chr(39), chr(39) * 2)}' (FORMAT parquet, COMPRESSION zstd)"
    )
    os.replace(partial, path)
