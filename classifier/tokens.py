"""`Text` to token ids: words of other languages through their gloss, budgets per segment, padding per batch.

The vocabulary of an English encoder cuts most Chinese or Russian words into single letters and unknown pieces. A bundle
may therefore carry glosses: tokens of their own in the tokenizer, found in any text, each of which is replaced by the
word pieces of its English gloss before the encoder sees it.

Owns the tokenizer and its settings. The tokenizer file of the sentence-transformers MiniLM has fixed padding
and truncation to 128 baked in; both are switched off here, since they would pad a ten-word prompt to 128 tokens.
"""

import json
from collections.abc import Mapping, Sequence
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

    prompt: int = 160
    context: tuple[int, ...] = (96, 40, 20, 12)

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

    def __init__(
        self, tokenizer: Tokenizer, budget: TokenBudget, glosses: Mapping[int, Sequence[int]] | None = None
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._glosses = _one_gloss_per_form(tokenizer, glosses or {})
        self.budget = budget
        self._cls, self._sep, self._pad = (self._special(name) for name in ("[CLS]", "[SEP]", "[PAD]"))

    @classmethod
    def load(cls, path: Path, budget: TokenBudget, glosses: Path | None = None) -> "TextTokenizer":
        """Load a tokenizer file, and a glosses file where there is one.

        Raises
        ------
        BundleCorruptError
            The file is no tokenizer, it lacks a token it needs, or the glosses are no map of token ids.
        """
        known = read_glosses(glosses) if glosses is not None else {}
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            msg = f"{path.name} is no tokenizer of the library `tokenizers`. Export the bundle again."
            raise BundleCorruptError(msg) from error
        return cls(tokenizer, budget, known)

    def _special(self, name: str) -> int:
        token_id = self._tokenizer.token_to_id(name)
        if token_id is None:
            msg = f"tokenizer has no {name} token; expected a BERT-style WordPiece tokenizer. Export the bundle again."
            raise BundleCorruptError(msg)
        return int(token_id)

    def encode(self, texts: Sequence[Text]) -> TokenBatch:
        """Tokenise texts and pad them to the longest of the batch."""
        rows = self._rows(texts)
        if len(rows) == 1:
            ((ids, n_first),) = rows
            return _alone(ids, n_first)
        shape = len(rows), max((len(ids) for ids, _ in rows), default=0)
        input_ids, attention_mask, token_type_ids = (np.zeros(shape, dtype=np.int64) for _ in range(3))
        for row, (ids, n_first) in enumerate(rows):
            input_ids[row, : len(ids)] = ids
            input_ids[row, len(ids) :] = self._pad
            attention_mask[row, : len(ids)] = 1
            token_type_ids[row, n_first : len(ids)] = 1
        return TokenBatch(input_ids, attention_mask, token_type_ids)

    def _rows(self, texts: Sequence[Text]) -> list[tuple[list[int], int]]:
        if len(texts) == 1:
            # A batch is handed to the tokenizer's threads, which takes longer than one text.
            (text,), encode = texts, self._tokenizer.encode
            prompt, *context = (
                self._read(part, encode(part, add_special_tokens=False).ids) for part in (text.prompt, *text.context)
            )
            return [self._row(prompt, context)]
        parts = [part for text in texts for part in (text.prompt, *text.context)]
        encodings = self._tokenizer.encode_batch(parts, add_special_tokens=False)
        ids = (self._read(part, encoding.ids) for part, encoding in zip(parts, encodings, strict=True))
        return [self._row(next(ids), [next(ids) for _ in text.context]) for text in texts]

    def _read(self, part: str, ids: list[int]) -> list[int]:
        """Put the gloss in the place of each token that has one."""
        if not self._glosses or part.isascii():
            return ids
        return [piece for token in ids for piece in self._glosses.get(token, (token,))]

    def _row(self, prompt: list[int], context: list[list[int]]) -> tuple[list[int], int]:
        """Return the ids of one text and how many of them belong to the first segment."""
        ids = [self._cls, *_cut(prompt, self.budget.prompt), self._sep]
        n_first = len(ids)
        if context:
            for message, room in zip(context, self.budget.context, strict=False):
                ids += _cut(message, room)
            ids.append(self._sep)
        return ids, n_first


def read_glosses(path: Path) -> dict[int, list[int]]:
    """Read a bundle's glosses: the word pieces that stand in for each token of another language.

    Raises
    ------
    BundleCorruptError
        The file is no map of token ids.
    """
    try:
        return {int(token): [int(piece) for piece in gloss] for token, gloss in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        msg = f"{path.name} is no map of token ids to token ids ({type(error).__name__}). Export the bundle again."
        raise BundleCorruptError(msg) from error


def _one_gloss_per_form(tokenizer: Tokenizer, glosses: Mapping[int, Sequence[int]]) -> dict[int, Sequence[int]]:
    """Give terms that are one word once accents are stripped the gloss of the first of them.

    Which of their tokens the tokenizer finds differs from process to process.
    """
    first: dict[str, int] = {}
    found: dict[int, Sequence[int]] = {}
    added = tokenizer.get_added_tokens_decoder() if glosses else {}
    for token in sorted(glosses):
        term = added.get(token)
        form = str(token) if term is None else term.content
        if term is not None and term.normalized and tokenizer.normalizer is not None:
            form = tokenizer.normalizer.normalize_str(form)
        found[token] = glosses[first.setdefault(form, token)]
    return found


def _alone(ids: list[int], n_first: int) -> TokenBatch:
    """Return a batch of one, which needs no padding."""
    input_ids = np.array([ids], dtype=np.int64)  # (1, n_tokens)
    token_type_ids = np.zeros_like(input_ids)
    token_type_ids[0, n_first:] = 1
    return TokenBatch(input_ids, np.ones_like(input_ids), token_type_ids)


def _cut(ids: list[int], room: int) -> list[int]:
    if len(ids) <= room:
        return ids
    head = int(room * _HEAD_SHARE)
    return ids[:head] + ids[len(ids) - (room - head) :]
