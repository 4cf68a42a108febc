"""Figures measured on a finished bundle, put into a copy of it: what decides stays as it is, byte for byte."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pointsman.classifier import bundle as bundles
from pointsman.classifier.bundle import Bundle, load_bundle
from pointsman.classifier.errors import InputError

from .datasets import digest_of
from .evaluate import Report, to_json
from .model_card import with_measured


def keep_report(source: Path | str | None, output: Path, report: Report, data: Sequence[Path]) -> Bundle:
    """Write a copy of a bundle whose manifest and card hold the figures of a report, and return it.

    Parameters
    ----------
    source : path, optional
        The bundle that was measured; the one in the package when left out.
    output : path
        Folder of the copy; made here. A signature is not copied, since the manifest is another one.
    report : Report
        What was measured.
    data : sequence of path
        Files that it was measured on.

    Raises
    ------
    InputError
        The folder holds something already, or the bundle was trained on one of the files.
    BundleError
        The source is no valid bundle.
    """
    kept = load_bundle(source)
    if output.is_dir() and any(output.iterdir()):
        msg = f"{output}: is not empty; expected a new folder for the copy of the bundle. Name another with --into."
        raise InputError(msg)
    known = set(kept.manifest.training_data.get("digests", {}).values())
    seen = [path.name for path in data if digest_of(path) in known]
    if seen:
        msg = f"{', '.join(seen)}: the bundle was trained on it; expected turns that it has not seen. Name others."
        raise InputError(msg)
    output.mkdir(parents=True, exist_ok=True)
    for name in bundles.FILES:
        shutil.copyfile(kept.file(name), output / name)
    card = output / bundles.CARD
    card.write_text(with_measured(card.read_text(encoding="utf-8"), report), encoding="utf-8")
    manifest = replace(
        kept.manifest,
        digests=kept.manifest.digests | {bundles.CARD: bundles.sha256_of(card)},
        metrics=kept.manifest.metrics | {"evaluation": to_json(report)},
        format=bundles.FORMAT,
    )
    bundles.write_manifest(output, manifest)
    return load_bundle(output)
