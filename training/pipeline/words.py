"""When are two turns the same? By their words: what the person wrote, and what stood before it, each on its own.

Equal words have equal digests. Nearly equal ones meet in a band: MinHash (Broder 1997) of the three-word sequences of
prompt and context, of which each band takes four values of both, so that a short answer to the same long message is no
copy of another one. Signatures come from rensa: 7 microseconds a turn, where datasketch takes 230 (2,000 turns of
`data/turns`, 2026-11-22).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from rensa import RMinHash

N_BANDS: Final = 8
#: Of prompt and context each: two turns alike in 0.9 of both meet in some band 99 times of 100, in 0.8 77 times.
_ROWS_PER_BAND: Final = 4
_SEQUENCE_WORDS: Final = 3
_SEED: Final = 20261122
# Scripts without spaces are read letter by letter.
_UNSPACED: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Marks:
    """What copies of a turn share: the digest of its words, or some of the bands (64 bits each)."""

    digest: str
    bands: tuple[int, ...]


def words_of(text: str) -> list[str]:
    """Return the words in lower case; of a text without any, its signs."""
    return _WORD.findall(text.lower()) or text.split()


def sequences_of(texts: Iterable[str]) -> set[str]:
    """Collect the three-word sequences of some texts; a shorter text is one sequence."""
    return {sequence for text in texts for sequence in _sequences(words_of(text))}


def _sequences(words: list[str]) -> Iterator[str]:
    for start in range(max(len(words) - _SEQUENCE_WORDS, 0) + 1):
        yield " ".join(words[start : start + _SEQUENCE_WORDS])


def marks_of(prompt: str, context: Iterable[str]) -> Marks:
    """Return what a turn is found again by."""
    context = list(context)
    digest = blake2b(digest_size=16)
    for text in (prompt, *context):
        digest.update(" ".join(words_of(text)).encode())
        digest.update(b"\0")
    values = np.stack([_signature([prompt]), _signature(context)], axis=1)  # (N_BANDS, 2, _ROWS_PER_BAND)
    bands = (int.from_bytes(blake2b(band.tobytes(), digest_size=8).digest(), "little") for band in values)
    return Marks(digest.hexdigest(), tuple(bands))


def _signature(texts: list[str]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint32]]:
    minhash = RMinHash(num_perm=N_BANDS * _ROWS_PER_BAND, seed=_SEED)
    minhash.update(sorted(sequences_of(texts)))
    return np.array(minhash.digest(), dtype=np.uint32).reshape(N_BANDS, _ROWS_PER_BAND)


def similarity(one: tuple[str, list[str]], other: tuple[str, list[str]]) -> float:
    """Return how alike two turns (prompt, context) are: the lesser share of prompt and of context, Jaccard's."""
    return min(
        _jaccard(sequences_of([one[0]]), sequences_of([other[0]])),
        _jaccard(sequences_of(one[1]), sequences_of(other[1])),
    )


def _jaccard(one: set[str], other: set[str]) -> float:
    union = len(one | other)
    return len(one & other) / union if union else 1.0
