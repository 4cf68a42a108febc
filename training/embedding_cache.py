"""Embeddings that were computed before, in one SQLite file per encoder: a refit of the heads embeds new turns only.

A file is named after everything that an embedding depends on: the encoder in the graph, tokenizer, glosses, token
budget and runtime. A row is found by the digest of its text; no text is in it. Every text is embedded alone, as it
is when a request comes: in a batch of the int8 graph its neighbours would move it (`evaluate.assess_examples`).
"""

import hashlib
import json
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tqdm import tqdm

from pointsman.classifier import bundle as bundles
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.text import Text
from pointsman.classifier.tokens import TokenBudget

from .datasets import Example
from .fitting import Embedded
from .graph import encoder_digest

logger = logging.getLogger(__name__)

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS embeddings (text BLOB PRIMARY KEY, embedding BLOB, surface BLOB) WITHOUT ROWID"
)
#: Rows of one transaction: what an interrupted run computes again at most.
_BATCH_ROWS: Final = 64
#: SQLite takes so many variables in one statement, whatever its version.
_MAX_VARIABLES: Final = 500

_Row = tuple[bytes, bytes, bytes]


class EmbeddingCache:
    """The embeddings of one encoder."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def of(cls, folder: Path, bundle: Path, budget: TokenBudget) -> "EmbeddingCache":
        """Return the cache, in a folder of caches, that belongs to the graph and the tokenizer in a bundle's folder."""
        parts = {
            "encoder": encoder_digest(bundle / bundles.MODEL),
            "tokenizer": bundles.sha256_of(bundle / bundles.TOKENIZER),
            "glosses": bundles.sha256_of(bundle / bundles.GLOSSES),
            "budget": asdict(budget),
            "runtime": ort.__version__,
        }
        name = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder / f"{name}.sqlite")

    def embed(self, runtime: OnnxEncoder, examples: Sequence[Example]) -> Embedded:
        """Return the rows of examples in their order; those that are not known are computed and kept."""
        digests = [text_digest(example.text) for example in examples]
        with closing(sqlite3.connect(self._file, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_TABLE)
            known = self._known(connection, digests)
            missing = {
                digest: example.text for digest, example in zip(digests, examples, strict=True) if digest not in known
            }
            logger.info("embed %d turns; of %d the embedding is kept", len(missing), len(digests) - len(missing))
            bar = tqdm(total=len(missing), desc="embed", unit="turn", mininterval=5, disable=not missing)
            rows = _computed(runtime, missing)
            with bar:
                while batch := list(islice(rows, _BATCH_ROWS)):
                    connection.execute("BEGIN")
                    connection.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)", batch)
                    connection.execute("COMMIT")
                    known.update((digest, (embedding, surface)) for digest, embedding, surface in batch)
                    bar.update(len(batch))
        found = [known[digest] for digest in digests]
        return Embedded(*(_matrix([row[part] for row in found]) for part in (0, 1)))

    def _known(self, connection: sqlite3.Connection, digests: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
        known: dict[bytes, tuple[bytes, bytes]] = {}
        for start in range(0, len(digests), _MAX_VARIABLES):
            part = digests[start : start + _MAX_VARIABLES]
            marks = ",".join("?" * len(part))
            query = f"SELECT text, embedding, surface FROM embeddings WHERE text IN ({marks})"  # noqa: S608  marks only
            known.update((text, (embedding, surface)) for text, embedding, surface in connection.execute(query, part))
        return known


def text_digest(text: Text) -> bytes:
    """Return the digest of a model input."""
    return hashlib.sha256(json.dumps([text.prompt, *text.context]).encode()).digest()


def _computed(runtime: OnnxEncoder, texts: dict[bytes, Text]) -> Iterator[_Row]:
    for digest, text in texts.items():
        encoded = runtime.encode([text])
        yield digest, encoded.embedding[0].tobytes(), encoded.surface[0].tobytes()


def _matrix(rows: Sequence[bytes]) -> npt.NDArray[np.float32]:
    return np.stack([np.frombuffer(row, dtype=np.float32) for row in rows])
