"""Where steps run: in processes of this machine, or on a Ray cluster. Both run the same functions on the same parts.

A step writes one file, whole or not at all, whose name says what is in it: a step that is lost with its worker is done
again, one that is done twice writes the same.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from pointsman.classifier.errors import ClassifierError

from .config import PipelineConfig

JsonDict = dict[str, Any]
#: Takes and gives plain JSON values, which cross processes and machines without a pickle of ours.
Step = Callable[[JsonDict], JsonDict]


class WorkerLostError(ClassifierError):
    """A process of the pool died."""

    def __init__(self) -> None:
        super().__init__(
            "a worker process died (out of memory, or killed); expected it to finish its part. "
            "Run the same command again: finished parts stay. Fewer --workers need less memory."
        )


class Engine(Protocol):
    """Runs a step on many parts."""

    def run(self, step: Step, tasks: Sequence[JsonDict]) -> Iterator[JsonDict]:
        """Yield what each task gives, in any order; each task is done at least once."""
        ...


@dataclass(frozen=True, slots=True)
class LocalEngine(AbstractContextManager["LocalEngine"]):
    """Processes of this machine, which start and wait for work through joblib; with one worker, this process."""

    n_workers: int

    def run(self, step: Step, tasks: Sequence[JsonDict]) -> Iterator[JsonDict]:
        if self.n_workers == 1 or len(tasks) < 2:
            yield from map(step, tasks)
            return
        parallel = Parallel(n_jobs=self.n_workers, batch_size=1, return_as="generator_unordered")
        try:
            yield from parallel(delayed(step)(task) for task in tasks)
        except TerminatedWorkerError as error:
            raise WorkerLostError from error

    def __exit__(self, *_: object) -> None:
        pass


def engine_of(config: PipelineConfig) -> AbstractContextManager[Engine]:
    """Return the engine of a run.

    Raises
    ------
    InputError
        Ray is asked for and not installed, or no cluster answers at the address.
    """
    if config.engine == "ray":
        from .ray_engine import RayEngine

        return RayEngine.connect(config.address, config.n_workers)
    return LocalEngine(config.n_workers or os.cpu_count() or 1)
