"""The encoder as an ONNX graph: export, quantise, prove that all of them say the same.

int8 dynamic quantisation, per channel, signed weights, embeddings included: the recipe that kept parity best per
millisecond when measured (per tensor loses two points of F1, unsigned weights run at half the speed).

The graph is exported with empty heads. They are fitted on the embeddings of the quantised graph, the very numbers
they will read in service, and then written into it (`graph.py`); a refit of the heads needs no torch.
"""

import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.tokens import TokenBatch

from .finetune import EmbeddingEncoder
from .graph import EMBEDDING, INPUTS, OPSET, OUTPUTS, SURFACE, Floats, head_input
from .heads import LinearHead

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
