"""Pretraining on commits, on a tiny encoder: what it learns, what it writes, and that training takes what it wrote."""

import json
import logging
import shutil
from dataclasses import replace

import pytest
import torch

from pointsman.classifier.bundle import sha256_of
from pointsman.classifier.commands import main
from pointsman.classifier.errors import BundleCorruptError, InputError
from pointsman.classifier.text import Text
from pointsman.classifier.tokens import TextTokenizer, TokenBudget, read_glosses
from pointsman.training.commands import TrainCommand, _config
from pointsman.training.commits import find_repositories
from pointsman.training.config import EncoderConfig, FinetuneConfig, HeadsConfig, PretrainConfig, TrainConfig
from pointsman.training.encoder_source import encoder_folder, encoder_named
from pointsman.training.finetune import EmbeddingEncoder, inputs_of
from pointsman.training.fitting import read_data
from pointsman.training.pretrain import _in_order, pretrain
from pointsman.training.registry import Untracked
from pointsman.training.train import train, train_on

pytestmark = pytest.mark.training

#: Of each type its own words, files and number of files.
SAID = (
    ("fix: the parser fails, crash number {}", ["src/parser.py"]),
    ("feat: add endpoint for orders, part {}", ["src/api/orders.py", "src/orders.py"]),
    ("docs: explain the cache in readme, part {}", ["README.md", "docs/cache.md", "docs/orders.md", "docs/index.md"]),
    ("write tests for the cache, part {}", ["tests/test_cache.py"]),
)


def commits(first):
    return [("Ann", message.format(n), paths) for n in range(first, first + 12) for message, paths in SAID]


