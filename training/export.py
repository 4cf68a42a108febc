"""Encoder and heads as one ONNX graph: export, quantise, set heads, prove that all of them say the same.

int8 dynamic quantisation, per channel, signed weights, embeddings included: the recipe that kept parity best per
millisecond when measured (per tensor loses two points of F1, unsigned weights run at half the speed).

The graph is exported with empty heads. They are fitted on the embeddings of the quantised graph, the very numbers
they will read in service, and then written into it; a refit of the heads needs no torch.
"""

import math
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from pointsman.classifier.errors import BundleError
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.tokens import TokenBatch

from .finetune import EmbeddingEncoder
from .heads import LinearHead

OPSET: Final = 18
INPUTS: Final = ("input_ids", "attention_mask", "token_type_ids")
EMBEDDING: Final = "embedding"
SURFACE: Final = "surface"
OUTPUTS: Final = (*HEADS, EMBEDDING, SURFACE)

#: Names of the nodes and weights that `set_heads` owns.
_OWN: Final = "pointsman."

Floats = npt.NDArray[np.float32]
Outputs = dict[str, Floats]


class ExportedEncoder(nn.Module):
    """What goes into the graph: the embedding scaled to length 1, and the state that novelty is read from."""

    def __init__(self, encoder: EmbeddingEncoder, novelty_layer: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.novelty_layer = min(novelty_layer, encoder.n_layers)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        embedding, surface = self.encoder.read(input_ids, attention_mask, token_type_ids, layer=self.novelty_layer)
        return torch.as_tensor(embedding / embedding.norm(dim=-1, keepdim=True).clamp(min=1e-12)), surface


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two runtimes are apart on the same texts."""

    max_logit_difference: float
    argmax_agreement: dict[Head, float]
    n_texts: int


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


def export_fp32(encoder: EmbeddingEncoder, path: Path, *, novelty_layer: int) -> None:
    """Write the fp32 graph of the encoder with free batch and token dimensions."""
    model = ExportedEncoder(encoder, novelty_layer).eval()
    example = torch.ones((2, 9), dtype=torch.int64)
    axes = {0: "n_texts", 1: "n_tokens"}
    with warnings.catch_warnings():
        # The TorchScript exporter gives the same numbers as dynamo in a fifth of the time; its deprecation is known.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (example, example, torch.zeros_like(example)),
            str(path),
            input_names=list(INPUTS),
            output_names=[EMBEDDING, SURFACE],
            dynamic_axes={name: axes for name in INPUTS} | {name: {0: "n_texts"} for name in (EMBEDDING, SURFACE)},
            opset_version=OPSET,
            dynamo=False,
        )
    onnx.checker.check_model(str(path))


def quantise(fp32: Path, int8: Path) -> None:
    """Quantise weights of matrix products and embeddings of a graph that has no heads yet."""
    with tempfile.TemporaryDirectory() as folder:
        # Shape inference leaves a scratch file beside its input otherwise.
        scratch = Path(folder) / "model.onnx"
        scratch.write_bytes(fp32.read_bytes())
        quantize_dynamic(
            scratch,
            int8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul", "Gather"],
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )


def torch_outputs(encoder: EmbeddingEncoder, heads: dict[Head, LinearHead], tokens: TokenBatch) -> Outputs:
    """Run the Python pipeline: torch encoder, then the heads in numpy."""
    inputs = (torch.from_numpy(getattr(tokens, name)) for name in INPUTS)
    with torch.no_grad():
        embedding, _ = ExportedEncoder(encoder, encoder.n_layers)(*inputs)
    logits = {head: heads[head].logits(head_input(embedding.numpy())).astype(np.float32) for head in HEADS}
    return logits | {EMBEDDING: embedding.numpy()}


def onnx_outputs(path: Path, batches: list[TokenBatch]) -> list[Outputs]:
    """Run a graph file on batches."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return [
        dict(zip(OUTPUTS, session.run(list(OUTPUTS), {name: getattr(tokens, name) for name in INPUTS}), strict=True))
        for tokens in batches
    ]


def parity(one: list[Outputs], other: list[Outputs]) -> Parity:
    """Compare the outputs of two runtimes."""
    logits = {
        head: (np.concatenate([batch[head] for batch in one]), np.concatenate([batch[head] for batch in other]))
        for head in HEADS
    }
    return Parity(
        max_logit_difference=max(float(np.abs(a - b).max()) for a, b in logits.values()),
        argmax_agreement={head: float((a.argmax(1) == b.argmax(1)).mean()) for head, (a, b) in logits.items()},
        n_texts=len(logits["category"][0]),
    )
