"""The pipeline in order: plan, read and mask, find copies, embed and score, sum up."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Final

from filelock import FileLock, Timeout
from tqdm import tqdm

from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.errors import InputError
from pointsman.training.importers.protocol import MAX_LOCATED

from .config import PIPELINE_VERSION, Folder, PipelineConfig, key_of
from .duplicates import Found, find_duplicates
from .engines import Engine, JsonDict, Step, engine_of
from .files import n_rows_of, remove_partial, write_text
from .plan import Part, Piece, Plan, plan_of
from .reading import counts_of, read_part

FORMAT: Final = 1


@dataclass(slots=True)
class Summary:
    """What lies in the output after a run, and what the run did of it.

    `n_turns` is the sum of `n_kept` and the copies: every row that was read is in a part or in `duplicates.parquet`,
    once. `seconds` are of this run, by step; `cpu_seconds` those of this process, in which one worker does everything.
    """

    n_turns: int = 0
    n_kept: int = 0
    n_copies: dict[str, int] = field(default_factory=dict)
    n_parts: int = 0
    n_parts_read: int = 0
    n_parts_scored: int = 0
    n_unrecognised: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    located: list[str] = field(default_factory=list)
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)


def run_pipeline(config: PipelineConfig) -> Summary:
    """Bring the output up to date with the sources; parts that are up to date stay as they are.

    Raises
    ------
    InputError
        A source is missing or of no known kind, another run writes to the output, or Ray does not answer.
    BundleError
        The bundle cannot be loaded.
    WorkerLostError
        A process of the local engine died; run again.
    """
    folder = Folder(config.output.resolve())
    for needed in (folder.work, folder.turns):
        needed.mkdir(parents=True, exist_ok=True)
    bundle = load_bundle(config.bundle) if config.scores else None
    with _locked(folder), engine_of(config) as engine:
        summary = Summary()
        with _timed(summary, "plan"):
            plan = plan_of(config)
        summary.n_parts, summary.n_unrecognised = len(plan.parts), plan.n_unrecognised
        with _timed(summary, "read"):
            summary.n_parts_read = _read(plan, folder, config, engine, summary)
        with _timed(summary, "duplicates"):
            found = find_duplicates(folder, plan.parts, config)
        with _timed(summary, "score"):
            kept = _score(plan, folder, config, engine, found, None if bundle is None else bundle.digest, summary)
        _sum_up(summary, plan, folder, found, kept)
        _tidy(plan, folder, kept)
    return summary


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    lock = FileLock(folder.work / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        msg = f"{folder.path}: another run writes there; expected one at a time. Wait for it, or name another folder."
        raise InputError(msg) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _timed(summary: Summary, step: str) -> Iterator[None]:
    started, cpu_started = perf_counter(), process_time()
    yield
    summary.cpu_seconds[step] = round(process_time() - cpu_started, 2)
    summary.seconds[step] = round(perf_counter() - started, 2)


def _read(plan: Plan, folder: Folder, config: PipelineConfig, engine: Engine, summary: Summary) -> int:
    missing = [part for part in plan.parts if not folder.rows(part.key).exists()]
    tasks = [
        {"part": asdict(part), "path": str(folder.rows(part.key)), "with_subagents": config.with_subagents}
        for part in missing
    ]
    _run(engine, read_step, tasks, "read", config)
    summary.left_out.update(plan.problems.counts)
    summary.located = list(plan.problems.located)
    for part in plan.parts:
        counts, located = counts_of(folder.rows(part.key))
        summary.left_out.update(counts)
        summary.located = [*summary.located, *located][:MAX_LOCATED]
    return len(missing)


def read_step(task: JsonDict) -> JsonDict:
    """Read one part, wherever this runs."""
    pieces = tuple(Piece(**piece) for piece in task["part"]["pieces"])
    part = Part(task["part"]["number"], pieces, task["part"]["key"])
    read_part(part, Path(task["path"]), with_subagents=task["with_subagents"])
    return {"part": part.number}


def _score(
    plan: Plan,
    folder: Folder,
    config: PipelineConfig,
    engine: Engine,
    found: Found,
    digest: str | None,
    summary: Summary,
) -> list[Path]:
    def path_of(part: Part) -> Path:
        key = key_of(PIPELINE_VERSION, part.key, digest, found.dropped.get(part.number))
        return folder.turns_part(part.number, key)

    paths = [path_of(part) for part in plan.parts]
    _rename_moved(folder, paths)
    tasks = [
        {
            "part": part.number,
            "rows": str(folder.rows(part.key)),
            "duplicates": str(folder.duplicates),
            "path": str(path),
            "bundle": None if config.bundle is None else str(config.bundle.resolve()),
            "scores": config.scores,
        }
        for part, path in zip(plan.parts, paths, strict=True)
        if not path.exists()
    ]
    _run(engine, finish_step, tasks, "embed and score" if config.scores else "write", config)
    summary.n_parts_scored = len(tasks)
    return paths


def _rename_moved(folder: Folder, paths: Sequence[Path]) -> None:
    """Give parts that are up to date but have another place in the order now their new name."""
    known = {path.stem.rpartition("-")[2]: path for path in folder.turns.glob("part-*.parquet")}
    for path in paths:
        old = known.get(path.stem.rpartition("-")[2])
        if old is not None and not path.exists():
            old.rename(path)


def finish_step(task: JsonDict) -> JsonDict:
    """Finish one part, wherever this runs."""
    from .scoring import finish_part

    bundle = None if task["bundle"] is None else Path(task["bundle"])
    rows, duplicates, path = Path(task["rows"]), Path(task["duplicates"]), Path(task["path"])
    n_kept = finish_part(rows, duplicates, task["part"], path, scores=task["scores"], bundle=bundle)
    return {"part": task["part"], "n_kept": n_kept}


def _run(engine: Engine, step: Step, tasks: Sequence[JsonDict], name: str, config: PipelineConfig) -> None:
    done = engine.run(step, tasks)
    bar = tqdm(done, total=len(tasks), desc=name, unit="part", disable=None if config.shows_progress else True)
    for _ in bar:
        pass


def _sum_up(summary: Summary, plan: Plan, folder: Folder, found: Found, kept: Sequence[Path]) -> None:
    summary.n_turns, summary.n_copies, summary.outcomes = found.n_turns, found.n_copies, found.outcomes
    summary.n_kept = sum(n_rows_of(path) for path in kept)
    told = {
        "pointsman_pipeline": FORMAT,
        "turns": summary.n_turns,
        "kept": summary.n_kept,
        "copies": summary.n_copies,
        "left_out": dict(sorted(summary.left_out.items())),
        "outcome_sources": summary.outcomes,
        "parts": [{"file": path.name, "turns": n_rows_of(path)} for path in kept],
    }
    write_text(folder.summary, json.dumps(told, indent=2) + "\n")


def _tidy(plan: Plan, folder: Folder, kept: Sequence[Path]) -> None:
    """Remove parts of sources that changed, and what killed steps have left."""
    wanted = {*kept, *(folder.rows(part.key) for part in plan.parts)}
    for path in (*folder.turns.glob("part-*.parquet"), *folder.work.glob("rows-*.parquet")):
        if path not in wanted:
            path.unlink()
    for place in (folder.path, folder.work, folder.turns):
        remove_partial(place)
