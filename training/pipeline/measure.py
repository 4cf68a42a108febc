"""How fast, and in how much memory: `python -m pointsman.training.pipeline.measure 10000 --turns data/turns/*.jsonl`.

Makes turns by putting a written prompt after another turn's messages, so that words and lengths are those of real
requests; a tenth are copies and a tenth nearly so. After `--distinct` turns the same words come again, under other ids.
Runs the pipeline on them and prints a row of a table for each size, and with `--workers` or `--engine` more than once
a row for each: every engine gets the same file. Beyond `--score-at-most` turns the costly step is left out: it takes
the same time for every turn.
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from joblib.externals.loky import get_reusable_executor

from .config import ENGINES, PipelineConfig
from .processes import Family
from .run import Summary, run_pipeline

_STEPS: Final = ("plan", "read", "duplicates", "score")
_COLUMNS: Final = (
    "turns",
    "MB",
    "engine",
    "workers",
    "parts",
    "kept",
    *(f"{step}, s" for step in _STEPS),
    "turns/s",
    "CPU s, all processes",
    "turns/CPU s",
    "peak GB",
)


def made_turns(turns: Sequence[dict[str, Any]], n: int, n_distinct: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield n turns, of which the tenth of each ten is a copy and the ninth nearly one.

    After `n_distinct` turns the words come again from the first on.
    """
    for number in range(n):
        made = (number - number % 10 if number % 10 >= 8 else number) % (n_distinct or n)
        prompt, context = turns[made % len(turns)], turns[(made // len(turns) * 7 + made * 31) % len(turns)]
        words = f"{prompt['prompt']} ({made})" + (" please" if number % 10 == 8 else "")
        yield {"id": f"m{number}", "group": f"g{number % 997}", "prompt": words, "context": context.get("context", [])}


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what it did, and what it took."""

    summary: Summary
    wall_s: float
    cpu_s: float
    peak_bytes: int


def measure(config: PipelineConfig) -> Measured:
    """Run once, in a process of its own: what an earlier run has loaded helps or burdens no other."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_watched, config).result()


def _watched(config: PipelineConfig) -> Measured:
    with Family() as family:
        started = perf_counter()
        summary = run_pipeline(config)
        wall_s = perf_counter() - started
    # joblib keeps its workers for five minutes, and a process waits for its children.
    get_reusable_executor().shutdown()
    return Measured(summary, wall_s, family.cpu_seconds, family.peak_bytes)


def _row(config: PipelineConfig, size_bytes: int, measured: Measured) -> str:
    summary = measured.summary
    cells = [
        f"{summary.n_turns:,}",
        f"{size_bytes / 1e6:,.0f}",
        config.engine + ("" if config.scores else ", not scored"),
        str(config.n_workers),
        str(summary.n_parts),
        f"{summary.n_kept:,}",
        *(f"{summary.seconds[step]:.1f}" for step in _STEPS),
        f"{summary.n_turns / measured.wall_s:,.0f}",
        f"{measured.cpu_s:.1f}",
        f"{summary.n_turns / max(measured.cpu_s, 0.01):,.0f}",
        f"{measured.peak_bytes / 1e9:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure from the command line."""
    args = _parser().parse_args(argv)
    turns = [json.loads(line) for path in args.turns for line in path.read_bytes().splitlines()]
    sys.stdout.write(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}\n")
    for n in args.sizes:
        folder = Path(tempfile.mkdtemp(prefix="pointsman-measure-", dir=args.folder))
        try:
            file = folder / "turns.jsonl"
            with file.open("w", encoding="utf-8") as lines:
                made = made_turns(turns, n, args.distinct)
                lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
            for config in _configs(args, file, scores=n <= args.score_at_most):
                sys.stdout.write(_row(config, file.stat().st_size, measure(config)) + "\n")
                sys.stdout.flush()
                shutil.rmtree(config.output)
        finally:
            shutil.rmtree(folder)
    return 0


def _configs(args: argparse.Namespace, file: Path, *, scores: bool) -> Iterator[PipelineConfig]:
    for engine in args.engine:
        for n_workers in args.workers:
            yield PipelineConfig(
                (str(file),),
                file.with_name("out"),
                scores=scores,
                engine=engine,
                address=args.address if engine == "ray" else None,
                n_workers=n_workers,
                part_bytes=round(args.part_mb * 2**20),
            )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pointsman.training.pipeline.measure")
    parser.add_argument("sizes", type=int, nargs="+", help="numbers of turns")
    parser.add_argument(
        "--turns", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="turns to make more of"
    )
    parser.add_argument("--distinct", type=int, metavar="N", help="turns after which words come again (default: never)")
    parser.add_argument("--engine", choices=ENGINES, nargs="+", default=["local"], help="one after the other")
    parser.add_argument("--address", help="Ray cluster (default: one of its own for each run)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1], metavar="N", help="one after the other")
    parser.add_argument(
        "--part-mb", type=float, default=PipelineConfig((), Path()).part_bytes / 2**20, help="MiB of a part"
    )
    parser.add_argument("--score-at-most", type=int, default=10_000, metavar="N", help="turns (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the turns and the output lie meanwhile (default: /tmp)")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
