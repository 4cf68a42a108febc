"""The story of a model: read, split, fine-tune, fit heads, calibrate, export, prove, measure, write the bundle."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from pointsman.classifier import bundle as bundles
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import Bundle, Encoder, load_bundle
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.errors import BundleError, InputError
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.tokens import TextTokenizer

from . import export, graph
from .config import ParityLimits, TrainConfig
from .datasets import Example
from .encoder_source import WEIGHTS, encoder_folder
from .evaluate import Report, evaluate
from .finetune import EmbeddingEncoder, finetune
from .fitting import Data, Embedder, Origin, embed, finish, fit_on_embeddings, prepare, read_data, seal
from .heads import LinearHead, label_ids
from .metrics import macro_f1, sign_test
from .registry import Run, tracked
from .rounding import round_together
from .smoothing import smooth

logger = logging.getLogger(__name__)

ByHead = dict[Head, float]
_LIMITS: Final = ParityLimits()
#: Rows that parity is proved on, those of calibration first; torch is slow.
N_PARITY_TORCH: Final = 64
N_PARITY_INT8: Final = 1024
#: Labels with fewer rows are left out of the macro-F1 that is compared.
MIN_ROWS_OF_LABEL: Final = 10
_MORE_ROWS: Final = "Quantisation costs a well-trained encoder less: train with more rows or epochs."
#: Training rows whose activations are measured before quantisation.
N_SMOOTHING: Final = 256


def train(config: TrainConfig, *, evaluation: Path | None = None) -> tuple[Bundle, Report | None]:
    """Train a bundle from labelled turns and write it to `config.output`.

    Parameters
    ----------
    config : TrainConfig
        Every setting and seed.
    evaluation : path, optional
        Labelled turns for the final measurement; never trained or calibrated on. Its groups are taken out of
        the training data if they occur there.

    Raises
    ------
    InputError
        The data or the encoder cannot be read.
    BundleError
        The exported graph does not say what the Python pipeline says.
    """
    with tracked(config) as run:
        return _train(config, evaluation, run)


def _train(config: TrainConfig, evaluation: Path | None, run: Run) -> tuple[Bundle, Report | None]:
    started = time.monotonic()
    data = read_data(config, evaluation)
    bundle = train_on(data, config, run)
    report = evaluate(Assessor.load(bundle.path), data.evaluation) if data.evaluation else None
    bundle = finish(bundle, report, config, minutes=(time.monotonic() - started) / 60)
    run.finish(bundle, report)
    return bundle, report


def train_on(
    data: Data,
    config: TrainConfig,
    run: Run,
    *,
    embedder: Embedder = embed,
    checkpoint: Path | None = None,
    successor_of: Bundle | None = None,
) -> Bundle:
    """Fine-tune the encoder on rows that were read and write a bundle with it, not yet measured.

    Parameters
    ----------
    data, config, run
        Rows, settings, and where the story is told.
    embedder : callable
        How rows are run through the quantised graph.
    checkpoint : path, optional
        File that is written after each epoch, and gone on from when it is there.
    successor_of : Bundle, optional
        Its words of other languages are kept, if its encoder has the same vocabulary; token ids mean nothing to others.
    """
    folder = encoder_folder(config.encoder)
    logger.info("train on %d turns, calibrate on %d", len(data.train), len(data.calibration))
    reads_alike = successor_of is not None and _vocabulary(successor_of.path) == _vocabulary(folder)
    tokenizer = prepare(successor_of.path if successor_of is not None and reads_alike else folder, config)
    encoder = EmbeddingEncoder.load(folder, n_layers=config.encoder.n_layers)
    teacher = None if config.teacher is None else load_bundle(config.teacher)
    encoder = finetune(
        encoder,
        data.train,
        tokenizer,
        config.finetune,
        taught=None if teacher is None else _taught(teacher, data.train, encoder.n_dimensions, embedder, config),
        on_progress=run.progress,
        checkpoint=checkpoint,
    )
    of = None if teacher is None else {"version": teacher.manifest.version, "digest": teacher.digest}
    return _write_bundle(encoder, tokenizer, data, config, run, embedder, {} if of is None else {"taught_by": of})


def _vocabulary(folder: Path) -> dict[str, int]:
    """Return the word pieces of a tokenizer, without the words that a lexicon added."""
    return Tokenizer.from_file(str(folder / bundles.TOKENIZER)).get_vocab(with_added_tokens=False)


def _taught(
    teacher: Bundle, examples: Sequence[Example], n_dimensions: int, embedder: Embedder, config: TrainConfig
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the unit embeddings of a teacher, by row id.

    Raises
    ------
    InputError
        They are not as wide as those that are to be learned.
    """
    logger.info("%s teaches", teacher.manifest.version)
    embedding = embedder(OnnxEncoder.load(teacher, n_threads=config.finetune.n_threads), examples).embedding
    if embedding.shape[1] != n_dimensions:
        msg = (
            f"teacher {teacher.manifest.version} gives {embedding.shape[1]} dimensions, the encoder {n_dimensions}; "
            "expected as many. Name a bundle whose encoder is as wide, or leave --teacher out."
        )
        raise InputError(msg)
    return {example.id: row for example, row in zip(examples, embedding, strict=True)}


