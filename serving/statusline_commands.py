"""`pointsman statusline` tells a person at Claude Code which model their session is on, and why.

Claude Code runs it as its status line, or as a hook, with one JSON object on stdin that names the session. It never
fails: a status line that exits with an error is empty, and an empty one says nothing.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

_URL: Final = "http://127.0.0.1:8095"
_TIMEOUT_S: Final = 1.0
_MAX_STDIN_CHARS: Final = 1_000_000
_MAX_ANSWER_BYTES: Final = 256 * 1024


class StatusLineCommand:
    """Prints one line."""

    help = "print the last decision of a session, as Claude Code's status line or hook"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--url", default=os.environ.get("POINTSMAN_URL", _URL), help="where the service listens")
        parser.add_argument("--session", help="session id, when none comes on stdin")

    def run(self, args: argparse.Namespace) -> int:
        """Print the line; a hook gets it as the JSON that Claude Code shows to the person."""
        told = {} if args.session else read_told(sys.stdin.read(_MAX_STDIN_CHARS))
        session_id = args.session or told.get("session_id")
        if isinstance(session_id, str) and session_id:
            line = line_for(args.url, session_id, os.environ.get("POINTSMAN_KEY"))
        else:
            line = "Pointsman: no session on stdin; Claude Code passes one to a status line or hook"
        print(json.dumps({"systemMessage": line}) if "hook_event_name" in told else cut(line))
        return 0


def read_told(text: str) -> Mapping[str, Any]:
    """Return what Claude Code passed; empty when it is no JSON object."""
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def line_for(url: str, session_id: str, key: str | None) -> str:
    """Ask the service for a session and say in one line how it stands, or why that is not known."""
    try:
        import httpx
    except ModuleNotFoundError as exc:
        from .commands import missing

        return f"Pointsman: {missing(exc)}"
    from .keys import KEY_HEADER

    headers = {KEY_HEADER: key} if key else {}
    try:
        path = f"/v1/sessions/{quote(session_id, safe='', errors='replace')}"
        with httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False, headers=headers) as http:
            answer = http.get(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return "Pointsman: nothing decided in this session yet"
        if answer.status_code != httpx.codes.OK:
            return f"Pointsman: the service answers {answer.status_code}"
        return line_of(json.loads(answer.content[:_MAX_ANSWER_BYTES]))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, KeyError, TypeError) as error:
        return f"Pointsman: no answer from {url} ({type(error).__name__})"


def line_of(session: Mapping[str, Any]) -> str:
    """Say how a session stands: model, what the turn was taken for, and why."""
    model = f"{session['model']} ({session['effort']})" if session["effort"] else str(session["model"])
    labels = f"{session['category']}, {session['risk']} risk" if session["category"] else "not assessed"
    return " · ".join(filter(None, (f"Pointsman: {model}", labels, " ".join(session["reasons"]))))


def cut(line: str) -> str:
    """Keep to the width of the terminal, where Claude Code names it, and to printable characters."""
    shown = "".join(char if char.isprintable() else " " for char in line)
    width = os.environ.get("COLUMNS", "")
    most = int(width) if width.isdecimal() and int(width) > 20 else 240
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
