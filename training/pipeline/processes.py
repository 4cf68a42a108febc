"""What this process and all that it started have used: the most memory at a time, and processor time.

Looked at twice a second in `/proc`. Workers and the servers of a cluster are processes of their own, so the process's
own counters know nothing of them. Memory is the sum of resident sizes: pages that processes share count in each.
"""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.5
# Fields of /proc/PID/stat behind the name of the program, which may hold spaces.
_USER, _SYSTEM, _STARTED = 11, 12, 19


class Family:
    """Watches from `with` to its end.

    Attributes
    ----------
    peak_bytes : int
        The most that all held together.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._before: dict[tuple[int, int], int] = {}
        self._ticks: dict[tuple[int, int], int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def cpu_seconds(self) -> float:
        """Processor time since the beginning; of a process that ended, as it was last seen."""
        ticks = sum(n - self._before.get(name, 0) for name, n in self._ticks.items())
        return ticks / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> "Family":
        self._look()
        self._before = dict(self._ticks)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(_POLL_S):
            self._look()

    def _look(self) -> None:
        pids = list(_family(os.getpid()))
        self.peak_bytes = max(self.peak_bytes, sum(map(_resident, pids)))
        # A number may be given to another process later; with its start it is a name.
        self._ticks.update(used for pid in pids if (used := _used(pid)) is not None)


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


def _used(pid: int) -> tuple[tuple[int, int], int] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (pid, int(fields[_STARTED])), int(fields[_USER]) + int(fields[_SYSTEM])
