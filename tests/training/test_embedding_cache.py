"""Embeddings are computed once per text and encoder, and are those of the text alone."""

import numpy as np
import pytest

from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.training.datasets import Example
from pointsman.training.embedding_cache import EmbeddingCache

pytestmark = pytest.mark.training

LABELS = {"category": "docs", "risk": "low", "scope": "file", "turn": "new"}
PROMPTS = ("fix the crash in the parser", "add endpoint for orders", "yes continue")


def examples(prompts=PROMPTS):
    return [Example(str(n), "g", "en", prompt, (), LABELS, 1.0) for n, prompt in enumerate(prompts)]


@pytest.fixture
def bundle(tiny_bundle):
    return load_bundle(tiny_bundle)


@pytest.fixture
def cache(tmp_path, bundle):
    return EmbeddingCache.of(tmp_path, bundle.path, bundle.manifest.budget)


class Counting(OnnxEncoder):
    """Counts the texts that run through the graph; stops like a person who had enough."""

    n_texts = 0
    stops_at = None

    def encode(self, texts):
        if self.n_texts == self.stops_at:
            raise KeyboardInterrupt
        self.n_texts += len(texts)
        return super().encode(texts)


@pytest.fixture
def runtime(bundle):
    return Counting.load(bundle)


def test_rows_are_those_of_each_text_alone(cache, runtime, bundle):
    found = cache.embed(runtime, examples())
    alone = OnnxEncoder.load(bundle)
    for row, example in enumerate(examples()):
        encoded = alone.encode([example.text])
        assert np.array_equal(found.embedding[row], encoded.embedding[0])
        assert np.array_equal(found.surface[row], encoded.surface[0])


def test_known_texts_are_not_computed_again(cache, runtime):
    first = cache.embed(runtime, examples())
    again = cache.embed(runtime, [*reversed(examples()), *examples(("explain how the cache does work",))])
    assert runtime.n_texts == 4
    assert np.array_equal(again.embedding[:3], first.embedding[::-1])


def test_interrupted_run_keeps_what_it_committed(cache, runtime, monkeypatch):
    monkeypatch.setattr("pointsman.training.embedding_cache._BATCH_ROWS", 1)
    runtime.stops_at = 2
    with pytest.raises(KeyboardInterrupt):
        cache.embed(runtime, examples())
    runtime.stops_at = None
    cache.embed(runtime, examples())
    assert runtime.n_texts == 3


def test_new_heads_keep_the_cache_and_another_tokenizer_does_not(tmp_path, tiny_bundle_copy, cache):
    from pointsman.training.graph import no_heads, set_heads

    budget = load_bundle(tiny_bundle_copy).manifest.budget
    set_heads(tiny_bundle_copy / "model.onnx", no_heads(64))
    same = EmbeddingCache.of(tmp_path, tiny_bundle_copy, budget)
    assert same._file == cache._file
    (tiny_bundle_copy / "glosses.json").write_text('{"x": [1]}')
    assert EmbeddingCache.of(tmp_path, tiny_bundle_copy, budget)._file != cache._file
