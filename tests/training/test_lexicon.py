"""Words of other languages are found in a text and read as their English gloss."""

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from pointsman.classifier.errors import InputError
from pointsman.training.lexicon import Term, extend_tokenizer, read_lexicon

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "fix", "the", "test", "not", "ok", "о", "##ш", "##и", "##б", "##к", "##у"]


@pytest.fixture
def tokenizer():
    model = WordPiece({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    made = Tokenizer(model)
    made.normalizer = BertNormalizer(lowercase=True)
    made.pre_tokenizer = BertPreTokenizer()
    return made


def pieces(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).tokens


def test_term_of_an_unspaced_script_is_found_inside_a_sentence(tokenizer):
    extend_tokenizer(tokenizer, [Term("修复", "fix"), Term("测试", "test")])
    assert pieces(tokenizer, "修复the测试") == ["修复", "the", "测试"]


def test_longest_term_is_taken(tokenizer):
    extend_tokenizer(tokenizer, [Term("不", "not"), Term("不行", "not ok")])
    assert pieces(tokenizer, "不行") == ["不行"]


def test_stem_is_found_in_any_case_and_form(tokenizer):
    extend_tokenizer(tokenizer, [Term("ошибк", "fix")])
    assert pieces(tokenizer, "Ошибку")[0] == "ошибк"


def test_short_word_is_not_found_inside_another(tokenizer):
    extend_tokenizer(tokenizer, [Term("не", "not")])
    assert "не" not in pieces(tokenizer, "окне")
    assert pieces(tokenizer, "не ok") == ["не", "ok"]


def test_term_without_a_known_gloss_is_left_out(tokenizer):
    assert extend_tokenizer(tokenizer, [Term("狗", "dog")]) == {}


def test_first_of_terms_that_fold_alike_counts(tokenizer):
    glosses = extend_tokenizer(tokenizer, [Term("ещё", "dog"), Term("Ещё", "test"), Term("еще", "fix")])
    ((token, gloss),) = glosses.items()
    assert gloss == [WORDS.index("test")]
    assert tokenizer.encode("ещё Еще", add_special_tokens=False).ids == [token, token]


def test_terms_that_are_found_raw_are_not_folded(tokenizer):
    assert len(extend_tokenizer(tokenizer, [Term("か", "fix"), Term("が", "test")])) == 2


def test_tokens_without_terms_stay_as_they_are(tokenizer):
    before = pieces(tokenizer, "fix the test")
    extend_tokenizer(tokenizer, [Term("修复", "fix")])
    assert pieces(tokenizer, "fix the test") == before


def test_term_is_read_as_its_gloss(tokenizer):
    glosses = extend_tokenizer(tokenizer, [Term("不行", "not ok")])
    (gloss,) = glosses.values()
    assert [WORDS[piece] for piece in gloss] == ["not", "ok"]


def test_padding_of_a_tokenizer_does_not_get_into_a_gloss(tokenizer):
    tokenizer.enable_padding(length=128)
    assert list(map(len, extend_tokenizer(tokenizer, [Term("不行", "not ok")]).values())) == [2]


def test_first_gloss_of_a_term_counts(tmp_path):
    (tmp_path / "a.tsv").write_text("点\tpoint\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text("点\torder\n是\tyes\n", encoding="utf-8")
    found = read_lexicon([tmp_path / "a.tsv", tmp_path / "b.tsv"])
    assert found == [Term("点", "point"), Term("是", "yes")]


def test_line_without_a_gloss_is_named(tmp_path):
    file = tmp_path / "zh.tsv"
    file.write_text("修复\tfix\n测试\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"zh\.tsv:2: expected a term, a tab and an English gloss"):
        read_lexicon([file])
