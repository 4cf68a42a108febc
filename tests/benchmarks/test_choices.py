"""What else the hot path could be made of, beside what it is made of."""

import importlib
import json

import numpy as np
import orjson
import pytest

from pointsman.classifier import Router
from pointsman.classifier.answers import decision_answer
from pointsman.classifier.text import build_text

from .rows import take_turns
from .texts import LONGEST, digest_of, turn_of

pytestmark = pytest.mark.benchmark
PART = "Choices in process"
N_IN_BATCH = 8


@pytest.fixture(scope="module")
def router():
    return Router.load()


@pytest.mark.parametrize("lengths", [[64] * N_IN_BATCH, [16, 32, 48, 64, 80, 96, 112, LONGEST]], ids=["even", "mixed"])
def test_batch_beside_one_at_a_time(router, report, lengths):
    """What micro-batching could save; it is not done, since a text's answer would hang on the texts beside it.

    The int8 graph scales activations over all that it is given (`encoder.py`).
    """
    encoder = router.assessor._encoder
    texts = [build_text(turn_of(n)) for n in lengths]

    def batch():
        encoder.run(encoder._tokenizer.encode(texts))

    def alone():
        for text in texts:
            encoder.run(encoder._tokenizer.encode([text]))

    samples = take_turns(batch, alone, 40).scaled(1e3 / len(texts))
    name = "of one length" if len(set(lengths)) == 1 else "of many lengths"
    row = report(samples.row(PART, f"{len(texts)} texts {name} in one batch, each", "ms", "one at a time"))
    assert row.ratio > 0.5


@pytest.mark.parametrize("library", ["json", "msgspec"])
def test_libraries_that_write_an_answer(router, report, library):
    pytest.importorskip(library)
    dumps = json.dumps if library == "json" else importlib.import_module("msgspec.json").encode
    answer = decision_answer(router.decide(digest_of(64, "writing")))
    samples = take_turns(lambda: dumps(answer), lambda: orjson.dumps(answer), 300).scaled(1e6)
    row = report(samples.row(PART, f"{library} writes an answer", "us", "orjson", statistic=np.median))
    assert row.ratio > 0.5
