"""`pointsman train`, `pointsman evaluate` and `pointsman report`."""

import argparse
import json
import logging
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .config import EncoderConfig, FinetuneConfig, TrainConfig

if TYPE_CHECKING:
    from .report import ReportConfig


class EvaluateCommand:
    """Measure a bundle on labelled turns. Needs the base install only."""

    help = "measure a bundle on labelled turns, beside baselines and other routers"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _add_measuring_arguments(parser)
        parser.add_argument("--json", action="store_true", help="print JSON with every figure instead of tables")
        parser.add_argument(
            "--into",
            type=Path,
            metavar="FOLDER",
            help="also write a copy of the bundle there, with these figures in its manifest and card",
        )

    def run(self, args: argparse.Namespace) -> int:
        from pointsman.classifier.assessor import Assessor

        from .datasets import read_examples
        from .evaluate import render
        from .measured import keep_report
        from .report import compare, comparison_json
        from .report_tables import comparison_text

        examples = read_examples(args.data)
        if not examples:
            print(_no_turns(args.data), file=sys.stderr)
            return 2
        assessor = Assessor.load(args.bundle, n_threads=args.threads)
        comparison = compare(assessor, examples, _report_config(args))
        if args.json:
            print(json.dumps(comparison_json(comparison), indent=2))
        else:
            print(f"{render(comparison.report)}\n\n{comparison_text(comparison)}")
        if args.into is not None:
            bundle = keep_report(args.bundle, args.into, comparison.report, args.data)
            print(f"bundle {bundle.manifest.version} ({bundle.digest[:12]}) in {bundle.path}", file=sys.stderr)
        return 0


class ReportCommand:
    """Write everything measured as one HTML page. Needs the training extra."""

    help = "measure a bundle and write an HTML report: rivals, calibration, cost and risk, robustness"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _add_measuring_arguments(parser)
        parser.add_argument(
            "--pairs",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE.jsonl",
            help="requests said twice, for robustness",
        )
        parser.add_argument("--output", type=Path, required=True, metavar="FILE.html", help="page to write")
        parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure as JSON")
        parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the main tables as Markdown")

    def run(self, args: argparse.Namespace) -> int:
        try:
            from .report_page import page
        except ModuleNotFoundError as error:
            print(_missing("a report", error), file=sys.stderr)
            return 2
        from .datasets import read_examples
        from .report import build_report, report_json
        from .report_tables import comparison_text, markdown, robustness_text

        if not read_examples(args.data):
            print(_no_turns(args.data), file=sys.stderr)
            return 2
        full = build_report(_report_config(args))
        _write(args.output, page(full))
        if args.json is not None:
            _write(args.json, json.dumps(report_json(full), indent=2, ensure_ascii=False) + "\n")
        if args.markdown is not None:
            _write(args.markdown, markdown(full))
        print(f"{comparison_text(full.comparison)}\n\n{robustness_text(full)}\n\nreport in {args.output}")
        return 0


def _add_measuring_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="labelled turns")
    parser.add_argument("--bundle", type=Path, help="bundle folder (default: the one that ships)")
    parser.add_argument(
        "--train", type=Path, nargs="+", default=[], metavar="FILE.jsonl", help="turns for the rivals that learn"
    )
    parser.add_argument(
        "--peers-python",
        type=Path,
        metavar="PYTHON",
        help="interpreter with other routers installed (default: this one)",
    )
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws behind the intervals (default: 1000)")
    parser.add_argument("--threads", type=int, default=1, help="threads for inference (default: 1)")


def _report_config(args: argparse.Namespace) -> "ReportConfig":
    from .report import ReportConfig
    from .report_peers import PeerSettings

    return ReportConfig(
        data=tuple(args.data),
        bundle=args.bundle,
        training=tuple(args.train),
        pairs=tuple(getattr(args, "pairs", ())),
        peers=PeerSettings(args.peers_python) if args.peers_python is not None else PeerSettings(),
        command=_command(args),
        n_threads=args.threads,
        n_bootstrap=args.draws,
    )


