"""The story of a model: read, split, fine-tune, fit heads, calibrate, export, prove, measure, write the bundle."""

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tqdm import tqdm

from pointsman.classifier import bundle as bundles
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import Bundle, Encoder, Manifest
from pointsman.classifier.calibration import apply_temperature
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.errors import BundleError, InputError
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.risk_bound import RiskBound
from pointsman.classifier.tokens import TextTokenizer, read_glosses

from . import export
from .calibrate import care_probabilities, fit_risk_bounds, fit_temperature, novelty_scale, reference_of
from .config import TrainConfig
from .datasets import Example, digest_of, read_examples, read_readings, split_by_group
from .encoder_source import WEIGHTS, encoder_folder
from .evaluate import Report, evaluate, to_json
from .finetune import EmbeddingEncoder, finetune
from .heads import LinearHead, fit_heads, label_ids
from .lexicon import extend_tokenizer, read_lexicon
from .metrics import macro_f1
from .model_card import BOUNDS, bounds_fact, model_card
from .registry import Run, tracked
from .smoothing import smooth

logger = logging.getLogger(__name__)

#: fp32 ONNX must give torch's numbers. int8 may differ where two labels are close, but must not be right less often:
#: macro-F1 over labels with so many rows or more.
MAX_FP32_DIFFERENCE: Final = 1e-4
MIN_INT8_AGREEMENT: Final = 0.97
MAX_INT8_MACRO_F1_DROP: Final = 0.01
MIN_ROWS_OF_LABEL: Final = 10
#: Calibration rows that parity is proved on; torch is slow.
N_PARITY_TORCH: Final = 64
N_PARITY_INT8: Final = 1024
#: Training rows whose activations are measured before quantisation.
N_SMOOTHING: Final = 256


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of one run, by what they are for."""

    train: Sequence[Example]
    calibration: Sequence[Example]
    evaluation: Sequence[Example]


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
    folder = encoder_folder(config.encoder)
    data = read_data(config, evaluation)
    logger.info("train on %d turns, calibrate on %d", len(data.train), len(data.calibration))
    tokenizer = prepare(folder, config)
    encoder = finetune(EmbeddingEncoder.load(folder), data.train, tokenizer, config.finetune, on_progress=run.progress)
    bundle = write_bundle(encoder, tokenizer, data, config, run)
    report = evaluate(Assessor.load(bundle.path), data.evaluation) if data.evaluation else None
    bundle = finish(bundle, report, config, minutes=(time.monotonic() - started) / 60)
    run.finish(bundle, report)
    return bundle, report


def read_data(config: TrainConfig, evaluation: Path | None) -> Data:
    """Read the rows of a run, split by group; groups that are evaluated on are taken out of the rest."""
    held_out = read_examples([evaluation]) if evaluation is not None else []
    groups = {example.group for example in held_out}
    readings = read_readings(config.readings)
    rows = [example for example in read_examples(config.data, readings) if example.group not in groups]
    fit, calibration = split_by_group(rows, config.calibration_share)
    return Data(fit, calibration, held_out)


def prepare(folder: Path, config: TrainConfig) -> TextTokenizer:
    """Extend a tokenizer, and the glosses it may have, by the lexicon; put both into the output folder."""
    tokens = Tokenizer.from_file(str(folder / bundles.TOKENIZER))
    had = folder / bundles.GLOSSES
    glosses = (read_glosses(had) if had.is_file() else {}) | extend_tokenizer(tokens, read_lexicon(config.lexicon))
    logger.info("lexicon of %d terms", len(glosses))
    config.output.mkdir(parents=True, exist_ok=True)
    tokens.save(str(config.output / bundles.TOKENIZER), pretty=False)
    (config.output / bundles.GLOSSES).write_text(json.dumps(glosses, separators=(",", ":")))
    return TextTokenizer(tokens, config.budget, glosses)


@dataclass(frozen=True, slots=True)
class Embedded:
    """What the quantised graph makes of rows: unit embeddings (n_rows, n_dimensions), and states (n_rows, n_hidden)."""

    embedding: npt.NDArray[np.float32]
    surface: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is fitted on the frozen encoder."""

    heads: dict[Head, LinearHead]
    temperatures: dict[Head, float]
    risk_bounds: tuple[RiskBound, ...]
    reference: npt.NDArray[np.float32]
    novelty: bundles.NoveltyScale


