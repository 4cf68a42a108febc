"""How many instructions the hot paths take, counted by valgrind: other programs, clocks and caches change nothing.

    python -m tests.benchmarks.instructions          count, and write instructions.json: the baseline
    python -m tests.benchmarks.instructions loop [NAME]     what is counted: every path some times, one more often

Counts belong to one Python, one set of libraries and one processor family, which stand beside them.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import orjson

from pointsman.classifier.answers import decision_answer
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.policy import Policy
from pointsman.classifier.request import read_request
from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY, Router
from tests.fakes import FakeAssessor, asked

from . import machine
from .texts import digest_of, recorded

BASELINE = Path(__file__).with_name("instructions.json")
#: Two lengths of the same loop: their difference holds no start and no load.
N_SHORT, N_LONG = 20, 120


def _router():
    return Router(FakeAssessor(), Catalog.load(DEFAULT_CATALOG), Policy.load(DEFAULT_POLICY))


def decide_without_inference():
    """Everything of a decision but the model: read a digest, weigh, remember."""
    router = _router()
    return lambda n: router.decide(digest_of(64, f"session-{n}"))


def tool_loop():
    router, turn = _router(), asked()
    router.decide_turn(turn)
    return lambda n: router.decide_turn(replace(asked(step=1), request_key=f"step-{n}"))


def read_body():
    """A client's body as bytes, parsed and read."""
    body = orjson.dumps(recorded("claude_tool_result")["body"])
    return lambda n: read_request(body, {}, path="/v1/messages")


def write_answer():
    decision = _router().decide(digest_of(64, "session"))
    return lambda n: orjson.dumps(decision_answer(decision))


PATHS = {path.__name__: path for path in (decide_without_inference, tool_loop, read_body, write_answer)}


def place():
    """Return what counts belong to."""
    return {"machine": machine.describe_machine()["processor"], "versions": machine.describe_versions()}


def count(name):
    """Return the instructions of one round of a path."""
    return round((_counted(name) - _counted(None)) / (N_LONG - N_SHORT))


@cache
def _counted(name):
    # A fixed order of hashes: the same work each time.
    fixed = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(machine.ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        command += [sys.executable, "-m", "tests.benchmarks.instructions", "loop", *([name] if name else [])]
        run = subprocess.run(command, env=os.environ | fixed, capture_output=True, text=True, cwd=machine.ROOT)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or found is None:
        raise RuntimeError(run.stderr[-2000:])
    return int(found.group(1))


def loop(most):
    for name, path in PATHS.items():
        work = path()
        for number in range(N_LONG if name == most else N_SHORT):
            work(number)


def main():
    if sys.argv[1:2] == ["loop"]:
        loop(sys.argv[2] if len(sys.argv) > 2 else None)
        return
    counts = {name: count(name) for name in PATHS}
    BASELINE.write_text(json.dumps(place() | {"instructions": counts}, indent=1) + "\n")
    print(BASELINE.read_text())


if __name__ == "__main__":
    main()
