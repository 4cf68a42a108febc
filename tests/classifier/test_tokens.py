"""Text to token ids: a word of another language is read through one gloss, in every process the same."""

import pytest
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from pointsman.classifier.text import Text
from pointsman.classifier.tokens import TextTokenizer, TokenBudget

VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "all", "everything", "tests")


def tokenizer(*terms):
    made = Tokenizer(WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.normalizer = BertNormalizer()
    made.pre_tokenizer = BertPreTokenizer()
    made.add_tokens([AddedToken(term, single_word=True, normalized=True) for term in terms])
    return made


def read(text, glosses, *terms):
    made = tokenizer(*terms)
    by_id = {made.token_to_id(term): [VOCABULARY.index(word)] for term, word in glosses.items()}
    ids = TextTokenizer(made, TokenBudget(), by_id).encode([Text(text, ())]).input_ids[0]
    return [VOCABULARY[i] for i in ids[1:-1]]


@pytest.mark.parametrize("text", ["все tests", "всё tests"])
def test_terms_that_fold_to_one_word_have_the_gloss_of_the_first(text):
    # The tokenizer picks one of both by a hash that differs from instance to instance.
    found = {tuple(read(text, {"все": "all", "всё": "everything"}, "все", "всё")) for _ in range(20)}
    assert found == {("all", "tests")}


def test_terms_that_differ_keep_their_own_gloss():
    assert read("все тесты", {"все": "all", "тесты": "tests"}, "все", "тесты") == ["all", "tests"]
