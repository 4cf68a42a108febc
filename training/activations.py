"""What the matrix products of an fp32 graph read, on ordinary texts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from pointsman.classifier.tokens import TokenBatch

Floats = npt.NDArray[np.float32]


def products_of(model: onnx.ModelProto) -> dict[str, list[Any]]:
    """Return the products with a fixed matrix, by the name of the tensor that they read."""
    weights = {tensor.name for tensor in model.graph.initializer}
    products: dict[str, list[Any]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            products.setdefault(node.input[0], []).append(node)
    return products


def watch(model: onnx.ModelProto, names: Sequence[str], batches: Sequence[TokenBatch]) -> Iterator[dict[str, Floats]]:
    """Run a graph and give, batch by batch, the named tensors as one row per token, (n_tokens, n_channels)."""
    watched = onnx.ModelProto.FromString(model.SerializeToString())
    for name in names:
        watched.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = [value.name for value in session.get_inputs()]
    for tokens in batches:
        values = session.run(list(names), {name: getattr(tokens, name) for name in inputs})
        yield {
            name: value.reshape(-1, value.shape[-1]) for name, value in zip(names, map(np.asarray, values), strict=True)
        }