def fit_on_embeddings(of_train: Embedded, of_calibration: Embedded, data: Data, config: TrainConfig) -> Fitted:
    """Fit heads, temperatures, the risk bounds and the novelty reference on what the graph gives."""
    rows, held_out = export.head_input(of_train.embedding), export.head_input(of_calibration.embedding)
    heads = fit_heads(rows, data.train, config.heads, validation=(held_out, data.calibration))
    logits = {head: heads[head].logits(held_out) for head in HEADS}
    temperatures = {head: fit_temperature(logits[head], label_ids(data.calibration, head)) for head in HEADS}
    logger.info("temperatures %s", temperatures)
    probabilities = {head: apply_temperature(logits[head], temperatures[head]) for head in HEADS}
    risk_bounds = bounds_on(care_probabilities(probabilities), data.calibration, config)
    reference = reference_of(of_train.surface, config.novelty)
    scale = novelty_scale(of_calibration.surface, reference)
    return Fitted(heads, temperatures, risk_bounds, reference, scale)


def bounds_on(
    care: npt.NDArray[np.float64], calibration: Sequence[Example], config: TrainConfig
) -> tuple[RiskBound, ...]:
    """Fit the risk bounds on calibration rows and their care probabilities, of the files named for it where some are.

    Raises
    ------
    InputError
        None of the calibration rows stands in these files.
    """
    ids = {example.id for example in read_examples(config.risk_bound.data, read_readings(config.readings))}
    kept = np.array([not ids or example.id in ids for example in calibration])
    if not kept.any():
        names = ", ".join(path.name for path in config.risk_bound.data)
        msg = f"{names}: found no calibration row in them; expected files of --data. Name these with --bound-on."
        raise InputError(msg)
    rows = [example for example, is_kept in zip(calibration, kept, strict=True) if is_kept]
    bounds = fit_risk_bounds(
        care[kept],
        np.array([example.needs_care for example in rows]),
        [example.group for example in rows],
        config.risk_bound,
    )
    for bound in bounds:
        logger.info("%s", bound.describe())
    return bounds


def write_bundle(
    encoder: EmbeddingEncoder, tokenizer: TextTokenizer, data: Data, config: TrainConfig, run: Run
) -> Bundle:
    """Export, quantise, fit on what the quantised graph gives, prove parity, and write the bundle's files."""
    output = config.output
    int8, fp32 = output / bundles.MODEL, output.with_name(output.name + ".fp32.onnx")
    export.export_fp32(encoder, fp32, novelty_layer=config.novelty.layer)
    ordinary = data.train[:: math.ceil(len(data.train) / N_SMOOTHING)]
    smooth(fp32, [tokenizer.encode([example.text]) for example in ordinary])
    export.quantise(fp32, int8)
    export.set_heads(int8, export.no_heads(encoder.n_dimensions))
    runtime = OnnxEncoder.open(int8, tokenizer, n_threads=config.finetune.n_threads)
    fitted = fit_on_embeddings(embed(runtime, data.train), embed(runtime, data.calibration), data, config)
    run.heads(fitted.heads)
    for graph in (fp32, int8):
        export.set_heads(graph, fitted.heads)
    agreement = prove_parity(encoder, fitted.heads, (fp32, int8), data.calibration, tokenizer)
    fp32.unlink()
    folder = encoder_folder(config.encoder)
    # fp32: at half precision the whitened distances move by up to a tenth.
    np.save(output / bundles.REFERENCE, fitted.reference, allow_pickle=False)
    (output / bundles.CARD).write_text(f"# Model card: {config.version}\n", encoding="utf-8")
    manifest = Manifest(
        version=config.version,
        digests={name: bundles.sha256_of(output / name) for name in bundles.FILES},
        temperatures=fitted.temperatures,
        budget=config.budget,
        encoder=Encoder(config.encoder.name, config.encoder.licence, bundles.sha256_of(folder / WEIGHTS)),
        novelty=fitted.novelty,
        risk_bounds=fitted.risk_bounds,
        opset=export.OPSET,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        training_data=data_digests(data, config),
        metrics={
            "run_id": run.run_id,
            "parity": agreement,
            "inverse_regularisation": {head: fitted.heads[head].inverse_regularisation for head in HEADS},
        },
    )
    bundles.write_manifest(output, manifest)
    return bundles.load_bundle(output)


