"""`pointsman pretrain`."""

import argparse
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .config import EncoderConfig, PretrainConfig

if TYPE_CHECKING:
    from .pretrain import Figures


class PretrainCommand:
    """Pretrain an encoder on commits, for `pointsman train --encoder`. Needs the training extra, and git."""

    help = "pretrain an encoder on commits of git repositories, for train --encoder (needs pointsman[training])"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--repositories",
            type=Path,
            nargs="+",
            required=True,
            metavar="DIR",
            help="git repositories, bare or not; the newest commits of what is checked out are read",
        )
        parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="folder for the encoder")
        parser.add_argument(
            "--held-out",
            nargs="+",
            default=[],
            metavar="NAME",
            help="repositories, by the name of their folder, that are measured on and not learned from "
            "(default: the last by name)",
        )
        parser.add_argument("--lexicon", type=Path, nargs="+", default=[], metavar="FILE.tsv", help="as for train")
        parser.add_argument("--encoder", help="as for train: where to begin (default: the pinned MiniLM)")
        parser.add_argument(
            "--rows", type=int, metavar="N", help="learn from and measure on at most N commits (default: all read)"
        )
        parser.add_argument("--epochs", type=int, default=1, metavar="N", help="passes over the commits (default: 1)")
        parser.add_argument("--threads", type=int, default=2, metavar="N", help="CPU threads (default: 2)")

    def run(self, args: argparse.Namespace) -> int:
        try:
            from .pretrain import pretrain
        except ModuleNotFoundError as error:
            told = f"pretraining needs {error.name}, which is not installed. Run: pip install 'pointsman[training]'."
            print(told, file=sys.stderr)
            return 2
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
        done = pretrain(_config(args))
        print(f"learned from {done.n_rows} commits of {done.n_repositories} repositories")
        print(_told(done.figures))
        print(f"encoder in {done.folder}; to train on it: pointsman train --encoder {done.folder}")
        return 0


def _config(args: argparse.Namespace) -> PretrainConfig:
    from .encoder_source import encoder_named

    return PretrainConfig(
        repositories=tuple(args.repositories),
        output=args.output,
        held_out=tuple(args.held_out),
        lexicon=tuple(args.lexicon),
        most_rows=args.rows,
        epochs=args.epochs,
        n_threads=args.threads,
        encoder=EncoderConfig() if args.encoder is None else encoder_named(args.encoder),
    )


def _told(figures: "Figures | None") -> str:
    if figures is None:
        return "not measured: one repository leaves none to hold out"
    lines = [
        f"held out: {', '.join(figures.repositories)}",
        f"number of files: {figures.files_accuracy:.3f} of {figures.n_commits} right "
        f"(always the commonest: {figures.files_commonest:.3f})",
    ]
    if figures.type_accuracy is None:
        return "\n".join([*lines, "type: no held-out commit says its own"])
    right = f"type: {figures.type_accuracy:.3f} of {figures.n_typed} right"
    return "\n".join([*lines, f"{right} (always the commonest: {figures.type_commonest:.3f})"])
