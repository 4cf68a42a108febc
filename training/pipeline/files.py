"""Parquet files that are there whole or not at all, however often a step is killed or done twice."""

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

PARTIAL: Final = ".partial"
#: Rows that are held at a time.
BATCH_ROWS: Final = 1_000


def write_rows(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], metadata: Mapping[str, str] | None = None
) -> int:
    """Write batches to a file and put it in its place at the end; return how many rows it has.

    `metadata` may be filled until the batches end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: the same step may run twice at a time, where a cluster has given up on a worker too early.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    n_rows = 0
    try:
        with pq.ParquetWriter(partial, schema, compression="zstd", store_schema=True) as writer:
            for batch in batches:
                writer.write_batch(batch)
                n_rows += batch.num_rows
            writer.add_key_value_metadata(dict(metadata or {}))
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return n_rows


def batch_of(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows as one batch."""
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def batches_of(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Gather rows into batches of `BATCH_ROWS`."""
    waiting = iter(rows)
    while held := list(islice(waiting, BATCH_ROWS)):
        yield batch_of(held, schema)


def n_rows_of(path: Path) -> int:
    """Return how many rows a file holds."""
    return int(pq.read_metadata(path).num_rows)


def metadata_of(path: Path) -> dict[str, str]:
    """Return what was written beside the rows."""
    found = pq.read_metadata(path).metadata or {}
    return {name.decode(): value.decode() for name, value in found.items() if name.startswith(b"pointsman.")}


def remove_partial(folder: Path) -> None:
    """Remove what killed steps have left."""
    for path in folder.glob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    partial = path.with_name(f"{path.name}{PARTIAL}")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
