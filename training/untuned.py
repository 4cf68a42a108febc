"""The published encoder, tuned on no turn of ours, exported and quantised as for a bundle: for proofs of learning."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tqdm import tqdm

from pointsman.classifier import bundle as bundles
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.tokens import TextTokenizer, TokenBudget

from . import graph
from .config import EncoderConfig, NoveltyConfig
from .datasets import Example
from .encoder_source import encoder_folder


def embed_untuned(
    examples: Sequence[Example], output: Path, name: str, config: EncoderConfig, *, n_threads: int
) -> npt.NDArray[np.float32]:
    """Embed turns one at a time, shape (n_turns, n_dimensions); kept in the output under a name for the next run."""
    output.mkdir(parents=True, exist_ok=True)
    kept = output / f"embeddings-{name}.npy"
    if kept.exists():
        return np.asarray(np.load(kept, allow_pickle=False), dtype=np.float32)
    # Imported here: only this needs torch, and only once.
    from . import export
    from .finetune import EmbeddingEncoder

    folder = encoder_folder(config)
    encoder = EmbeddingEncoder.load(folder)
    fp32, int8 = output / "encoder.fp32.onnx", output / "encoder.onnx"
    export.export_fp32(encoder, fp32, novelty_layer=NoveltyConfig().layer)
    export.quantise(fp32, int8)
    fp32.unlink()
    graph.set_heads(int8, graph.no_heads(encoder.n_dimensions))
    tokenizer = TextTokenizer(Tokenizer.from_file(str(folder / bundles.TOKENIZER)), TokenBudget())
    runtime = OnnxEncoder.open(int8, tokenizer, n_threads=n_threads)
    bar = tqdm(examples, desc="embed", unit="turn", mininterval=5)
    embedding = np.concatenate([runtime.encode([example.text]).embedding for example in bar])
    np.save(kept, embedding, allow_pickle=False)
    return np.asarray(embedding, dtype=np.float32)
