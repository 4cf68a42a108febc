"""`Text` to token ids: budgets per segment, padding per batch.

Owns the tokenizer and its settings. The tokenizer file of the sentence-transformers MiniLM has fixed padding
and truncation to 128 baked in; both are switched off here, since they would pad a ten-word prompt to 128 tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from .errors import BundleCorruptError
from .text import Text

IntArray = npt.NDArray[np.int64]

_HEAD_SHARE: Final = 2 / 3


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """Most tokens each part may take. `context` is per earlier message, newest first.

    The newest message is what the person answers; it matters most and its end (the question) matters as
    much as its start.
    """

    prompt: int = 112
    context: tuple[int, ...] = (48, 28, 14, 10)

    @property
    def longest(self) -> int:
        """Tokens of the longest possible input, the special ones included."""
        return self.prompt + sum(self.context) + 3


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Token ids, attention mask and segment ids, each of shape (n_texts, n_tokens)."""

    input_ids: IntArray
    attention_mask: IntArray
    token_type_ids: IntArray


class TextTokenizer:
    """Turns texts into padded batches of token ids."""

    def __init__(self, tokenizer: Tokenizer, budget: TokenBudget) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.budget = budget
        self._cls, self._sep, self._pad = (self._special(name) for name in ("[CLS]", "[SEP]", "[PAD]"))

    @classmethod
    def load(cls, path: Path, budget: TokenBudget) -> "TextTokenizer":
        return cls(Tokenizer.from_file(str(path)), budget)

    def _special(self, name: str) -> int:
        token_id = self._tokenizer.token_to_id(name)
        if token_id is None:
            msg = f"tokenizer has no {name} token; expected a BERT-style WordPiece tokenizer. Export the bundle again."
            raise BundleCorruptError(msg)
        return int(token_id)

    def encode(self, texts: Sequence[Text]) -> TokenBatch:
        """Tokenise texts and pad them to the longest of the batch."""
        rows = self._rows(texts)
        n_tokens = max((len(ids) for ids, _ in rows), default=0)
        input_ids = np.full((len(rows), n_tokens), self._pad, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        token_type_ids = np.zeros_like(input_ids)
        for row, (ids, n_first) in enumerate(rows):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
            token_type_ids[row, n_first : len(ids)] = 1
        return TokenBatch(input_ids, attention_mask, token_type_ids)

    def _rows(self, texts: Sequence[Text]) -> list[tuple[list[int], int]]:
        parts = [part for text in texts for part in (text.prompt, *text.context)]
        encodings = iter(self._tokenizer.encode_batch(parts, add_special_tokens=False))
        return [self._row(next(encodings).ids, [next(encodings).ids for _ in text.context]) for text in texts]

    def _row(self, prompt: list[int], context: list[list[int]]) -> tuple[list[int], int]:
        """Return the ids of one text and how many of them belong to the first segment."""
        ids = [self._cls, *_cut(prompt, self.budget.prompt), self._sep]
        n_first = len(ids)
        if context:
            for message, room in zip(context, self.budget.context, strict=False):
                ids += _cut(message, room)
            ids.append(self._sep)
        return ids, n_first


def _cut(ids: list[int], room: int) -> list[int]:
    if len(ids) <= room:
        return ids
    head = int(room * _HEAD_SHARE)
    return ids[:head] + ids[len(ids) - (room - head) :]
