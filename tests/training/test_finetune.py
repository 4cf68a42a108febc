"""The torch loop: what a batch is made of, and what it tells while it runs."""

import random

import numpy as np
import pytest
import torch

from pointsman.classifier.errors import InputError
from pointsman.classifier.text import Text
from pointsman.classifier.tokens import TextTokenizer, TokenBudget
from pointsman.training.config import FinetuneConfig
from pointsman.training.datasets import read_examples
from pointsman.training.finetune import PAD_TO, EmbeddingEncoder, finetune, inputs_of, shuffled_chunks

pytestmark = pytest.mark.training


@pytest.fixture
def tokenizer(tiny_encoder):
    return TextTokenizer.load(tiny_encoder / "tokenizer.json", TokenBudget())


def test_batch_is_padded_to_few_lengths(tokenizer):
    lengths = {inputs_of(tokenizer, [Text("fix " * n, ())])[0].shape[1] for n in range(1, 40)}
    assert lengths == {PAD_TO, 2 * PAD_TO, 3 * PAD_TO}


def test_chunks_hold_every_row_once_beside_rows_of_like_length():
    rows = [length for length in range(64) for _ in range(2)]
    chunks = shuffled_chunks(rows, 8, random.Random(1), n_pooled=16, length=lambda row: row)
    assert sorted(row for chunk in chunks for row in chunk) == rows
    assert max(max(chunk) - min(chunk) for chunk in chunks) < 8


def test_padding_does_not_change_an_embedding(tiny_encoder, tokenizer):
    encoder = EmbeddingEncoder.load(tiny_encoder).eval()
    ids, mask, segments = inputs_of(tokenizer, [Text("fix the bug", ("user: add tests",))])
    n_tokens = int(mask.sum())
    with torch.no_grad():
        padded = encoder(ids, mask, segments)
        bare = encoder(ids[:, :n_tokens], mask[:, :n_tokens], segments[:, :n_tokens])
    assert torch.allclose(padded, bare, atol=1e-5)


def test_loss_falls_and_its_curve_ends_with_the_last_step(tiny_encoder, tokenizer, labelled_file):
    points = []
    examples = read_examples([labelled_file])
    config = FinetuneConfig(epochs=6, batch_size=8, learning_rate=1e-3, head_factor=3.0, n_threads=1)
    finetune(
        EmbeddingEncoder.load(tiny_encoder),
        examples,
        tokenizer,
        config,
        on_progress=lambda step, figures: points.append((step, figures["loss"])),
    )
    assert points[-1][0] == 6 * len(examples) // 8
    assert points[-1][1] < 0.8 * points[0][1]


def test_encoder_of_fewer_layers_keeps_the_first_ones(tiny_encoder):
    whole, first = EmbeddingEncoder.load(tiny_encoder), EmbeddingEncoder.load(tiny_encoder, n_layers=1)
    assert (whole.n_layers, first.n_layers) == (2, 1)
    weights = dict(whole.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in first.named_parameters())


@pytest.mark.parametrize("n_layers", [0, 3])
def test_layers_that_are_not_there_are_refused(tiny_encoder, n_layers):
    with pytest.raises(InputError, match="a number from 1 to 2"):
        EmbeddingEncoder.load(tiny_encoder, n_layers=n_layers)


def test_taught_encoder_gives_its_teachers_embeddings(tiny_encoder, tokenizer, labelled_file):
    examples = read_examples([labelled_file])[:40]
    towards = np.random.default_rng(1).normal(size=64).astype(np.float32)
    taught = {example.id: towards / np.linalg.norm(towards) for example in examples}
    inputs = inputs_of(tokenizer, [example.text for example in examples])

    def likeness(encoder):
        with torch.no_grad():
            return float(
                torch.nn.functional.cosine_similarity(encoder(*inputs), torch.from_numpy(towards)[None]).mean()
            )

    config = FinetuneConfig(epochs=6, batch_size=8, learning_rate=3e-3, n_threads=1)
    alone = finetune(EmbeddingEncoder.load(tiny_encoder), examples, tokenizer, config)
    pupil = finetune(EmbeddingEncoder.load(tiny_encoder), examples, tokenizer, config, taught=taught)
    assert likeness(pupil) > max(0.8, likeness(alone) + 0.3)


def test_run_that_was_cut_off_goes_on_to_the_same_numbers(tiny_encoder, tokenizer, labelled_file, tmp_path):
    examples = read_examples([labelled_file])[:40]
    config = FinetuneConfig(epochs=2, batch_size=8, learning_rate=1e-3, head_factor=3.0, n_threads=1)
    whole = finetune(EmbeddingEncoder.load(tiny_encoder), examples, tokenizer, config)
    checkpoint = tmp_path / "checkpoint.pt"

    def stop(step, figures):
        if figures["epoch"] > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(
            EmbeddingEncoder.load(tiny_encoder), examples, tokenizer, config, on_progress=stop, checkpoint=checkpoint
        )
    assert checkpoint.is_file()
    resumed = finetune(EmbeddingEncoder.load(tiny_encoder), examples, tokenizer, config, checkpoint=checkpoint)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
