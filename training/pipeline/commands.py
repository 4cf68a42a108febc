"""`pointsman pipeline`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pointsman.training.importers.commands import KINDS

from .config import ENGINES, PipelineConfig

if TYPE_CHECKING:
    from .run import Summary


class PipelineCommand:
    """Turn logs of any size into scored Parquet parts. Needs the training extra."""

    help = "read, mask, deduplicate, embed and score millions of turns, on this machine or on Ray"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        defaults = PipelineConfig((), Path())
        parser.add_argument(
            "sources", nargs="+", metavar="SOURCE", help="JSON lines of turns, or what `pointsman import` takes"
        )
        parser.add_argument(
            "--output", type=Path, required=True, metavar="FOLDER", help="folder to write or bring up to date"
        )
        parser.add_argument("--kind", choices=("turns", *KINDS), help="read every source as this (default: recognised)")
        parser.add_argument("--subagents", action="store_true", help="keep the prompts that agents gave to subagents")
        parser.add_argument("--bundle", type=Path, help="bundle that embeds and scores (default: the one that ships)")
        parser.add_argument("--no-scores", action="store_true", help="stop after masking and removing copies")
        parser.add_argument(
            "--similarity",
            type=_share,
            default=defaults.similarity,
            metavar="SHARE",
            help="three-word sequences in common that make a turn a copy (default: %(default)s)",
        )
        parser.add_argument(
            "--engine", choices=ENGINES, default=defaults.engine, help="where steps run (default: local)"
        )
        parser.add_argument("--address", metavar="URL", help="Ray cluster: auto, HOST:PORT or ray://HOST:PORT")
        parser.add_argument(
            "--workers",
            type=int,
            default=0,
            metavar="N",
            help="processes at a time (default: one a core, or Ray's choice)",
        )
        parser.add_argument(
            "--memory-gb",
            type=float,
            default=defaults.memory_gb,
            metavar="GB",
            help="memory of the search for copies; beyond it disk is used (default: %(default)s)",
        )

    def run(self, args: argparse.Namespace) -> int:
        try:
            from .run import run_pipeline
        except ModuleNotFoundError as error:
            wanted = f"the pipeline needs {error.name}, which is not installed"
            print(f"pointsman: {wanted}. Run: pip install 'pointsman[training]'.", file=sys.stderr)
            return 2
        if args.address is not None and args.engine != "ray":
            print("pointsman: --address names a Ray cluster, the engine is local. Add --engine ray.", file=sys.stderr)
            return 2
        config = PipelineConfig(
            sources=tuple(args.sources),
            output=args.output,
            kind=args.kind,
            with_subagents=args.subagents,
            bundle=args.bundle,
            scores=not args.no_scores,
            similarity=args.similarity,
            engine=args.engine,
            address=args.address,
            n_workers=args.workers,
            memory_gb=args.memory_gb,
            shows_progress=True,
        )
        print(summary_text(run_pipeline(config), args.output))
        return 0


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        msg = f"found {text}, expected a share above 0 and at most 1"
        raise argparse.ArgumentTypeError(msg)
    return value


def summary_text(summary: "Summary", output: Path) -> str:
    """Say what a run has done."""
    copies = sum(summary.n_copies.values())
    lines = [
        f"{summary.n_turns} turns read, {summary.n_kept} kept in {output / 'turns'}, {copies} copies left out",
        *(f"  {n:>8}  {_REASONS[reason]}" for reason, n in summary.n_copies.items() if n),
        f"{summary.n_parts} parts: {summary.n_parts_read} read, {summary.n_parts_scored} finished in this run; "
        f"{summary.n_unrecognised} files not recognised",
        "seconds: " + ", ".join(f"{step} {seconds:.1f}" for step, seconds in summary.seconds.items()),
    ]
    if summary.left_out:
        lines += ["not read:", *(f"  {n:>8}  {what}" for what, n in sorted(summary.left_out.items()))]
    lines += [f"  {place}" for place in summary.located]
    return "\n".join(lines)


_REASONS = {"id": "same id and group", "words": "same words", "nearly": "nearly the same words"}
