"""A log line is one JSON object, where that is asked for, with the same facts as the plain one."""

import json
import logging

import pytest

from pointsman.serving.logs import json_formatter


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
