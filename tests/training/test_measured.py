"""Figures put into a copy of a finished bundle."""

from dataclasses import replace

import pytest

from pointsman.classifier import bundle as bundles
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import DEFAULT_BUNDLE, load_bundle
from pointsman.classifier.commands import main
from pointsman.classifier.errors import InputError
from pointsman.training.datasets import read_examples
from pointsman.training.evaluate import evaluate, to_json
from pointsman.training.measured import keep_report


@pytest.fixture(scope="module")
def held_out(labelled_file, tmp_path_factory):
    """The tiny bundle was trained on the labelled file; this one it has not seen."""
    lines = labelled_file.read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path_factory.mktemp("held-out") / "held-out.jsonl"
    path.write_text("".join(lines[::2]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def report(tiny_bundle, held_out):
    return evaluate(Assessor.load(tiny_bundle), read_examples([held_out]), n_bootstrap=20)


def test_copy_decides_alike_and_holds_the_figures(tiny_bundle, held_out, report, tmp_path):
    copy = keep_report(tiny_bundle, tmp_path / "copy", report, [held_out])
    kept = load_bundle(tiny_bundle)
    same = (bundles.MODEL, bundles.TOKENIZER, bundles.GLOSSES, bundles.REFERENCE)
    assert [copy.file(name).read_bytes() for name in same] == [kept.file(name).read_bytes() for name in same]
    assert copy.manifest.temperatures == kept.manifest.temperatures
    assert copy.manifest.risk_bounds == kept.manifest.risk_bounds
    assert copy.manifest.metrics["evaluation"] == to_json(report)


def test_card_says_what_was_measured_last(report, tmp_path):
    if not (DEFAULT_BUNDLE / bundles.CARD).is_file():
        pytest.skip("no bundle is in the package yet: train one (pointsman train)")
    copy = keep_report(DEFAULT_BUNDLE, tmp_path / "copy", replace(report, model_version="measured-anew"), [])
    card = copy.file(bundles.CARD).read_text(encoding="utf-8")
    assert card.count("## Measured") == card.count("## Use and limits") == 1
    assert "model measured-anew on" in card
    assert card.count("```") == 2


def test_folder_that_holds_something_is_left_alone(tiny_bundle, report, tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(InputError, match="is not empty"):
        keep_report(tiny_bundle, tmp_path, report, [])


def test_turns_that_the_bundle_was_trained_on_are_refused(tiny_bundle, labelled_file, report, tmp_path):
    with pytest.raises(InputError, match="was trained on it"):
        keep_report(tiny_bundle, tmp_path / "copy", report, [labelled_file])


def test_command_writes_the_copy(tiny_bundle, held_out, tmp_path, capsys):
    asked = ["--data", str(held_out), "--bundle", str(tiny_bundle), "--draws", "20"]
    assert main(["evaluate", *asked, "--into", str(tmp_path / "copy")]) == 0
    heads = load_bundle(tmp_path / "copy").manifest.metrics["evaluation"]["heads"]
    assert sum(n for _, _, n in heads["category"]["confusion"]) == len(read_examples([held_out]))
