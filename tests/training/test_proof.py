"""The proof keeps its halves apart, learns only from signs that are there, and its gate refuses what is wrong."""

from dataclasses import replace

import numpy as np
import pytest

from pointsman.training.config import ContestConfig, EncoderConfig, HeadsConfig
from pointsman.training.datasets import read_examples
from pointsman.training.proof import (
    Known,
    ProofConfig,
    belittle,
    flip,
    halves,
    prove,
    sessions_of,
    signs_of,
    table,
)

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def examples(labelled_file):
    """Twelve groups, each one session."""
    rows = read_examples([labelled_file])
    return [replace(example, position=number % 10) for number, example in enumerate(rows)]


@pytest.fixture(scope="module")
def trials(tiny_encoder, labelled_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("proof")
    lines = labelled_file.read_text().splitlines(keepends=True)
    dev = folder / "dev.jsonl"
    dev.write_text("".join(line.replace('"group": "g', '"group": "dev') for line in lines[:60]))
    config = ProofConfig(
        train=labelled_file,
        dev=dev,
        output=folder / "out",
        encoder=EncoderConfig(source=str(tiny_encoder), sha256=None, name="tiny", licence="none"),
        heads=HeadsConfig(inverse_regularisation=(0.1,)),
        contest=ContestConfig(n_draws=50),
        calibration_share=0.3,
        flips=(1.0,),
        seeds=(1,),
    )
    return prove(config), config.output


def test_halves_share_no_group(examples):
    first, second = halves(Known(examples, np.zeros((len(examples), 2), dtype=np.float32)))
    groups = [{example.group for example in half.examples} for half in (first, second)]
    assert min(map(len, groups)) > 0
    assert not groups[0] & groups[1]


def test_session_ends_with_its_group_or_where_positions_start_again(examples):
    again = [replace(example, position=place) for example, place in zip(examples, [0, 1, 2, 0, 1], strict=False)]
    assert list(sessions_of(again)) == ["g0/1", "g0/1", "g0/1", "g0/2", "g0/2"]


def test_correction_speaks_of_the_turn_before_it(examples):
    talk = [replace(examples[0], id=f"x{n}", position=n, context=()) for n in range(3)]
    prompts = ("fix the parser", "that's wrong, it still fails", "write docs for the new cluster")
    signs = signs_of([replace(turn, prompt=prompt) for turn, prompt in zip(talk, prompts, strict=True)])
    assert signs[0] == ("failed", "first")
    assert signs[1][1] == "failed"
    assert signs[2][0] == "nothing"


def test_share_of_labels_is_flipped_to_other_ones(examples):
    many = examples * 10
    flipped = flip(many, 0.2, seed=1)
    changed = [a.labels[h] != b.labels[h] for a, b in zip(many, flipped, strict=True) for h in a.labels]
    assert np.mean(changed) == pytest.approx(0.2, abs=0.02)


def test_turns_that_need_care_are_belittled_first(examples):
    changed = [b for a, b in zip(examples, belittle(examples, 0.2), strict=True) if a.labels != b.labels]
    assert len(changed) == round(0.2 * len(examples))
    assert {example.labels["risk"] for example in changed} == {"low"}


def test_every_trial_is_judged_and_wrong_labels_are_refused(trials):
    found = {trial.name: trial for trial in trials[0]}
    assert len(found) == 4
    assert not found["100% of labels flipped, seed 1"].promotes


def test_proof_writes_figures_and_no_text(trials):
    written = (trials[1] / "proof.json").read_text() + (trials[1] / "proof.md").read_text()
    assert table(trials[0]) in written
    assert "crash" not in written
