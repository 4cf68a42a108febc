"""What one run of the pipeline is told."""

import json
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal

Engine = Literal["local", "ray"]
ENGINES: Final[tuple[Engine, ...]] = ("local", "ray")
#: Part of every key: a part is made again by a version that makes it otherwise.
PIPELINE_VERSION: Final = 2


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """One run.

    Attributes
    ----------
    sources : tuple of str
        Logs, folders of logs, URLs of stores (as `pointsman import` takes them), JSON lines of turns.
    output : path
        Folder of the result; on Ray one that every node sees under this path.
    bundle : path, optional
        What embeds and scores; the one in the package when left out.
    scores : bool
        False leaves the costly step out: the parts then have no embedding and no probabilities.
    similarity : float
        Share of three-word sequences that two turns have in common, from which on the later one is a copy; in (0, 1].
    engine, address, n_workers
        Where steps run; `address` is the URL of a Ray cluster; 0 workers: one for each core, or as many as Ray gives.
    memory_gb : float
        For the search of copies, which spills to disk beyond it.
    part_bytes : int
        How much of the sources goes into one part.
    """

    sources: tuple[str, ...]
    output: Path
    kind: str | None = None
    with_subagents: bool = False
    bundle: Path | None = None
    scores: bool = True
    similarity: float = 0.8
    engine: Engine = "local"
    address: str | None = None
    n_workers: int = 0
    memory_gb: float = 1.0
    part_bytes: int = 4 * 2**20
    shows_progress: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """Where what lies in the output."""

    path: Path

    @property
    def work(self) -> Path:
        """Rows between the steps; what a later run need not do again."""
        return self.path / "work"

    @property
    def turns(self) -> Path:
        return self.path / "turns"

    @property
    def duplicates(self) -> Path:
        return self.path / "duplicates.parquet"

    @property
    def outcomes(self) -> Path:
        return self.path / "outcomes.parquet"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    def rows(self, key: str) -> Path:
        return self.work / f"rows-{key}.parquet"

    def turns_part(self, number: int, key: str) -> Path:
        return self.turns / f"part-{number:06}-{key}.parquet"


def key_of(*values: Any) -> str:
    """Name a part by everything that decides what is in it."""
    text = json.dumps(values, sort_keys=True, default=_plain)
    return blake2b(text.encode(), digest_size=10).hexdigest()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else asdict(value)
