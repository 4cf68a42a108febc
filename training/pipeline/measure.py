"""How fast, and in how much memory: `python -m pointsman.training.pipeline.measure 10000 --turns data/turns/*.jsonl`.

Makes turns by putting a written prompt after another turn's messages, so that words and lengths are those of real
requests; a tenth are copies and a tenth nearly so. Runs the pipeline on them and prints a row of a table for each size.
Beyond `--score-at-most` turns the costly step is left out: it takes the same time for every turn.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from .config import PipelineConfig
from .run import Summary, run_pipeline

_STEPS: Final = ("plan", "read", "duplicates", "score")
_COLUMNS: Final = ("engine", "workers", "turns", "MB read", "kept", *_STEPS, "turns/s", "peak GB")
_POLL_S: Final = 0.5


def made_turns(turns: Sequence[dict[str, Any]], n: int) -> Iterator[dict[str, Any]]:
    """Yield n turns, of which the tenth of each ten is a copy and the ninth nearly one."""
    for number in range(n):
        made = number - number % 10 if number % 10 >= 8 else number
        prompt, context = turns[made % len(turns)], turns[(made // len(turns) * 7 + made * 31) % len(turns)]
        words = f"{prompt['prompt']} ({made})" + (" please" if number % 10 == 8 else "")
        yield {"id": f"m{number}", "group": f"g{number % 997}", "prompt": words, "context": context.get("context", [])}


class Memory:
    """The most memory that this process and its children held together, in bytes, looked at twice a second."""

    def __init__(self) -> None:
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(_POLL_S):
            self.peak = max(self.peak, sum(map(_resident, _family(os.getpid()))))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from _family(int(child))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def measure(config: PipelineConfig) -> tuple[Summary, float]:
    """Run once; return what was done and the peak of memory in GB."""
    with Memory() as memory:
        summary = run_pipeline(config)
    return summary, memory.peak / 1e9


def _row(config: PipelineConfig, size_bytes: int, summary: Summary, peak_gb: float) -> str:
    # One worker is this process, whose own time does not depend on what else a shared machine does.
    is_cpu = config.engine == "local" and config.n_workers == 1
    seconds = summary.cpu_seconds if is_cpu else summary.seconds
    cells = [
        config.engine,
        f"{config.n_workers} ({'CPU' if is_cpu else 'wall'} seconds)",
        f"{summary.n_turns:,}",
        f"{size_bytes / 1e6:,.0f}",
        f"{summary.n_kept:,}",
        *(f"{seconds[step]:.1f}" for step in _STEPS),
        f"{summary.n_turns / max(sum(seconds.values()), 0.01):,.0f}",
        f"{peak_gb:.2f}",
    ]
    cells[8] += "" if config.scores else " (not embedded)"
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m pointsman.training.pipeline.measure")
    parser.add_argument("sizes", type=int, nargs="+", help="numbers of turns")
    parser.add_argument(
        "--turns", type=Path, nargs="+", required=True, metavar="FILE.jsonl", help="turns to make more of"
    )
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--address", help="Ray cluster")
    parser.add_argument(
        "--workers", type=int, default=1, help="1 (default) measures CPU seconds, more measure wall time"
    )
    parser.add_argument("--score-at-most", type=int, default=10_000, metavar="N")
    args = parser.parse_args(argv)
    turns = [json.loads(line) for path in args.turns for line in path.open(encoding="utf-8")]
    sys.stdout.write(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}\n")
    for n in args.sizes:
        folder = Path(tempfile.mkdtemp(prefix="pointsman-measure-"))
        try:
            file = folder / "turns.jsonl"
            with file.open("w", encoding="utf-8") as lines:
                lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in made_turns(turns, n))
            config = PipelineConfig(
                (str(file),),
                folder / "out",
                scores=n <= args.score_at_most,
                engine=args.engine,
                address=args.address,
                n_workers=args.workers,
            )
            summary, peak_gb = measure(config)
            sys.stdout.write(_row(config, file.stat().st_size, summary, peak_gb) + "\n")
            sys.stdout.flush()
        finally:
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
