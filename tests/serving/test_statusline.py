"""The status line says where the session stands, and says so too when it cannot."""

import io
import json
import sys

import pytest

from pointsman.classifier.commands import main
from pointsman.serving.statusline_commands import cut, line_of

from .clients import SESSION

TOLD = {"hook_event_name": None, "session_id": SESSION, "model": {"id": "claude-opus-5-5"}, "cwd": "/"}
NOWHERE = "http://127.0.0.1:9"
ANSWER = {
    "model": "claude-haiku-5-5",
    "effort": None,
    "category": "docs",
    "risk": "low",
    "reasons": ["A miss costs little.", "It is the cheapest."],
}


@pytest.fixture
def line(monkeypatch, capsys):
    """Run the command as Claude Code does, with something on stdin."""
    for name in ("POINTSMAN_URL", "POINTSMAN_KEY", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

    def run(told, *arguments):
        text = told if isinstance(told, str) else json.dumps({k: v for k, v in told.items() if v is not None})
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert main(["statusline", "--url", NOWHERE, *arguments]) == 0
        return capsys.readouterr().out

    return run


def test_line_names_model_labels_and_reasons():
    assert line_of(ANSWER) == "Pointsman: claude-haiku-5-5 · docs, low risk · A miss costs little. It is the cheapest."


def test_line_names_the_effort_and_that_nothing_was_assessed():
    answer = ANSWER | {"effort": "high", "category": None, "risk": None, "reasons": []}
    assert line_of(answer) == "Pointsman: claude-haiku-5-5 (high) · not assessed"


def test_service_that_is_away_is_said(line):
    assert line(TOLD) == f"Pointsman: no answer from {NOWHERE} (ConnectError)\n"


def test_missing_package_is_said(line, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    said = "Pointsman: serving needs httpx, which is not installed. Run: pip install 'pointsman[serving]'.\n"
    assert line(TOLD) == said


@pytest.mark.parametrize("told", ["", "no JSON", "[]", "{}", '{"session_id": 7}', "[" * 100_000])
def test_odd_input_is_said(line, told):
    assert line(told) == "Pointsman: no session on stdin; Claude Code passes one to a status line or hook\n"


def test_hook_gets_json_for_the_person(line):
    printed = json.loads(line(TOLD | {"hook_event_name": "Stop"}))
    assert printed == {"systemMessage": f"Pointsman: no answer from {NOWHERE} (ConnectError)"}


def test_session_may_be_named(line):
    assert "no answer from" in line("", "--session", SESSION)


@pytest.mark.parametrize(("columns", "length"), [("30", 30), ("5", 240), ("wide", 240)])
def test_line_keeps_to_the_terminal(monkeypatch, columns, length):
    monkeypatch.setenv("COLUMNS", columns)
    assert len(cut("word " * 100)) == length
    assert cut("two\nlines\x1b[31m") == "two lines [31m"
