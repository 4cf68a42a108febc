"""Steps on a Ray cluster, through Ray Data: a block for each part, done again where its worker is lost.

The only file that names ray.
"""

import json
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from pointsman.classifier.errors import InputError

from .engines import JsonDict, Step

_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class RayEngine(AbstractContextManager["RayEngine"]):
    """A connection to a cluster, whose nodes have this package and see output and sources under their paths."""

    n_workers: int

    @classmethod
    def connect(cls, address: str | None, n_workers: int) -> "RayEngine":
        """Join the cluster at an address, or start one on this machine.

        Raises
        ------
        InputError
            Ray is not installed, or no cluster answers.
        """
        # Nothing is reported to anyone; set before ray is imported, which reads it.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError as error:
            msg = "--engine ray needs ray, which is not installed. Run: pip install 'pointsman[training,ray]'."
            raise InputError(msg) from error
        if address is not None and not _answers(address):
            raise InputError(_absent(address, "nothing listens there"))
        own: dict[str, Any] = {} if address is not None else {"num_cpus": n_workers or None, "include_dashboard": False}
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.WARNING, **own)
        except Exception as error:
            # A node that does not start within Ray's half minute is told by a bare Exception.
            ray.shutdown()
            reason = type(error).__name__
            raise InputError(_not_started(error) if address is None else _absent(address, reason)) from error
        return cls(n_workers)

    def run(self, step: Step, tasks: Sequence[JsonDict]) -> Iterator[JsonDict]:
        import ray.data

        if not tasks:
            return
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        rows = ray.data.from_items([{"task": json.dumps(task)} for task in tasks], override_num_blocks=len(tasks))
        n_workers = min(self.n_workers, len(tasks)) or None  # Ray warns of more workers than parts
        done = rows.map(partial(_apply, step=step), num_cpus=1, compute=ray.data.TaskPoolStrategy(n_workers))
        for row in done.iter_rows():
            yield json.loads(row["result"])

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()


def _answers(address: str) -> bool:
    """Say whether something listens; Ray itself waits a minute for a cluster that is not there."""
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if not separator or not port.isdecimal():
        return True  # a name that Ray knows, such as auto
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S):
            return True
    except OSError:
        return False


def _not_started(error: Exception) -> str:
    told = str(error).partition(".")[0]
    return (
        f"Ray did not start on this machine ({told}); expected it within half a minute. Run the same command again "
        "when the machine is less busy, or start a cluster with 'ray start --head' and name it with --address."
    )


def _absent(address: str, reason: str) -> str:
    return f"no Ray cluster at {address} ({reason}); expected auto, HOST:PORT or ray://HOST:PORT. Check the address."


def _apply(row: dict[str, Any], step: Step) -> dict[str, Any]:
    return {"result": json.dumps(step(json.loads(row["task"])))}
