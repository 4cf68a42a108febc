"""The simulation of the labelling queue: same start for both, labels looked up, judged on turns that neither saw."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pointsman.classifier.labels import HEADS
from pointsman.training.config import EncoderConfig, HeadsConfig
from pointsman.training.datasets import read_examples
from pointsman.training.proof import Known
from pointsman.training.queue_gain import FIGURES, Judge, QueueGainConfig, Round, simulate, table

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def config(tiny_encoder, labelled_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gain")
    held_out = folder / "held-out.jsonl"
    lines = [json.loads(line) for line in labelled_file.read_text().splitlines()[:30]]
    held_out.write_text("".join(json.dumps(row | {"group": f"held-{row['group']}"}) + "\n" for row in lines))
    return QueueGainConfig(
        pool=(labelled_file,),
        held_out=(held_out,),
        output=folder / "out",
        n_known=20,
        n_picks=15,
        n_rounds=2,
        calibration_share=0.3,
        encoder=EncoderConfig(source=str(tiny_encoder), sha256=None, name="tiny", licence="none"),
        heads=HeadsConfig(inverse_regularisation=(0.1,)),
    )


@pytest.fixture(scope="module")
def judge(labelled_file):
    examples = read_examples([labelled_file])[:10]
    return Judge.of(Known(examples, np.zeros((len(examples), 2), dtype=np.float32)))


class Oracle:
    """Believes what is true, or that nothing matters."""

    def __init__(self, examples, labels=None):
        self._examples, self._labels = examples, labels or {}

    def believe(self, _):
        said = [example.labels | self._labels for example in self._examples]
        return {
            head: np.array([[x == row[head] for x in names] for row in said], float) for head, names in HEADS.items()
        }


def test_who_knows_every_label_costs_nothing_more(judge):
    figures = judge(Oracle(judge.test.examples))
    assert (figures["excess cost, USD"], figures["category accuracy"]) == (0.0, 1.0)
    assert figures["log loss"] == pytest.approx(0.0, abs=1e-6)


def test_taking_all_for_harmless_costs_more_than_the_truth(judge):
    harmless = {"category": "docs", "risk": "low", "scope": "file"}
    assert judge(Oracle(judge.test.examples, harmless))["excess cost, USD"] > 0.0


def test_rounds_start_alike_and_end_apart(config):
    rounds = simulate(config)
    assert [set(found.before) for found in rounds] == [set(FIGURES)] * 2
    assert all(found.queue != found.random for found in rounds)
    assert rounds == simulate(replace(config))


def test_table_shows_the_difference_with_its_interval():
    def figures(value):
        return dict.fromkeys(FIGURES, value)

    rounds = [Round(figures(0.5), figures(0.7), figures(0.6)), Round(figures(0.5), figures(0.6), figures(0.6))]
    line = table(rounds, 200).splitlines()[-1]
    assert "| 0.5000 | 0.6000 | 0.6500 | +0.0500 (-0.0480 to +0.1480) |" in line
