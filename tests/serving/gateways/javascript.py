"""The JavaScript client behind the face of the Python one, so that one set of tests holds for both."""

import json
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

from .processes import ROOT, tool

CLIENT = ROOT / "serving" / "clients" / "js"
_DRIVER = Path(__file__).with_name("ask.mjs")
_NAMES = {"safe_model": "safeModel", "deadline_ms": "deadlineMs"}


class RefusedError(Exception):
    """The client rejected."""


class Node:
    """A Node process that holds clients."""

    def __init__(self):
        command = [tool("node"), str(_DRIVER), str(CLIENT)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, name, **fields):
        """Ask the driver for one operation."""
        self._process.stdin.write(json.dumps({"do": name} | fields) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer.get("value")

    def close(self):
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


class JavaScriptClient:
    """One client in a Node process."""

    def __init__(self, node, url, **options):
        named = {_NAMES.get(name, name): value for name, value in options.items()} | {"url": url}
        self._node, self._on = node, node.do("open", options=named)

    def decide(self, body, headers=None, *, path=None, session_id=None):
        asked = {"headers": headers or {}, "path": path, "sessionId": session_id}
        body = body.decode() if isinstance(body, bytes) else body
        choice = self._do("decide", body=body, asked={k: v for k, v in asked.items() if v is not None})
        decision = choice["decision"]
        return SimpleNamespace(**choice, decision_id=decision and decision["decision_id"])

    def feedback(self, decision_id, outcome, **fields):
        return self._do("feedback", id=decision_id, outcome=outcome, fields=fields)

    @property
    def counts(self):
        return Counter(self._do("counts"))

    @property
    def logged(self):
        return "\n".join(self._do("logged"))

    def _do(self, name, **fields):
        return self._node.do(name, on=self._on, **fields)
