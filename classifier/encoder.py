"""Tokenise and run the ONNX graph: texts -> logits per head, the embedding, and the state for novelty.

One thread by default: two sessions that spin on the same cores slow each other down more than a second thread
helps. Scale with workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from .bundle import GLOSSES, MODEL, TOKENIZER, Bundle
from .errors import BundleCorruptError, InferenceError
from .labels import HEADS, Head
from .text import Text
from .tokens import TextTokenizer, TokenBatch

FloatArray = npt.NDArray[np.float32]

_OUTPUTS: Final = [*HEADS, "embedding", "surface"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Graph outputs.

    Logits per head (n_texts, n_labels), unit embeddings (n_texts, n_dimensions), and the mean state of the prompt in
    the middle of the encoder (n_texts, n_hidden), from which novelty is read.
    """

    logits: dict[Head, FloatArray]
    embedding: FloatArray
    surface: FloatArray


class OnnxEncoder:
    """Runs a bundle's graph."""

    def __init__(self, session: ort.InferenceSession, tokenizer: TextTokenizer) -> None:
        self._session = session
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, bundle: Bundle, *, n_threads: int = 1) -> "OnnxEncoder":
        """Load the graph and tokenizer of a verified bundle."""
        tokenizer = TextTokenizer.load(bundle.file(TOKENIZER), bundle.manifest.budget, bundle.file(GLOSSES))
        return cls.open(bundle.file(MODEL), tokenizer, n_threads=n_threads)

    @classmethod
    def open(cls, graph: Path, tokenizer: TextTokenizer, *, n_threads: int = 1) -> "OnnxEncoder":
        """Load a graph file.

        Raises
        ------
        BundleCorruptError
            The runtime cannot load it, or its outputs are not the expected ones.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = n_threads
        options.inter_op_num_threads = 1
        # A spinning thread pool would burn a core between requests.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            msg = f"{graph.name} does not load in onnxruntime {ort.__version__}. Export the bundle again."
            raise BundleCorruptError(msg) from error
        names = {output.name for output in session.get_outputs()}
        if names != set(_OUTPUTS):
            msg = f"{graph.name} gives {sorted(names)}; expected {sorted(_OUTPUTS)}. Export the bundle again."
            raise BundleCorruptError(msg)
        return cls(session, tokenizer)

    def encode(self, texts: Sequence[Text]) -> Encoded:
        """Run the graph on texts, one at a time.

        The int8 graph scales activations over all that it is given, so a text's answer would hang on the texts beside
        it and their padding (measured: one category in fourteen). On a CPU one at a time costs nothing.

        Raises
        ------
        InferenceError
            The tokenizer or the runtime failed; the message holds no text, only how many there were.
        """
        try:
            runs = [self.run(self._tokenizer.encode([text])) for text in texts]
        except Exception as error:
            msg = f"inference failed on {len(texts)} text(s): {type(error).__name__}."
            raise InferenceError(msg) from error
        if len(runs) == 1:
            return runs[0]
        return Encoded(
            {head: np.concatenate([run.logits[head] for run in runs]) for head in HEADS},
            np.concatenate([run.embedding for run in runs]),
            np.concatenate([run.surface for run in runs]),
        )

    def run(self, tokens: TokenBatch) -> Encoded:
        """Run the graph on tokens."""
        outputs = self._session.run(
            _OUTPUTS,
            {
                "input_ids": tokens.input_ids,
                "attention_mask": tokens.attention_mask,
                "token_type_ids": tokens.token_type_ids,
            },
        )
        *logits, embedding, surface = map(np.asarray, outputs)
        return Encoded(dict(zip(HEADS, logits, strict=True)), embedding, surface)
