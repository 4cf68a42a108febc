"""Log lines leave through a thread of their own: who reads them may stall, and answers must not wait for it."""

import logging
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, TextIO

#: Lines that may wait for whoever reads them; newer ones are left out and counted.
MAX_WAITING: Final = 10_000
#: Wait for the reader when the process ends.
FLUSH_S: Final = 1.0


class LogWriter(logging.Handler):
    """Formats a record where it is made and writes its line elsewhere.

    A pipe that nobody empties blocks whoever writes to it. The event loop never does: lines wait, up to `max_waiting`
    of them, and what was left out is told once there is room.
    """

    def __init__(self, stream: TextIO, *, max_waiting: int = MAX_WAITING) -> None:
        super().__init__()
        self._stream, self._max_waiting = stream, max_waiting
        # A put never waits for a lock, so a signal's handler may log too.
        self._lines: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._n_left_out = 0
        threading.Thread(target=self._write, name="pointsman-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= self._max_waiting:
            self._n_left_out += 1
            return
        try:
            self._lines.put(self.format(record) + "\n")
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until what was logged so far is written, or a second."""
        written = threading.Event()
        self._lines.put(written)
        written.wait(FLUSH_S)

    def _write(self) -> None:
        while True:
            *lines, last = self._next()
            text = "".join(line for line in (*lines, last) if isinstance(line, str))
            # Nobody there to read it: the lines are lost, the service is not.
            with suppress(OSError, ValueError):
                self._stream.write(text)
                self._stream.flush()
            if isinstance(last, threading.Event):
                last.set()

    def _next(self) -> Iterator[str | threading.Event]:
        """Wait for a line; yield it and those behind it, up to the first that somebody waits for."""
        n_there = max(1, self._lines.qsize())
        for _ in range(n_there):
            line = self._lines.get()
            yield line
            if isinstance(line, threading.Event):
                return
        if self._n_left_out:
            n_left_out, self._n_left_out = self._n_left_out, 0
            left_out = {"msg": "log lines left out", "name": __name__, "levelname": "WARNING", "n": n_left_out}
            yield self.format(logging.makeLogRecord(left_out)) + "\n"
