"""What a start costs: import, load, readiness of the service, memory of a worker, size of the wheel."""

import subprocess
import sys
import tarfile
import time
from itertools import count

import httpx
import pytest

from .machine import ROOT
from .rows import Goal, Row, take_turns
from .services import SERVE, ours, starting, stop
from .texts import digest_of

pytestmark = pytest.mark.benchmark
PART = "Start and size"
N_STARTS = 5


def python(code):
    return lambda: subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize(
    ("what", "code", "goal"),
    [
        ("import pointsman.classifier", "import pointsman.classifier", Goal("excess", 0.25)),
        ("import and Router.load()", "from pointsman.classifier import Router; Router.load()", None),
    ],
    ids=["import", "load"],
)
def test_library_starts(report, what, code, goal):
    samples = take_turns(python(code), python("import numpy"), 2 * N_STARTS, clock=time.perf_counter, n_warm=2)
    bare = take_turns(python(code), python("pass"), 2 * N_STARTS, clock=time.perf_counter, n_warm=2)
    report(samples.row(PART, f"{what}, beside numpy", "s", "python -c 'import numpy'"))
    row = report(bare.row(PART, what, "s", "python -c pass", goal=goal))
    assert row.ours < 10


def test_service_starts(report, tmp_path):
    numbers, started = count(), []

    def start_ours():
        database = f"sqlite:///{tmp_path}/{next(numbers)}.sqlite"
        started.append(starting([*SERVE, "--database-url", database], ready="/readyz"))

    def start_empty():
        started.append(starting(["-m", "tests.benchmarks.endpoints", "empty"], ready="/"))

    def stop_it():
        while started:
            stop(started.pop())

    samples = take_turns(start_ours, start_empty, N_STARTS, clock=time.perf_counter, n_warm=1, between=stop_it)
    stop_it()
    row = report(samples.row(PART, "process start to ready", "s", "empty FastAPI", goal=Goal("ours", 1.5)))
    assert row.ours < 15


def test_worker_memory(report, tmp_path):
    with ours(tmp_path) as service, httpx.Client(base_url=service.url, trust_env=False) as http:
        fresh = service.memory_mb()
        for number in range(500):
            http.post("/v1/decide", json=digest_of(16 + number % 200, f"session-{number}"))
        used = service.memory_mb()
    report(Row(PART, "memory of a worker, at the start", "MB", fresh, goal=Goal("ours", 250)))
    row = report(Row(PART, "memory of a worker, after 500 sessions", "MB", used, goal=Goal("ours", 250)))
    assert row.ours < 500


def test_wheel_size(report, tmp_path):
    archive = tmp_path / "tree.tar"
    subprocess.run(["git", "archive", "--output", archive, "HEAD"], cwd=ROOT, check=True)
    with tarfile.open(archive) as tree:
        tree.extractall(tmp_path / "tree", filter="data")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path]
    subprocess.run([*command, tmp_path / "tree"], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    model = ROOT / "classifier" / "bundles" / "default" / "model.onnx"
    report(Row(PART, "wheel", "MB", wheel.stat().st_size / 1e6, 1, "its model.onnx alone", model.stat().st_size / 1e6))
    assert wheel.stat().st_size < 50e6
