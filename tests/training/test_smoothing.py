"""Smoothing before quantisation: the same numbers in fp32, closer ones in int8."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from pointsman.classifier.tokens import TokenBatch
from pointsman.training.export import quantise
from pointsman.training.smoothing import smooth

pytestmark = pytest.mark.training

N_TOKENS, N_CHANNELS = 40, 64


@pytest.fixture
def graph(tmp_path):
    """Word embeddings, a gain that makes one channel a hundred times the others, and a matrix product."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(N_TOKENS, N_CHANNELS)).astype(np.float32)
    gain = np.ones(N_CHANNELS, np.float32)
    gain[5] = 100
    weights = rng.normal(size=(N_CHANNELS, 8)).astype(np.float32)
    weights[5] /= 100
    names = ("input_ids", "attention_mask", "token_type_ids")
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Gather", ["table", "input_ids"], ["words"]),
                helper.make_node("Mul", ["words", "gain"], ["states"]),
                helper.make_node("MatMul", ["states", "weights"], ["out"], name="product"),
            ],
            "tiny",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "t"]) for name in names],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", "t", 8])],
            [numpy_helper.from_array(v, n) for n, v in (("table", table), ("gain", gain), ("weights", weights))],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    path = tmp_path / "graph.onnx"
    onnx.save(model, path)
    return path


def batch():
    ids = np.arange(N_TOKENS, dtype=np.int64)[None]
    return TokenBatch(ids, np.ones_like(ids), np.zeros_like(ids))


def run(path):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(
        ["out"], {name: getattr(batch(), name) for name in ("input_ids", "attention_mask", "token_type_ids")}
    )[0]


def test_fp32_says_what_it_said(graph):
    before = run(graph)
    smooth(graph, [batch()])
    assert np.allclose(run(graph), before, rtol=1e-4, atol=1e-3)


def test_int8_comes_closer_to_fp32(graph, tmp_path):
    exact = run(graph)
    quantise(graph, tmp_path / "plain.onnx")
    smooth(graph, [batch()])
    quantise(graph, tmp_path / "smooth.onnx")
    plain, smoothed = (np.abs(run(tmp_path / f"{name}.onnx") - exact).max() for name in ("plain", "smooth"))
    assert smoothed < plain / 3


def test_full_strength_makes_channels_equally_large(graph):
    smooth(graph, [batch()], strength=1.0)
    model = onnx.load(graph)
    table, gain, factors = (
        next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)
        for name in ("table", "gain", "states.smoothing")
    )
    largest = np.abs(table * gain * factors).max(axis=0)
    assert np.allclose(largest, largest[0], rtol=1e-4)
