"""A graph of one matrix product, small enough to look at, and the way to run it."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from pointsman.classifier.tokens import TokenBatch

N_TOKENS, N_CHANNELS = 40, 64


def write_graph(path):
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
