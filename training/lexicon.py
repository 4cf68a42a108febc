"""Words of other languages for an English encoder, read through their English gloss.

A lexicon (`data/lexicon/*.tsv`: term, tab, English gloss) makes each term a token of the tokenizer; the runtime puts
the word pieces of the gloss in its place (`classifier/tokens.py`). The encoder then reads English in foreign word
order, which it does well without having seen it, and learns from rows in any language at once.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Tokenizer

from pointsman.classifier.errors import InputError

#: Written without spaces between words, or (Korean) with endings glued on, and without case.
_UNSPACED: Final = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_LATIN: Final = re.compile(r"[a-z]", re.IGNORECASE)
#: Shorter terms of inflected languages stand in too many other words to be matched inside them.
_MIN_STEM: Final = 4


@dataclass(frozen=True, slots=True)
class Term:
    """One entry: what people type, and the English words it starts from."""

    text: str
    gloss: str

    @property
    def token(self) -> AddedToken:
        """How the tokenizer finds the term: raw inside unspaced scripts, folded and at word borders elsewhere."""
        unspaced = _UNSPACED.search(self.text) is not None
        whole = not unspaced and (len(self.text) < _MIN_STEM or _LATIN.search(self.text) is not None)
        return AddedToken(self.text, single_word=whole, normalized=not unspaced)


def read_lexicon(paths: Iterable[Path]) -> list[Term]:
    """Read lexicon files in order; of terms that occur twice the first counts.

    Raises
    ------
    InputError
        A line is not a term and a gloss; names file and line.
    """
    terms: dict[str, Term] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            text, _, gloss = line.partition("\t")
            if not text.strip() or not gloss.strip() or "\t" in gloss:
                msg = f"{path.name}:{number}: expected a term, a tab and an English gloss, got {len(line)} characters."
                raise InputError(msg)
            terms.setdefault(text, Term(text, gloss))
    return list(terms.values())


def extend_tokenizer(tokenizer: Tokenizer, terms: Sequence[Term]) -> dict[int, list[int]]:
    """Add terms to a tokenizer; return the word pieces of each term's gloss by its token id.

    A term whose gloss has no known word is left out: it would say nothing. Of terms that are one word once case and
    accents are gone the first counts: which of their tokens the tokenizer found would differ from process to process.
    """
    # The published MiniLM tokenizer pads to 128: a gloss would come with 125 tokens of nothing.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    unknown = tokenizer.token_to_id("[UNK]")
    glosses = {
        term: [i for i in tokenizer.encode(term.gloss, add_special_tokens=False).ids if i != unknown] for term in terms
    }
    forms: dict[str, Term] = {}
    for term in terms:
        if glosses[term]:
            forms.setdefault(_form(tokenizer, term), term)
    known = list(forms.values())
    tokenizer.add_tokens([term.token for term in known])
    ids = ((tokenizer.token_to_id(term.text), glosses[term]) for term in known)
    return {token: gloss for token, gloss in ids if token is not None}


def _form(tokenizer: Tokenizer, term: Term) -> str:
    """Return what the tokenizer looks for in a text."""
    if not term.token.normalized or tokenizer.normalizer is None:
        return term.text
    return str(tokenizer.normalizer.normalize_str(term.text))
