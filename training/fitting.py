"""What every bundle is made of beside its encoder: heads, temperatures, the risk bounds and the novelty reference.

They are fitted on what the graph that will run gives, with groups kept apart, and sealed with digests and a card. A
full training run and a refit of the heads differ in where the graph comes from, and in nothing here.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer
from tqdm import tqdm

from pointsman.classifier import bundle as bundles
from pointsman.classifier.bundle import Bundle, Encoder, Manifest
from pointsman.classifier.calibration import apply_temperature
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.risk_bound import RiskBound
from pointsman.classifier.tokens import TextTokenizer, read_glosses

from . import graph
from .calibrate import MIN_GROUPS, care_probabilities, fit_risk_bounds, fit_scaling, novelty_scale, reference_of
from .config import CalibrationConfig, TrainConfig
from .datasets import Example, digest_of, read_examples, read_readings, split_by_group
from .evaluate import Report, to_json
from .heads import LinearHead, fit_heads, label_ids
from .lexicon import extend_tokenizer, read_lexicon
from .model_card import BOUNDS, bounds_fact, model_card

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of one run, by what they are for.

    `traffic` are the ids of rows that are like the traffic to come; when it is empty, all are.
    """

    train: Sequence[Example]
    calibration: Sequence[Example]
    evaluation: Sequence[Example]
    traffic: frozenset[str] = frozenset()

    def is_traffic(self, examples: Sequence[Example]) -> npt.NDArray[np.bool_]:
        """Say of each row whether it is like the traffic to come."""
        return np.array([not self.traffic or example.id in self.traffic for example in examples], dtype=bool)


def read_data(config: TrainConfig, evaluation: Path | None, *, fits_heads: bool = True) -> Data:
    """Read the rows of a run and split them (`split_rows`)."""
    held_out = read_examples([evaluation]) if evaluation is not None else []
    readings = read_readings(config.readings)
    rows = read_examples(config.data, readings)
    traffic = frozenset(example.id for example in read_examples(config.traffic, readings))
    return split_rows(rows, held_out, traffic, config, fits_heads=fits_heads)


def split_rows(
    rows: Sequence[Example],
    held_out: Sequence[Example],
    traffic: frozenset[str],
    config: TrainConfig,
    *,
    fits_heads: bool = True,
) -> Data:
    """Split rows by group; groups that are evaluated on are taken out of the rest.

    Raises
    ------
    InputError
        No row is left to train heads on, to calibrate on, or to calibrate on among those that are like traffic.
    """
    measured = {example.group for example in held_out}
    kept = [example for example in rows if example.group not in measured]
    fit, calibration = split_by_group(kept, config.calibration_share)
    for part, found in (("training", fit if fits_heads else kept), ("calibration", calibration)):
        if not found:
            msg = (
                f"no turn is left for {part}: found {len(kept)} turns, of groups {len({row.group for row in kept})}; "
                "expected turns of many groups. Name more with --data, and give each row its 'group', a person or "
                "project: without it all rows of a 'source', or of a file, are one."
            )
            raise InputError(msg)
    if config.traffic and not any(example.id in traffic for example in calibration):
        names = ", ".join(path.name for path in config.traffic)
        msg = (
            f"{names}: found no calibration row in them; expected files of --data with rows of {MIN_GROUPS} groups "
            "or more. Name such files with --traffic, or leave it out."
        )
        raise InputError(msg)
    return Data(fit, calibration, held_out, traffic)


def prepare(folder: Path, config: TrainConfig) -> TextTokenizer:
    """Extend a tokenizer, and the glosses it may have, by the lexicon; put both into the output folder."""
    tokens, glosses = extended_tokenizer(folder, config.lexicon)
    config.output.mkdir(parents=True, exist_ok=True)
    tokens.save(str(config.output / bundles.TOKENIZER), pretty=False)
    (config.output / bundles.GLOSSES).write_text(json.dumps(glosses, separators=(",", ":")))
    return TextTokenizer(tokens, config.budget, glosses)


