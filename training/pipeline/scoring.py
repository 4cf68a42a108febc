"""Third step: what is no copy is embedded and scored, one turn at a time.

One at a time, because the int8 graph scales its activations over a batch: so a turn gets the numbers that serving gives
it, whichever part, engine or neighbour it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pointsman.classifier.assessor import Assessor, novelty
from pointsman.classifier.bundle import REFERENCE, Bundle, load_bundle
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.labels import HEADS
from pointsman.classifier.text import text_of
from pointsman.training.calibrate import care_probabilities

from .duplicates import dropped_rows
from .files import BATCH_ROWS, write_rows
from .schema import TURN_COLUMNS, TURN_FIELDS, messages_of, turns_schema

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scorer:
    """A bundle that gives embeddings beside its probabilities."""

    bundle: Bundle
    encoder: OnnxEncoder
    assessor: Assessor
    reference: FloatArray

    @classmethod
    def load(cls, bundle: Path | None) -> "Scorer":
        found = load_bundle(bundle)
        encoder = OnnxEncoder.load(found)
        reference = np.load(found.file(REFERENCE), allow_pickle=False).astype(np.float32)
        return cls(found, encoder, Assessor(found, encoder, reference), reference)

    def score(self, prompt: str | None, context: object) -> dict[str, Any]:
        """Return the columns of one turn; nulls where there are no words."""
        if prompt is None:
            return {}
        encoded = self.encoder.encode([text_of(prompt, messages_of(context))])
        probabilities = self.assessor.probabilities(encoded)
        manifest = self.bundle.manifest
        return {
            "predicted": {head: labels[int(probabilities[head][0].argmax())] for head, labels in HEADS.items()},
            "probabilities": {head: probabilities[head][0].tolist() for head in HEADS},
            "care_probability": float(care_probabilities(probabilities)[0]),
            "novelty": novelty(encoded.surface, self.reference, manifest.novelty)[0],
            "embedding": encoded.embedding[0].astype(np.float16),
            "model_version": manifest.version,
        }


@lru_cache(maxsize=1)
def scorer_of(bundle: Path | None) -> Scorer:
    """Load a bundle once for each process."""
    return Scorer.load(bundle)


@lru_cache(maxsize=4)
def n_dimensions_of(bundle: Path | None) -> int:
    """Return the width of the embedding."""
    return int(scorer_of(bundle).encoder.encode([text_of("", ())]).embedding.shape[1])


def finish_part(rows: Path, duplicates: Path, part: int, path: Path, *, scores: bool, bundle: Path | None) -> int:
    """Write the turns of a part that are no copies; return how many there are."""
    schema = turns_schema(n_dimensions_of(bundle) if scores else None)
    dropped = dropped_rows(duplicates, part)
    kept = _kept(rows, dropped)
    return write_rows(path, schema, (_scored(batch, schema, bundle) for batch in kept) if scores else kept)


def _kept(rows: Path, dropped: set[int]) -> Iterator[pa.RecordBatch]:
    first = 0
    with pq.ParquetFile(rows) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=TURN_COLUMNS):
            places = [row for row in range(batch.num_rows) if first + row not in dropped]
            first += batch.num_rows
            if places:
                yield batch.select(TURN_COLUMNS).take(pa.array(places, pa.int64())).cast(pa.schema(TURN_FIELDS))


def _scored(batch: pa.RecordBatch, schema: pa.Schema, bundle: Path | None) -> pa.RecordBatch:
    scorer = scorer_of(bundle)
    read = zip(batch.column("prompt").to_pylist(), batch.column("context").to_pylist(), strict=True)
    scores = [scorer.score(prompt, context) for prompt, context in read]
    columns = [pa.array([row.get(field.name) for row in scores], field.type) for field in schema][len(TURN_FIELDS) :]
    return pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema)