def data_digests(data: Data, config: TrainConfig) -> dict[str, Any]:
    """Return what a manifest says of the data: digests of files, rows, settings."""
    return {
        "digests": {path.name: digest_of(path) for path in (*config.data, *config.readings, *config.lexicon)},
        "rows": {"train": len(data.train), "calibration": len(data.calibration)},
        "config": config.to_json(),
    }


def embed(runtime: OnnxEncoder, examples: Sequence[Example]) -> Embedded:
    """Run the graph on examples, one at a time, as it will run."""
    runs = [runtime.encode([example.text]) for example in tqdm(examples, desc="embed", unit="turn", mininterval=5)]
    return Embedded(np.concatenate([run.embedding for run in runs]), np.concatenate([run.surface for run in runs]))


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
    if difference > MAX_FP32_DIFFERENCE:
        msg = f"fp32 ONNX differs from torch by {difference:.2e}; at most {MAX_FP32_DIFFERENCE} is allowed."
        raise BundleError(msg)
    agreement = export.parity(fp32, int8).argmax_agreement
    worst = min(agreement.values())
    if worst < MIN_INT8_AGREEMENT:
        msg = f"int8 agrees with fp32 on {worst:.3f} of {len(examples)} texts; at least {MIN_INT8_AGREEMENT} is needed."
        raise BundleError(msg)
    # NaN where no label has enough rows: nothing to compare.
    drop = {
        head: float(np.nan_to_num(_macro_f1(fp32, examples, head) - _macro_f1(int8, examples, head))) for head in HEADS
    }
    if max(drop.values()) > MAX_INT8_MACRO_F1_DROP:
        msg = f"int8 loses macro-F1 against fp32: {drop}; at most {MAX_INT8_MACRO_F1_DROP} a head is allowed."
        raise BundleError(msg)
    return {
        "torch_to_fp32_max_difference": difference,
        "fp32_to_int8_argmax_agreement": agreement,
        "fp32_to_int8_macro_f1_drop": {head: round(value, 4) for head, value in drop.items()},
    }


def _macro_f1(outputs: Sequence[export.Outputs], examples: Sequence[Example], head: Head) -> float:
    predicted = np.concatenate([batch[head].argmax(axis=1) for batch in outputs])
    return macro_f1(label_ids(examples, head), predicted, len(HEADS[head]), min_rows=MIN_ROWS_OF_LABEL)


def finish(bundle: Bundle, report: Report | None, config: TrainConfig, *, minutes: float) -> Bundle:
    """Write the card and the figures, and seal the bundle again."""
    manifest = bundle.manifest
    rows = manifest.training_data["rows"]
    facts = {
        "encoder": f"{manifest.encoder.name} ({manifest.encoder.licence}), fine-tuned",
        "graph": f"int8 ONNX, opset {manifest.opset}",
        "training data": ", ".join(sorted(manifest.training_data["digests"])),
        "rows": f"{rows['train']} to train, {rows['calibration']} to calibrate, split by group",
        "made": f"{manifest.created_at} in {minutes:.0f} minutes on {config.finetune.n_threads} CPU threads",
        "temperatures": ", ".join(f"{head} {value:.2f}" for head, value in manifest.temperatures.items()),
        BOUNDS: bounds_fact(manifest.risk_bounds),
        "licence": "Apache-2.0",
    }
    (bundle.path / bundles.CARD).write_text(model_card(config, report, facts), encoding="utf-8")
    metrics = dict(manifest.metrics) | ({"evaluation": to_json(report)} if report is not None else {})
    digests = {name: bundles.sha256_of(bundle.path / name) for name in bundles.FILES}
    sealed = replace(manifest, digests=digests, metrics=metrics)
    bundles.write_manifest(bundle.path, sealed)
    return bundles.load_bundle(bundle.path)
