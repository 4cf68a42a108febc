"""Logs on stderr, one line each, as `key=value` or JSON. What goes into `extra` is chosen where it is logged: never
user text.
"""

import json
import logging
import math
import sys
import time
import traceback
from typing import Final

from .log_writer import LogWriter

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _utc(seconds: float | None = None) -> time.struct_time:
    return time.gmtime(seconds)


class LineFormatter(logging.Formatter):
    """`time level logger message key=value ...`; values with spaces or quotes are JSON strings."""

    converter = staticmethod(_utc)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname.lower()} {record.name}: {record.getMessage()}"
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        line += "".join(f" {name}={_shown(value)}" for name, value in extra.items())
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def json_formatter() -> logging.Formatter:
    """Return a formatter of one JSON object a line: `timestamp`, `level`, `logger`, `event`, and what goes with it."""
    # Imported here: with its console it takes a tenth of a second of a start that wants plain text.
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.format_exc_info,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(default=str),
        ],
    )


def configure_logs(level: str, form: str = "text") -> None:
    """Send this service's and the server's logs to stderr."""
    handler = LogWriter(sys.stderr)
    handler.setFormatter(json_formatter() if form == "json" else LineFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("alembic", "asyncio", "uvicorn.error"):
        # Their everyday lines tell an operator nothing that ours do not.
        logging.getLogger(name).setLevel(logging.WARNING)


def flush_logs() -> None:
    """Wait until what was logged is written, or a second."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class Repeated:
    """Says something at most once a second for each cause; `n` is how often it came since the last line."""

    def __init__(self, logger: logging.Logger, message: str, *, every_s: float = 1.0) -> None:
        self._logger, self._message, self._every_s = logger, message, every_s
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def warn(self, cause: str) -> None:
        now = time.monotonic()
        self._untold[cause] = self._untold.get(cause, 0) + 1
        if now - self._told_at.get(cause, -math.inf) >= self._every_s:
            self._told_at[cause] = now
            self._logger.warning(self._message, extra={"cause": cause, "n": self._untold.pop(cause)})


def log_failure(exc: Exception) -> None:
    """Log type and place only: a message may quote what it choked on."""
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    logging.getLogger(__name__).error(
        "failed", extra={"error": type(exc).__name__, "at": f"{frame.filename}:{frame.lineno}"}
    )


def _shown(value: object) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=')
    return text if plain and text else json.dumps(text)