def _command(args: argparse.Namespace) -> str:
    """Say the command again with files by name: a report travels, folders of a machine don't."""
    named = {"data": "--data", "bundle": "--bundle", "train": "--train", "pairs": "--pairs"}
    parts = ["pointsman report" if hasattr(args, "output") else "pointsman evaluate"]
    for field, option in named.items():
        value = getattr(args, field, None) or []
        paths = value if isinstance(value, list) else [value]
        parts += [option, *(shlex.quote(path.name) for path in paths)] if paths else []
    parts += ["--peers-python", "PYTHON"] if args.peers_python is not None else []
    return " ".join([*parts, *(["--output", shlex.quote(args.output.name)] if hasattr(args, "output") else [])])


def _no_turns(paths: list[Path]) -> str:
    return f"no labelled turns in {', '.join(map(str, paths))}"


def _missing(what: str, error: ModuleNotFoundError) -> str:
    return f"{what} needs {error.name}, which is not installed. Run: pip install 'pointsman[training]'."


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class TrainCommand:
    """Train a bundle from labelled turns. Needs the training extra."""

    help = "train a bundle from labelled turns (needs pointsman[training])"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="labelled turns")
        parser.add_argument("--output", type=Path, required=True, help="folder to write the bundle to")
        parser.add_argument("--evaluate", type=Path, metavar="FILE.jsonl", help="held-out turns to measure on")
        parser.add_argument("--version", default="dev", help="name of the model, kept in every decision")
        parser.add_argument(
            "--readings", type=Path, nargs="+", default=[], metavar="FILE.tsv", help="labels by row id, for --data"
        )
        parser.add_argument(
            "--lexicon",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE.tsv",
            help="words of other languages, each with an English gloss to read it by",
        )
        parser.add_argument(
            "--encoder", help="folder, installed package or hub name with weights (default: the pinned MiniLM)"
        )
        parser.add_argument(
            "--track", default="mlruns", metavar="FOLDER|URL", help="where the MLflow run is kept (default: mlruns)"
        )
        parser.add_argument("--no-track", action="store_const", const=None, dest="track", help="keep no run")
        kept = parser.add_mutually_exclusive_group()
        kept.add_argument(
            "--bounds-of",
            type=Path,
            metavar="BUNDLE",
            help="keep all of this bundle and fit new risk bounds only",
        )
        kept.add_argument(
            "--heads-of",
            type=Path,
            metavar="BUNDLE",
            help="keep the encoder of this bundle and fit new heads only",
        )
        parser.add_argument(
            "--traffic",
            type=Path,
            nargs="+",
            default=[],
            metavar="FILE.jsonl",
            help="files of --data with turns as they came, such as are to come: calibration and risk bounds are fitted "
            "on held-out groups of these (default: of all --data)",
        )
        parser.add_argument(
            "--teacher",
            type=Path,
            metavar="BUNDLE",
            help="bundle trained on the same data, whose embeddings a smaller encoder learns to give",
        )
        parser.add_argument("--layers", type=int, metavar="N", help="keep the encoder's first N layers (default: all)")
        parser.add_argument("--epochs", type=int, help="passes over the data")
        parser.add_argument("--threads", type=int, help="CPU threads")

    def run(self, args: argparse.Namespace) -> int:
        try:
            from .refit import refit, refit_bounds
            from .train import train
        except ModuleNotFoundError as error:
            print(_missing("training", error), file=sys.stderr)
            return 2
        from .evaluate import render

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        config = _config(args)
        if args.bounds_of is not None:
            bundle, report = refit_bounds(args.bounds_of, config, evaluation=args.evaluate), None
        elif args.heads_of is not None:
            bundle, report = refit(args.heads_of, config, evaluation=args.evaluate)
        else:
            bundle, report = train(config, evaluation=args.evaluate)
        if report is not None:
            print(render(report))
        print(f"bundle {bundle.manifest.version} in {bundle.path}")
        return 0


def _config(args: argparse.Namespace) -> TrainConfig:
    from .encoder_source import encoder_named

    finetune = FinetuneConfig()
    if args.epochs is not None:
        finetune = replace(finetune, epochs=args.epochs)
    if args.threads is not None:
        finetune = replace(finetune, n_threads=args.threads)
    encoder = EncoderConfig() if args.encoder is None else encoder_named(args.encoder)
    if args.layers is not None:
        encoder = replace(encoder, n_layers=args.layers)
    return TrainConfig(
        data=tuple(args.data),
        output=args.output,
        version=args.version,
        tracking=args.track,
        readings=tuple(args.readings),
        lexicon=tuple(args.lexicon),
        finetune=finetune,
        encoder=encoder,
        traffic=tuple(args.traffic),
        teacher=args.teacher,
    )
