"""What every bundle is made of beside its encoder: heads, temperatures, the risk bound and the novelty reference.

They are fitted on what the graph that will run gives, with groups kept apart, and sealed with digests and a card. A
full training run and a refit of the heads differ in where the graph comes from, and in nothing here.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer
from tqdm import tqdm

from pointsman.classifier import bundle as bundles
from pointsman.classifier.bundle import Bundle, Encoder, Manifest
from pointsman.classifier.calibration import apply_temperature
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.labels import HEADS, Head
from pointsman.classifier.risk_bound import RiskBound
from pointsman.classifier.tokens import TextTokenizer, read_glosses

from . import graph
from .calibrate import care_probabilities, fit_risk_bound, fit_temperature, novelty_scale, reference_of
from .config import TrainConfig
from .datasets import Example, digest_of, read_examples, read_readings, split_by_group
from .evaluate import Report, to_json
from .heads import LinearHead, fit_heads, label_ids
from .lexicon import extend_tokenizer, read_lexicon
from .model_card import model_card

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Data:
    """The rows of one run, by what they are for."""

    train: Sequence[Example]
    calibration: Sequence[Example]
    evaluation: Sequence[Example]


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
    risk_bound: RiskBound
    reference: npt.NDArray[np.float32]
    novelty: bundles.NoveltyScale


def fit_on_embeddings(of_train: Embedded, of_calibration: Embedded, data: Data, config: TrainConfig) -> Fitted:
    """Fit heads, temperatures, the risk bound and the novelty reference on what the graph gives."""
    rows, held_out = graph.head_input(of_train.embedding), graph.head_input(of_calibration.embedding)
    heads = fit_heads(rows, data.train, config.heads, validation=(held_out, data.calibration))
    logits = {head: heads[head].logits(held_out) for head in HEADS}
    temperatures = {head: fit_temperature(logits[head], label_ids(data.calibration, head)) for head in HEADS}
    logger.info("temperatures %s", temperatures)
    probabilities = {head: apply_temperature(logits[head], temperatures[head]) for head in HEADS}
    risk_bound = fit_risk_bound(
        care_probabilities(probabilities),
        np.array([example.needs_care for example in data.calibration]),
        config.risk_bound,
    )
    logger.info("%s", risk_bound.describe())
    reference = reference_of(of_train.surface, config.novelty)
    scale = novelty_scale(of_calibration.surface, reference)
    return Fitted(heads, temperatures, risk_bound, reference, scale)


def data_digests(data: Data, config: TrainConfig) -> dict[str, Any]:
    """Return what a manifest says of the data: digests of files, rows, settings."""
    return {
        "digests": {path.name: digest_of(path) for path in (*config.data, *config.readings, *config.lexicon)},
        "rows": {"train": len(data.train), "calibration": len(data.calibration)},
        "config": config.to_json(),
    }


def embed(runtime: OnnxEncoder, examples: Sequence[Example], *, size: int = 16) -> Embedded:
    """Run the graph on examples; rows in their order."""
    texts = [example.text for example in examples]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i].prompt) + sum(map(len, texts[i].context)))
    rows: dict[int, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = {}
    for start in tqdm(range(0, len(order), size), desc="embed", unit="batch", mininterval=5):
        chosen = order[start : start + size]
        encoded = runtime.encode([texts[i] for i in chosen])
        rows.update(zip(chosen, zip(encoded.embedding, encoded.surface, strict=True), strict=True))
    return Embedded(*(np.stack([rows[i][part] for i in range(len(texts))]) for part in (0, 1)))


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
        risk_bound=fitted.risk_bound,
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
        "licence": "Apache-2.0",
    }
    (bundle.path / bundles.CARD).write_text(model_card(config, report, facts), encoding="utf-8")
    metrics = dict(manifest.metrics) | ({"evaluation": to_json(report)} if report is not None else {})
    digests = {name: bundles.sha256_of(bundle.path / name) for name in bundles.FILES}
    sealed = replace(manifest, digests=digests, metrics=metrics)
    bundles.write_manifest(bundle.path, sealed)
    return bundles.load_bundle(bundle.path)
