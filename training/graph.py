"""The heads of a graph file: written into it, taken out of it, and the identity of the encoder below them.

Needs no torch: a refit of the heads works on the file alone.
"""

import hashlib
import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx

from pointsman.classifier.errors import BundleError
from pointsman.classifier.labels import HEADS, Head

from .heads import LinearHead

OPSET: Final = 18
INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
EMBEDDING: Final = "embedding"
SURFACE: Final = "surface"
OUTPUTS: Final = (*HEADS, EMBEDDING, SURFACE)

#: Names of the nodes and weights that `set_heads` owns.
_OWN: Final = "pointsman."

Floats = npt.NDArray[np.float32]


def head_input(embedding: Floats) -> Floats:
    """Return what the heads read: unit embeddings times the root of their width, so that entries vary by about 1."""
    return np.asarray(embedding * math.sqrt(embedding.shape[1]), dtype=np.float32)


def no_heads(n_dimensions: int) -> dict[Head, LinearHead]:
    """Return heads that say nothing, to hold the places until fitted ones come."""
    return {
        head: LinearHead(np.zeros((len(labels), n_dimensions)), np.zeros(len(labels)), 0.0)
        for head, labels in HEADS.items()
    }


def set_heads(graph: Path, heads: dict[Head, LinearHead]) -> None:
    """Write heads into a graph file, fp32 or int8, in place of those it has.

    They stay fp32: they read a wide embedding that dynamic activation quantisation would blur, and weigh 70 KB.

    Raises
    ------
    BundleError
        A head is not made for the graph's embedding.
    """
    model = onnx.load(str(graph))
    content = model.graph
    embedding, surface = (next(o for o in content.output if o.name == name) for name in (EMBEDDING, SURFACE))
    n_dimensions = embedding.type.tensor_type.shape.dim[1].dim_value
    for repeated in (content.node, content.initializer):
        _keep(repeated, [item for item in repeated if not item.name.startswith(_OWN)])
    scale = np.array(math.sqrt(n_dimensions), dtype=np.float32)
    content.initializer.append(onnx.numpy_helper.from_array(scale, f"{_OWN}scale"))
    content.node.append(
        onnx.helper.make_node("Mul", [EMBEDDING, f"{_OWN}scale"], [f"{_OWN}input"], name=f"{_OWN}multiply")
    )
    for head in HEADS:
        _append_head(content, head, heads[head], n_dimensions)
    outputs = [onnx.helper.make_tensor_value_info(h, onnx.TensorProto.FLOAT, ["n_texts", len(HEADS[h])]) for h in HEADS]
    _keep(content.output, [*outputs, embedding, surface])
    onnx.checker.check_model(model)
    onnx.save(model, str(graph))


def _append_head(content: onnx.GraphProto, head: Head, fitted: LinearHead, n_dimensions: int) -> None:
    if fitted.weights.shape != (len(HEADS[head]), n_dimensions):
        found = fitted.weights.shape
        msg = f"head '{head}' has shape {found}, the graph's embedding is {n_dimensions} wide. Fit it again."
        raise BundleError(msg)
    for name, values in (("weights", fitted.weights), ("bias", fitted.bias)):
        tensor = onnx.numpy_helper.from_array(values.astype(np.float32), f"{_OWN}{head}.{name}")
        content.initializer.append(tensor)
    inputs = [f"{_OWN}input", f"{_OWN}{head}.weights", f"{_OWN}{head}.bias"]
    content.node.append(onnx.helper.make_node("Gemm", inputs, [head], name=f"{_OWN}{head}", transB=1))


def _keep(repeated: Any, items: list[Any]) -> None:
    kept = [type(item).FromString(item.SerializeToString()) for item in items]
    del repeated[:]
    repeated.extend(kept)


def encoder_digest(graph: Path) -> str:
    """Return a digest of everything in a graph file but its heads: graphs with the same one embed texts alike."""
    content = onnx.load(str(graph)).graph
    digest = hashlib.sha256()
    for item in (*content.input, *content.node, *content.initializer):
        if not item.name.startswith(_OWN):
            digest.update(item.SerializeToString(deterministic=True))
    return digest.hexdigest()