@pytest.fixture(scope="module")
def repositories(make_repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("repositories")
    names = ("alpha", "beta", "gamma")
    return tuple(make_repository(folder / name, commits(100 * n)) for n, name in enumerate(names))


@pytest.fixture(scope="module")
def config(repositories, tiny_encoder, tmp_path_factory):
    return PretrainConfig(
        repositories=repositories,
        output=tmp_path_factory.mktemp("out") / "encoder",
        epochs=8,
        batch_size=8,
        learning_rate=2e-3,
        head_factor=5.0,
        files_weight=2.0,
        kinds_weight=1.0,
        n_threads=1,
        encoder=EncoderConfig(source=str(tiny_encoder), sha256=None, name="tiny", licence="Apache-2.0"),
    )


@pytest.fixture(scope="module")
def pretrained(config):
    return pretrain(config)


@pytest.fixture(scope="module")
def about(pretrained):
    return json.loads((pretrained.folder / "pretraining.json").read_text())


def test_types_and_files_of_held_out_commits_are_learned(pretrained):
    figures = pretrained.figures
    assert (figures.repositories, figures.n_commits, figures.n_typed) == (("gamma",), 48, 36)
    assert figures.type_accuracy > 0.9 > figures.type_commonest
    assert figures.files_accuracy > 0.9 > figures.files_commonest
    assert figures.type_commonest == pytest.approx(1 / 3)
    assert figures.files_commonest == pytest.approx(1 / 2)


def test_held_out_repository_is_not_learned_from(pretrained, about):
    assert (pretrained.n_rows, pretrained.n_repositories) == (96, 2)
    counts = {entry["name"]: (entry["rows"], entry["held_out_rows"]) for entry in about["repositories"]}
    assert counts == {"alpha": (48, 0), "beta": (48, 0), "gamma": (0, 48)}


def test_folder_says_where_its_weights_come_from(about, pretrained, repositories, tiny_encoder):
    weights = {"licence": "Apache-2.0", "sha256": sha256_of(tiny_encoder / "model.safetensors")}
    assert about["began_with"] == {"name": "tiny"} | weights
    assert about["encoder"]["name"] == "tiny, pretrained on commits"
    assert about["encoder"]["sha256"] == sha256_of(pretrained.folder / "model.safetensors") != weights["sha256"]
    read_at = [found.commit for found in find_repositories(repositories)]
    assert [entry["commit"] for entry in about["repositories"]] == read_at
    assert about["settings"]["commits"]["most_read"] == 9000
    assert about["figures"]["n_commits"] == 48


def test_folder_holds_no_message_and_no_path(pretrained, repositories):
    text = (pretrained.folder / "pretraining.json").read_text()
    assert "orders" not in text
    assert str(repositories[0].parent) not in text


def test_pretraining_twice_gives_the_same_weights(config, about, tmp_path):
    again = pretrain(replace(config, output=tmp_path / "again"))
    assert sha256_of(again.folder / "model.safetensors") == about["encoder"]["sha256"]


def test_written_weights_are_the_ones_that_were_measured(pretrained):
    tokenizer = TextTokenizer.load(pretrained.folder / "tokenizer.json", TokenBudget())
    encoder = EmbeddingEncoder.load(pretrained.folder).eval()
    texts = ["the parser fails, crash number 900", "the parser fails, crash number 3", "explain the cache in readme"]
    with torch.no_grad():
        one, alike, other = encoder(*inputs_of(tokenizer, [Text(text, ()) for text in texts]))
    near, far = (float(torch.cosine_similarity(one, row, dim=0)) for row in (alike, other))
    assert near > far + 0.1


def test_named_repositories_are_held_out(config, tmp_path):
    short = replace(config, output=tmp_path / "encoder", epochs=1, held_out=("alpha", "beta"), most_held_out=50)
    done = pretrain(short)
    assert (done.n_rows, done.n_repositories) == (48, 1)
    assert (done.figures.repositories, done.figures.n_commits) == (("alpha", "beta"), 50)


def test_one_repository_alone_is_learned_from_and_not_measured(config, repositories, tmp_path):
    done = pretrain(replace(config, output=tmp_path / "encoder", epochs=1, repositories=repositories[:1]))
    assert (done.n_rows, done.figures) == (48, None)


def test_commits_without_a_type_teach_files_and_kinds(config, make_repository, tmp_path):
    plain = [(author, message.partition(": ")[2] or message, paths) for author, message, paths in commits(0)]
    folders = tuple(make_repository(tmp_path / name, plain) for name in ("one", "other"))
    figures = pretrain(replace(config, output=tmp_path / "encoder", repositories=folders, epochs=12)).figures
    assert (figures.n_typed, figures.type_accuracy) == (0, None)
    assert figures.files_accuracy > figures.files_commonest


def test_unknown_held_out_repository_is_refused(config):
    with pytest.raises(InputError, match="--held-out delta: no repository of that name; expected some of: alpha, beta"):
        pretrain(replace(config, held_out=("alpha", "delta")))


def test_nothing_to_learn_from_is_refused(config):
    with pytest.raises(InputError, match="no commit is left to learn from: of 3 repositories 3 are held out"):
        pretrain(replace(config, held_out=("alpha", "beta", "gamma")))


@pytest.mark.parametrize(("setting", "option"), [("most_rows", "rows"), ("epochs", "epochs"), ("n_threads", "threads")])
def test_number_below_one_is_refused(config, setting, option):
    with pytest.raises(InputError, match=f"--{option} is 0; expected 1 or more"):
        pretrain(replace(config, **{setting: 0}))


def test_output_does_not_overwrite_what_it_begins_with(config, tiny_encoder):
    with pytest.raises(InputError, match="holds the weights to begin with"):
        pretrain(replace(config, output=tiny_encoder))


def test_rarer_types_stay_when_rows_are_left_out(config, make_repository, tmp_path):
    from pointsman.training.commits import read_commits

    mixed = [("Ann", f"{type_}: keep the {type_} of item {n}", ["a.py"]) for n in range(9) for type_ in ("fix", "perf")]
    rows = read_commits(find_repositories([make_repository(tmp_path / "made", mixed)]), config.commits)
    kept = _in_order(rows, replace(config, most_rows=11))
    assert sorted(row.type for row in kept) == ["fix"] * 2 + ["perf"] * 9
    assert len(_in_order(rows, config)) == 18


@pytest.fixture(scope="module")
def training(labelled_file, pretrained, tmp_path_factory):
    return TrainConfig(
        data=(labelled_file,),
        output=tmp_path_factory.mktemp("trained") / "bundle",
        calibration_share=0.3,
        encoder=encoder_named(str(pretrained.folder)),
        finetune=FinetuneConfig(epochs=1, batch_size=8, learning_rate=1e-3, head_factor=3.0, n_threads=1),
        heads=HeadsConfig(inverse_regularisation=(0.1,)),
    )


def test_bundle_names_the_encoder_that_was_pretrained_and_no_path(training, pretrained, about):
    bundle, _ = train(training)
    manifest = bundle.manifest
    assert (manifest.encoder.name, manifest.encoder.licence) == ("tiny, pretrained on commits", "Apache-2.0")
    assert manifest.encoder.sha256 == about["encoder"]["sha256"]
    assert str(pretrained.folder.parent) not in (bundle.path / "manifest.json").read_text()
    assert "tiny, pretrained on commits (Apache-2.0), fine-tuned" in (bundle.path / "card.md").read_text()


def test_full_retraining_from_the_first_weights_keeps_words_of_other_languages(training, config, tmp_path):
    lexicon = tmp_path / "zh.tsv"
    lexicon.write_text("修复\tfix\n", encoding="utf-8")
    champion, _ = train(replace(training, lexicon=(lexicon,), output=tmp_path / "champion"))
    stock = replace(training, encoder=config.encoder, output=tmp_path / "successor")
    successor = train_on(read_data(stock, None), stock, Untracked(), successor_of=champion)
    assert successor.manifest.encoder.sha256 != champion.manifest.encoder.sha256
    assert len(read_glosses(successor.path / "glosses.json")) == 1


def test_train_command_takes_name_and_licence_from_the_folder(pretrained, about):
    import argparse

    parser = argparse.ArgumentParser()
    TrainCommand().add_arguments(parser)
    asked = ["--data", "turns.jsonl", "--output", "bundle", "--encoder", str(pretrained.folder)]
    encoder = _config(parser.parse_args(asked)).encoder
    assert (encoder.name, encoder.sha256) == ("tiny, pretrained on commits", about["encoder"]["sha256"])


def test_weights_that_were_not_written_by_the_pretraining_are_refused(pretrained, tiny_encoder, tmp_path):
    folder = shutil.copytree(pretrained.folder, tmp_path / "encoder")
    shutil.copyfile(tiny_encoder / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(BundleCorruptError, match=r"model\.safetensors has sha256 .* expected"):
        encoder_folder(encoder_named(str(folder)))


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"encoder": {"name": "tiny"}}'])
def test_record_that_does_not_name_an_encoder_is_refused(tmp_path, text):
    (tmp_path / "pretraining.json").write_text(text)
    with pytest.raises(InputError, match=r"pretraining\.json: expected name, licence and sha256 of the encoder"):
        encoder_named(str(tmp_path))


def test_other_folder_of_weights_goes_by_its_name_and_digest(tiny_encoder):
    encoder = encoder_named(str(tiny_encoder))
    assert (encoder.name, encoder.licence) == (tiny_encoder.name, "as its source says")
    assert encoder.sha256 == sha256_of(tiny_encoder / "model.safetensors")


def test_hub_name_stays_as_it_is():
    assert encoder_named("owner/name") == EncoderConfig("owner/name", None, "owner/name", "as its source says")


def test_command_tells_what_it_measured_and_what_to_do_next(config, tiny_encoder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    folders = [str(folder) for folder in config.repositories]
    output = tmp_path / "encoder"
    asked = ["--output", str(output), "--encoder", str(tiny_encoder), "--held-out", "beta", "--threads", "1"]
    assert main(["pretrain", "--repositories", *folders, *asked, "--rows", "120"]) == 0
    told = capsys.readouterr().out
    assert "of 2 repositories\nheld out: beta\nnumber of files: " in told
    assert f"pointsman train --encoder {output}" in told


def test_command_refuses_a_folder_that_is_no_repository_in_one_line(tmp_path, capsys):
    assert main(["pretrain", "--repositories", str(tmp_path), "--output", str(tmp_path / "encoder")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "not a git repository" in line