def _write_bundle(
    encoder: EmbeddingEncoder,
    tokenizer: TextTokenizer,
    data: Data,
    config: TrainConfig,
    run: Run,
    embedder: Embedder,
    training_data: Mapping[str, Any],
) -> Bundle:
    """Export, quantise, fit on what the quantised graph gives, prove parity, and write the bundle's files."""
    int8, fp32 = config.output / bundles.MODEL, config.output.with_name(config.output.name + ".fp32.onnx")
    export.export_fp32(encoder, fp32, novelty_layer=config.novelty.layer)
    ordinary = data.train[:: math.ceil(len(data.train) / N_SMOOTHING)]
    texts = [tokenizer.encode([example.text]) for example in ordinary]
    smooth(fp32, texts)
    export.quantise(fp32, int8)
    round_together(fp32, int8, texts)
    graph.set_heads(int8, graph.no_heads(encoder.n_dimensions))
    runtime = OnnxEncoder.open(int8, tokenizer, n_threads=config.finetune.n_threads)
    fitted = fit_on_embeddings(embedder(runtime, data.train), embedder(runtime, data.calibration), data, config)
    run.heads(fitted.heads)
    for file in (fp32, int8):
        graph.set_heads(file, fitted.heads)
    # Few calibration rows prove nothing: of fifty, two that differ would be too many.
    agreement = prove_parity(encoder, fitted.heads, (fp32, int8), [*data.calibration, *data.train], tokenizer)
    fp32.unlink()
    weights = bundles.sha256_of(encoder_folder(config.encoder) / WEIGHTS)
    source = Encoder(config.encoder.name, config.encoder.licence, weights)
    return seal(fitted, Origin(source, graph.OPSET, agreement, training_data), data, config, run_id=run.run_id)


def prove_parity(
    encoder: EmbeddingEncoder,
    heads: dict[Head, LinearHead],
    graphs: tuple[Path, Path],
    examples: Sequence[Example],
    tokenizer: TextTokenizer,
) -> dict[str, float | dict[Head, float]]:
    """Compare torch with fp32 ONNX, and fp32 with int8, and refuse an export that strays.

    Raises
    ------
    BundleError
        A difference is larger than allowed.
    """
    examples = examples[:N_PARITY_INT8]
    batches = [tokenizer.encode([example.text]) for example in examples]
    fp32, int8 = (export.onnx_outputs(graph, batches) for graph in graphs)
    from_torch = [export.torch_outputs(encoder, heads, tokens) for tokens in batches[:N_PARITY_TORCH]]
    difference = export.parity(from_torch, fp32[:N_PARITY_TORCH]).max_logit_difference
    if difference > _LIMITS.max_fp32_difference:
        msg = f"fp32 ONNX differs from torch by {difference:.2e}; at most {_LIMITS.max_fp32_difference} is allowed."
        raise BundleError(msg)
    agreement = export.parity(fp32, int8).argmax_agreement
    worst = min(agreement.values())
    if worst < _LIMITS.min_int8_agreement:
        least = _LIMITS.min_int8_agreement
        msg = f"int8 agrees with fp32 on {worst:.3f} of {len(examples)} texts; at least {least} is needed. {_MORE_ROWS}"
        raise BundleError(msg)
    # NaN where no label has enough rows: nothing to compare.
    drop = {
        head: float(np.nan_to_num(_macro_f1(fp32, examples, head) - _macro_f1(int8, examples, head))) for head in HEADS
    }
    chances = _by_chance(fp32, int8, examples)
    if any(_LIMITS.is_lossy(drop[head], chances[head]) for head in HEADS):
        lost = ", ".join(f"{head} {value:.3f}" for head, value in drop.items())
        most = _LIMITS.max_int8_macro_f1_drop
        msg = (
            f"int8 loses macro-F1 against fp32 on {len(examples)} texts: {lost}; at most {most} a head is allowed, or "
            f"what chance alone gives. {_MORE_ROWS}"
        )
        raise BundleError(msg)
    return {
        "torch_to_fp32_max_difference": difference,
        "fp32_to_int8_argmax_agreement": agreement,
        "fp32_to_int8_macro_f1_drop": {head: round(value, 4) for head, value in drop.items()},
        "fp32_to_int8_drop_by_chance": {head: round(value, 4) for head, value in chances.items()},
    }


def _macro_f1(outputs: Sequence[export.Outputs], examples: Sequence[Example], head: Head) -> float:
    predicted = _predicted(outputs, head)
    return macro_f1(label_ids(examples, head), predicted, len(HEADS[head]), min_rows=MIN_ROWS_OF_LABEL)


def _by_chance(fp32: Sequence[export.Outputs], int8: Sequence[export.Outputs], examples: Sequence[Example]) -> ByHead:
    """Return per head the chance that int8 spoils so many right answers if it mends wrong ones as often."""
    chances: ByHead = {}
    for head in HEADS:
        truth = label_ids(examples, head)
        was_right, is_right = (_predicted(outputs, head) == truth for outputs in (fp32, int8))
        chances[head] = sign_test(int((was_right & ~is_right).sum()), int((is_right & ~was_right).sum()))
    return chances


def _predicted(outputs: Sequence[export.Outputs], head: Head) -> npt.NDArray[np.int64]:
    return np.concatenate([batch[head].argmax(axis=1) for batch in outputs])
