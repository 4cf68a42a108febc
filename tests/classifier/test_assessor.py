"""The runtime on a tiny real bundle: batches, budgets, novelty, bad graphs."""

import json
import shutil

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer

from pointsman.classifier import bundle as bundles
from pointsman.classifier.assessment import Message, Turn
from pointsman.classifier.assessor import Assessor, distance, novelty
from pointsman.classifier.bundle import NoveltyScale
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.errors import BundleCorruptError, InferenceError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.text import Text
from pointsman.classifier.tokens import TextTokenizer, TokenBudget

TURNS = [
    Turn("fix the crash in the parser"),
    Turn(
        "yes continue", context=(Message("user", "add endpoint for orders"), Message("assistant", "shall i continue"))
    ),
    Turn("write tests " * 400),
    Turn(""),
    Turn("修复 支付 回调"),
]


@pytest.fixture(scope="module")
def tokenizer(tiny_bundle):
    return TextTokenizer.load(tiny_bundle / "tokenizer.json", TokenBudget(prompt=12, context=(6, 3)))


def test_batch_and_single_agree(tiny_assessor):
    together = tiny_assessor.assess(TURNS)
    alone = [tiny_assessor.assess([turn])[0] for turn in TURNS]
    for head in HEADS:
        a = np.array([getattr(x, head).probabilities for x in together])
        b = np.array([getattr(x, head).probabilities for x in alone])
        # Dynamic quantisation picks its activation scale per batch.
        assert np.abs(a - b).max() < 0.05


def test_probabilities_are_in_label_order_and_sum_to_one(tiny_assessor):
    for assessment in tiny_assessor.assess(TURNS):
        for head, labels in HEADS.items():
            result = getattr(assessment, head)
            assert result.labels == labels
            assert sum(result.probabilities) == pytest.approx(1, abs=1e-6)
            assert result.of(result.label) == result.probability


def test_context_changes_the_reading_of_a_short_follow_up(tiny_assessor):
    bare, after = tiny_assessor.assess([Turn("yes continue"), TURNS[1]])
    assert bare.category.probabilities != after.category.probabilities


def test_no_turns_give_no_assessments(tiny_assessor):
    assert tiny_assessor.assess([]) == []


def test_baked_in_padding_is_off(tokenizer):
    batch = tokenizer.encode([Text("fix the bug", ())])
    assert batch.input_ids.shape == (1, 5)  # [CLS] fix the bug [SEP]


def test_long_prompt_keeps_head_and_tail_tokens(tokenizer):
    words = ["fix"] * 50 + ["tests"]
    batch = tokenizer.encode([Text(" ".join(words), ())])
    tail = tokenizer.encode([Text("tests", ())]).input_ids[0, 1]
    assert batch.input_ids.shape[1] == 12 + 2
    assert batch.input_ids[0, -2] == tail


def test_context_is_a_second_segment_within_its_budget(tokenizer):
    batch = tokenizer.encode([Text("yes", ("fix " * 30, "add " * 30, "never read"))])
    assert batch.input_ids.shape[1] == 3 + 6 + 3 + 1
    assert batch.token_type_ids[0].tolist() == [0] * 3 + [1] * 10


def test_gloss_stands_in_for_its_token(tiny_bundle):
    plain = Tokenizer.from_file(str(tiny_bundle / "tokenizer.json"))
    fix, bug = plain.token_to_id("fix"), plain.token_to_id("bug")
    plain.add_tokens([AddedToken("修复", normalized=False)])
    tokenizer = TextTokenizer(plain, TokenBudget(9, (5,)), {plain.token_to_id("修复"): [fix, bug]})
    ids = tokenizer.encode([Text("修复 fix", ("bug 修复",))]).input_ids[0].tolist()
    sep = plain.token_to_id("[SEP]")
    assert ids[1:] == [fix, bug, fix, sep, bug, fix, bug, sep]


def test_ascii_text_is_read_as_without_glosses(tiny_bundle):
    path = tiny_bundle / "tokenizer.json"
    plain = Tokenizer.from_file(str(path))
    glossing = TextTokenizer(plain, TokenBudget(), {plain.token_to_id("fix"): [plain.token_to_id("bug")]})
    text = [Text("fix the parser", ())]
    assert np.array_equal(
        glossing.encode(text).input_ids, TextTokenizer.load(path, TokenBudget()).encode(text).input_ids
    )


def test_glosses_that_are_no_map_are_refused(tiny_bundle, tmp_path):
    path = tmp_path / "glosses.json"
    path.write_text('{"a": [1]}')
    with pytest.raises(BundleCorruptError, match=r"glosses\.json is no map of token ids to token ids \(ValueError\)"):
        TextTokenizer.load(tiny_bundle / "tokenizer.json", TokenBudget(), path)


def test_distance_is_in_units_of_the_training_spread():
    # Mean (1, 0), standard deviations 1 and 2.
    reference = np.array([[1, 0], [1, 0], [0, 0.5]], dtype=np.float32)
    surface = np.array([[1, 0], [4, 0], [1, 4], [4, 8]], dtype=np.float32)
    assert distance(surface, reference) == pytest.approx([0, 3, 2, 5])


def test_novelty_grows_from_near_to_far():
    reference = np.array([[0, 0], [1, 0], [0, 1]], dtype=np.float32)
    surface = np.array([[0, 0], [1, 0], [0, 2], [5, 5]], dtype=np.float32)
    assert novelty(surface, reference, NoveltyScale(1, 3)) == pytest.approx([0, 0, 0.5, 1])


def test_an_assessment_does_not_depend_on_the_texts_beside_it(tiny_assessor):
    texts = [Text("fix the bug", ()), Text("add tests " * 60, ("user: why",)), Text("ok", ())]
    together = tiny_assessor.assess_texts(texts)
    assert together == [tiny_assessor.assess_texts([text])[0] for text in texts]


def test_runtime_failure_is_reported_without_the_text(tiny_assessor, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret prompt")

    monkeypatch.setattr(TextTokenizer, "encode", fail)
    with pytest.raises(InferenceError, match=r"inference failed on 1 text\(s\): RuntimeError") as caught:
        tiny_assessor.assess([Turn("secret prompt")])
    assert "secret" not in str(caught.value)


def test_graph_that_onnxruntime_cannot_load_is_refused(tiny_bundle_copy):
    (tiny_bundle_copy / "model.onnx").write_bytes(b"not a graph")
    path = tiny_bundle_copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["digests"]["model.onnx"] = bundles.sha256_of(tiny_bundle_copy / "model.onnx")
    path.write_text(json.dumps(manifest))
    with pytest.raises(BundleCorruptError, match="does not load in onnxruntime"):
        Assessor.load(tiny_bundle_copy)


def test_tokenizer_without_special_tokens_is_refused(tiny_bundle, tmp_path):
    shutil.copy(tiny_bundle / "tokenizer.json", tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("[SEP]", "[END]"))
    with pytest.raises(BundleCorruptError, match=r"tokenizer has no \[SEP\] token"):
        TextTokenizer.load(path, TokenBudget())


def test_encoder_gives_unit_embeddings(tiny_bundle, tokenizer):
    encoded = OnnxEncoder.open(tiny_bundle / "model.onnx", tokenizer).encode([Text("fix the bug", ())])
    assert np.linalg.norm(encoded.embedding, axis=1) == pytest.approx(1, abs=1e-5)
