"""New heads on a kept encoder."""

import json
from pathlib import Path

import numpy as np
import pytest

from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.errors import InputError
from pointsman.classifier.text import Text
from pointsman.training.config import HeadsConfig, RiskBoundConfig, TrainConfig
from pointsman.training.datasets import read_examples
from pointsman.training.model_card import bounds_fact
from pointsman.training.refit import refit, refit_bounds

pytestmark = pytest.mark.training

TEXT = [Text("fix the crash in the parser", ())]


@pytest.fixture(scope="module")
def bundle(tiny_bundle_path, labelled_file, tmp_path_factory):
    """The tiny bundle with heads on rows whose risk labels a reader turned round."""
    folder = tmp_path_factory.mktemp("refit")
    examples = read_examples([labelled_file])
    turned = {"low": "high", "high": "low", "medium": "medium"}
    readings = folder / "labels.tsv"
    lines = ["id\tcategory\trisk\tscope\tturn"]
    for example in examples:
        category, risk, scope, turn = (example.labels[head] for head in ("category", "risk", "scope", "turn"))
        lines.append("\t".join([example.id, category, turned[risk], scope, turn]))
    readings.write_text("\n".join(lines) + "\n", encoding="utf-8")
    lexicon = folder / "zh.tsv"
    lexicon.write_text("修复\tfix\n", encoding="utf-8")
    config = TrainConfig(
        data=(labelled_file,),
        readings=(readings,),
        lexicon=(lexicon,),
        output=folder / "bundle",
        version="tiny-2",
        calibration_share=0.3,
        heads=HeadsConfig(inverse_regularisation=(0.1,)),
    )
    return refit(tiny_bundle_path, config)[0]


@pytest.fixture(scope="module")
def tiny_bundle_path():
    return Path(__file__).parents[1] / "data" / "bundles" / "format-1"


def test_encoder_is_the_one_of_the_source(bundle, tiny_bundle_path):
    before, after = (
        OnnxEncoder.load(load_bundle(path)).encode(TEXT).embedding for path in (tiny_bundle_path, bundle.path)
    )
    assert np.array_equal(before, after)


def test_heads_follow_the_new_labels(bundle, labelled_file):
    docs = [example.text for example in read_examples([labelled_file]) if example.labels["risk"] == "low"]
    assessments = Assessor.load(bundle.path).assess_texts(docs)
    assert np.mean([assessment.risk.label == "high" for assessment in assessments]) > 0.8


def test_lexicon_of_the_refit_is_read(bundle):
    foreign, english = Assessor.load(bundle.path).assess_texts([Text("修复", ()), Text("fix", ())])
    assert foreign.category.probabilities == pytest.approx(english.category.probabilities, abs=1e-6)


def test_manifest_says_where_the_encoder_comes_from(bundle, tiny_bundle_path):
    source = load_bundle(tiny_bundle_path)
    assert bundle.manifest.training_data["encoder_of"]["digest"] == source.digest
    assert (bundle.manifest.version, source.manifest.version) == ("tiny-2", "tiny-1")
    assert bundle.manifest.metrics["parity"] == source.manifest.metrics["parity"]


def test_refit_without_a_lexicon_keeps_the_one_of_its_source(bundle, labelled_file, tmp_path):
    config = TrainConfig(
        data=(labelled_file,),
        output=tmp_path / "again",
        version="tiny-3",
        calibration_share=0.3,
        heads=HeadsConfig(inverse_regularisation=(0.1,)),
    )
    again = refit(bundle.path, config)[0]
    foreign, english = Assessor.load(again.path).assess_texts([Text("修复", ()), Text("fix", ())])
    assert foreign.category.probabilities == pytest.approx(english.category.probabilities, abs=1e-6)


@pytest.fixture(scope="module")
def bounded(tiny_bundle_path, labelled_file, tmp_path_factory):
    """The bundle with bounds fitted anew on every row, the tiny file having too few for a calibration part."""
    config = TrainConfig(
        data=(labelled_file,),
        output=tmp_path_factory.mktemp("bounds") / "bundle",
        version="tiny-3",
        calibration_share=1.0,
        traffic=(labelled_file,),
        risk_bound=RiskBoundConfig(promises=(0.1, 0.5)),
    )
    return refit_bounds(tiny_bundle_path, config)


def test_bounds_alone_are_new_in_a_bundle_of_new_bounds(bounded, tiny_bundle_path):
    before, after = load_bundle(tiny_bundle_path).manifest, bounded.manifest
    kept = {name: digest for name, digest in before.digests.items() if name != "card.md"}
    assert kept.items() <= after.digests.items()
    assert (after.temperatures, after.novelty, after.version) == (before.temperatures, before.novelty, "tiny-3")
    assert [bound.max_missed for bound in after.risk_bounds] == [0.1, 0.5]
    assert {bound.n_turns for bound in after.risk_bounds} == {after.risk_bounds[0].n_turns}


def test_card_names_the_new_bounds_once(bounded):
    rows = [line for line in bounded.file("card.md").read_text().splitlines() if line.startswith("| risk bounds |")]
    assert rows == [f"| risk bounds | {bounds_fact(bounded.manifest.risk_bounds)} |"]


def test_bounds_want_calibration_rows_in_the_files_named_for_them(tiny_bundle_path, labelled_file, tmp_path):
    empty = tmp_path / "other.jsonl"
    empty.write_text(json.dumps(ROW), encoding="utf-8")
    config = TrainConfig(data=(labelled_file,), output=tmp_path / "out", calibration_share=1.0, traffic=(empty,))
    with pytest.raises(InputError, match=r"other\.jsonl: found no calibration row in them; expected files of --data"):
        refit_bounds(tiny_bundle_path, config)


@pytest.mark.parametrize(("share", "part"), [(1.0, "training"), (0.0, "calibration")])
def test_part_without_a_row_is_named(tiny_bundle_path, tmp_path, share, part):
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(json.dumps(ROW | {"id": str(number)}) + "\n" for number in range(5)), encoding="utf-8")
    config = TrainConfig(data=(data,), output=tmp_path / "out", calibration_share=share)
    said = f"no turn is left for {part}: found 5 turns, of groups 1; expected turns of many groups"
    with pytest.raises(InputError, match=said):
        refit(tiny_bundle_path, config)


#: A labelled row that is in no training file.
ROW = {"id": "elsewhere", "prompt": "fix it", "category": "docs", "risk": "low", "scope": "file", "turn": "new"}
