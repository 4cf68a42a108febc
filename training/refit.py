"""New heads on a bundle's own graph: labels, lexicon or promise changed, the encoder stays.

What the heads read is computed anew with the graph that will run; heads, temperatures, risk bound and novelty are
fitted on it as in a full training run. The graph's encoder is copied byte for byte, so its parity stands as proved.
"""

import shutil
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pointsman.classifier import bundle as bundles
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import Bundle, load_bundle
from pointsman.classifier.encoder import OnnxEncoder

from . import graph
from .config import TrainConfig
from .evaluate import Report, assess_examples, evaluate
from .fitting import Data, Embedder, Origin, bounds_on, embed, finish, fit_on_embeddings, prepare, read_data, seal
from .model_card import with_bounds
from .registry import Run, tracked


def refit(source: Path, config: TrainConfig, *, evaluation: Path | None = None) -> tuple[Bundle, Report | None]:
    """Write a bundle with the encoder of `source` and heads fitted on `config.data`.

    Parameters
    ----------
    source : path
        The bundle whose encoder is kept.
    config : TrainConfig
        As for `train`; its encoder and fine-tuning settings are not used.
    evaluation : path, optional
        Labelled turns for the final measurement; never fitted on.

    Raises
    ------
    InputError
        The data cannot be read.
    BundleError
        The source is no valid bundle.
    """
    started = time.monotonic()
    kept = load_bundle(source)
    data = read_data(config, evaluation)
    with tracked(config) as run:
        bundle = refit_on(kept, data, config, run)
        report = evaluate(Assessor.load(bundle.path), data.evaluation) if data.evaluation else None
        bundle = finish(bundle, report, config, minutes=(time.monotonic() - started) / 60)
        run.finish(bundle, report)
    return bundle, report


def refit_on(kept: Bundle, data: Data, config: TrainConfig, run: Run, *, embedder: Embedder = embed) -> Bundle:
    """Fit new heads for a kept encoder on rows that were read and write a bundle with them, not yet measured."""
    config = replace(config, budget=kept.manifest.budget)
    tokenizer = prepare(kept.path, config)
    file = config.output / bundles.MODEL
    shutil.copyfile(kept.file(bundles.MODEL), file)
    runtime = OnnxEncoder.open(file, tokenizer, n_threads=config.finetune.n_threads)
    fitted = fit_on_embeddings(embedder(runtime, data.train), embedder(runtime, data.calibration), data, config)
    run.heads(fitted.heads)
    graph.set_heads(file, fitted.heads)
    return seal(fitted, Origin.of(kept), data, config, run_id=run.run_id)


def refit_bounds(source: Path, config: TrainConfig, *, evaluation: Path | None = None) -> Bundle:
    """Write a copy of a bundle whose risk bounds alone are fitted anew, on the calibration groups of `config`.

    Parameters
    ----------
    source : path
        A bundle trained on the same data with the same calibration share: rows it was trained on promise nothing.
    config : TrainConfig
        Its data, readings, calibration share and risk bound are used, its version and output.
    evaluation : path, optional
        Labelled turns whose groups were left out of training, and are left out here.

    Raises
    ------
    InputError
        The data cannot be read, or no calibration row is there to fit on.
    BundleError
        The source is no valid bundle.
    """
    assessor = Assessor.load(source, n_threads=config.finetune.n_threads)
    data = read_data(config, evaluation, fits_heads=False)
    care = np.array([assessment.care_probability for assessment in assess_examples(assessor, data.calibration)])
    bounds = bounds_on(care, data, config)
    kept = load_bundle(source)
    shutil.copytree(source, config.output, dirs_exist_ok=True)
    card = config.output / bundles.CARD
    card.write_text(with_bounds(card.read_text(encoding="utf-8"), bounds), encoding="utf-8")
    manifest = replace(
        kept.manifest,
        version=config.version,
        digests=kept.manifest.digests | {bundles.CARD: bundles.sha256_of(card)},
        risk_bounds=bounds,
        format=bundles.FORMAT,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    bundles.write_manifest(config.output, manifest)
    return load_bundle(config.output)
