"""A log line is one JSON object, where that is asked for, with the same facts as the plain one."""

import io
import json
import logging
import threading

import pytest

from pointsman.serving.log_writer import LogWriter
from pointsman.serving.logs import Repeated, json_formatter


def record(**extra):
    return logging.makeLogRecord({"msg": "decided", "name": "pointsman.serving", "levelname": "INFO"} | extra)


def test_json_line_holds_time_level_logger_event_and_what_goes_with_it():
    line = json_formatter().format(record(model="claude-opus-5-5", n=3, cause='a\n"b'))
    values = json.loads(line)
    assert "\n" not in line
    assert values.pop("timestamp").endswith("Z")
    assert values == {
        "level": "info",
        "logger": "pointsman.serving",
        "event": "decided",
        "model": "claude-opus-5-5",
        "n": 3,
        "cause": 'a\n"b',
    }


def test_json_line_tells_where_something_failed_and_no_values():
    secret = "hunter2"
    with pytest.raises(ZeroDivisionError) as raised:
        len(secret) / 0
    info = (raised.type, raised.value, raised.tb)
    values = json.loads(json_formatter().format(record(exc_info=info, levelname="ERROR")))
    assert "ZeroDivisionError" in values["exception"]
    assert secret not in values["exception"].replace('secret = "hunter2"', "")


class StuckStream(io.StringIO):
    """A stream whose reader stalls until it is let go."""

    def __init__(self):
        super().__init__()
        self.let_go = threading.Event()

    def write(self, text):
        self.let_go.wait(20)
        return super().write(text)


def writer(stream, **options):
    handler = LogWriter(stream, **options)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def test_lines_come_out_in_order():
    handler = writer(stream := io.StringIO())
    for number in range(100):
        handler.emit(record(msg=str(number)))
    handler.flush()
    assert stream.getvalue().split() == [str(number) for number in range(100)]


def test_reader_that_stalls_holds_up_nobody_and_is_told_what_is_missing():
    handler = writer(stream := StuckStream(), max_waiting=10)
    for number in range(50):
        handler.emit(record(msg=str(number)))
    stream.let_go.set()
    handler.emit(record(msg="last"))
    handler.flush()
    handler.flush()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "0"
    assert "log lines left out" in lines
    assert len(lines) < 20


def test_reader_that_is_gone_holds_up_nobody():
    stream = io.StringIO()
    handler = writer(stream)
    stream.close()
    handler.emit(record())
    handler.flush()


def test_repeated_warning_is_told_once_with_how_often_it_came(caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("pointsman.serving.logs.time.monotonic", lambda: now[0])
    warnings = Repeated(logging.getLogger("pointsman.serving"), "safe default given")
    for now[0] in (0.0, 0.1, 0.2, 1.5):
        warnings.warn("overloaded")
    warnings.warn("timeout")
    assert [(line.cause, line.n) for line in caplog.records] == [("overloaded", 1), ("overloaded", 3), ("timeout", 1)]
