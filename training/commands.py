"""`pointsman train` and `pointsman evaluate`."""

import argparse
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

from .config import EncoderConfig, FinetuneConfig, TrainConfig


class EvaluateCommand:
    """Measure a bundle on labelled turns. Needs the base install only."""

    help = "measure a bundle on labelled turns: accuracy, macro-F1, calibration, careful/cheap trade"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="labelled turns")
        parser.add_argument("--bundle", type=Path, help="bundle folder (default: the one that ships)")
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
        parser.add_argument("--threads", type=int, default=1, help="threads for inference (default: 1)")

    def run(self, args: argparse.Namespace) -> int:
        from pointsman.classifier.assessor import Assessor

        from .datasets import read_examples
        from .evaluate import evaluate, render, to_json

        examples = read_examples(args.data)
        if not examples:
            print(f"no labelled turns in {', '.join(map(str, args.data))}", file=sys.stderr)
            return 2
        report = evaluate(Assessor.load(args.bundle, n_threads=args.threads), examples)
        print(json.dumps(to_json(report), indent=2) if args.json else render(report))
        return 0


class TrainCommand:
    """Train a bundle from labelled turns. Needs the training extra."""

    help = "train a bundle from labelled turns (needs pointsman[training])"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="labelled turns")
        parser.add_argument("--output", type=Path, required=True, help="folder to write the bundle to")
        parser.add_argument("--evaluate", type=Path, metavar="FILE.jsonl", help="held-out turns to measure on")
        parser.add_argument("--version", default="dev", help="name of the model, kept in every decision")
        parser.add_argument("--encoder", help="folder or installed package with weights (default: the pinned MiniLM)")
        parser.add_argument("--epochs", type=int, help="passes over the data")
        parser.add_argument("--threads", type=int, help="CPU threads")

    def run(self, args: argparse.Namespace) -> int:
        try:
            from .train import train
        except ModuleNotFoundError as error:
            print(
                f"training needs {error.name}, which is not installed. Run: pip install 'pointsman[training]'.",
                file=sys.stderr,
            )
            return 2
        from .evaluate import render

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        bundle, report = train(_config(args), evaluation=args.evaluate)
        if report is not None:
            print(render(report))
        print(f"bundle {bundle.manifest.version} in {bundle.path}")
        return 0


def _config(args: argparse.Namespace) -> TrainConfig:
    finetune = FinetuneConfig()
    if args.epochs is not None:
        finetune = replace(finetune, epochs=args.epochs)
    if args.threads is not None:
        finetune = replace(finetune, n_threads=args.threads)
    encoder = EncoderConfig()
    if args.encoder is not None:
        encoder = EncoderConfig(source=args.encoder, sha256=None, name=args.encoder, licence="as its source says")
    return TrainConfig(
        data=tuple(args.data), output=args.output, version=args.version, finetune=finetune, encoder=encoder
    )