def extended_tokenizer(folder: Path, lexicon: Sequence[Path]) -> tuple[Tokenizer, dict[int, list[int]]]:
    """Return a folder's tokenizer, extended by the lexicon, and all glosses by token id."""
    tokens = Tokenizer.from_file(str(folder / bundles.TOKENIZER))
    had = folder / bundles.GLOSSES
    glosses = (read_glosses(had) if had.is_file() else {}) | extend_tokenizer(tokens, read_lexicon(lexicon))
    logger.info("lexicon of %d terms", len(glosses))
    return tokens, glosses


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
    """Fit heads, temperatures, label frequencies, the risk bounds and the novelty reference on what the graph gives."""
    rows, held_out = graph.head_input(of_train.embedding), graph.head_input(of_calibration.embedding)
    like = data.is_traffic(data.calibration)
    judges = [example for example, is_like in zip(data.calibration, like, strict=True) if is_like]
    started = time.monotonic()
    heads = fit_heads(rows, data.train, config.heads, validation=(held_out, data.calibration))
    heads, temperatures = scaled(heads, held_out[like], judges, config.calibration)
    logger.info("heads fitted on %d turns in %.1f s", len(data.train), time.monotonic() - started)
    logger.info("temperatures %s", temperatures)
    probabilities = {head: apply_temperature(heads[head].logits(held_out), temperatures[head]) for head in HEADS}
    risk_bounds = bounds_on(care_probabilities(probabilities), data, config)
    reference = reference_of(of_train.surface, config.novelty)
    scale = novelty_scale(of_calibration.surface, reference)
    return Fitted(heads, temperatures, risk_bounds, reference, scale)


def scaled(
    heads: Mapping[Head, LinearHead],
    rows: npt.NDArray[np.float32],
    examples: Sequence[Example],
    config: CalibrationConfig,
) -> tuple[dict[Head, LinearHead], dict[Head, float]]:
    """Return heads that give labels the frequency they have in held-out turns, and their temperatures.

    `rows` (n_turns, n_dimensions) is what the heads read of `examples`.
    """
    with threadpool_limits(1, user_api="blas"):
        scalings = {head: fit_scaling(heads[head].logits(rows), label_ids(examples, head), config) for head in HEADS}
    shifted = {head: heads[head].shifted(scaling.shift) for head, scaling in scalings.items()}
    return shifted, {head: scaling.temperature for head, scaling in scalings.items()}


def bounds_on(care: npt.NDArray[np.float64], data: Data, config: TrainConfig) -> tuple[RiskBound, ...]:
    """Fit the risk bounds on the calibration rows that are like traffic; `care` is theirs and the others', in order."""
    like = data.is_traffic(data.calibration)
    rows = [example for example, is_like in zip(data.calibration, like, strict=True) if is_like]
    bounds = fit_risk_bounds(
        care[like],
        np.array([example.needs_care for example in rows]),
        [example.group for example in rows],
        config.risk_bound,
    )
    for bound in bounds:
        logger.info("%s", bound.describe())
    return bounds


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


#: Runs a graph on examples; rows in their order.
Embedder = Callable[[OnnxEncoder, Sequence[Example]], Embedded]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a bundle's encoder comes from, and the parity that was proved of its graph."""

    encoder: Encoder
    opset: int
    parity: Any
    training_data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kept: Bundle) -> "Origin":
        """Return the origin of an encoder that is kept from another bundle."""
        manifest = kept.manifest
        of = {"version": manifest.version, "digest": kept.digest} | manifest.training_data
        return cls(manifest.encoder, manifest.opset, manifest.metrics.get("parity"), {"encoder_of": of})


def seal(fitted: Fitted, origin: Origin, data: Data, config: TrainConfig, *, run_id: str | None) -> Bundle:
    """Write everything but graph and tokenizer, which lie in the output already, and the manifest last."""
    output = config.output
    # fp32: at half precision the whitened distances move by up to a tenth.
    np.save(output / bundles.REFERENCE, fitted.reference, allow_pickle=False)
    (output / bundles.CARD).write_text(f"# Model card: {config.version}\n", encoding="utf-8")
    manifest = Manifest(
        version=config.version,
        digests={name: bundles.sha256_of(output / name) for name in bundles.FILES},
        temperatures=fitted.temperatures,
        budget=config.budget,
        encoder=origin.encoder,
        novelty=fitted.novelty,
        risk_bounds=fitted.risk_bounds,
        opset=origin.opset,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        training_data=data_digests(data, config) | dict(origin.training_data),
        metrics={
            "run_id": run_id,
            "parity": origin.parity,
            "inverse_regularisation": {head: fitted.heads[head].inverse_regularisation for head in HEADS},
        },
    )
    bundles.write_manifest(output, manifest)
    return bundles.load_bundle(output)


def _encoder_fact(manifest: Manifest) -> str:
    made = manifest.training_data
    n_layers, teacher = made["config"]["encoder"]["n_layers"], made.get("taught_by")
    part = "" if n_layers is None else f", layers: first {n_layers}"
    taught = "" if teacher is None else f", taught by {teacher['version']}"
    return f"{manifest.encoder.name} ({manifest.encoder.licence}){part}, fine-tuned{taught}"


def finish(bundle: Bundle, report: Report | None, config: TrainConfig, *, minutes: float) -> Bundle:
    """Write the card and the figures, and seal the bundle again."""
    manifest = bundle.manifest
    rows = manifest.training_data["rows"]
    facts = {
        "encoder": _encoder_fact(manifest),
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
