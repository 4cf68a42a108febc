"""What a start costs: import, load, readiness of the service, memory of a worker, size of the wheel.

A start is the work of one core from its first to its last moment: goals are on processor time, which is the clock's
where nothing else runs; the clock's own stands beside it.
"""

import resource
import subprocess
import sys
import tarfile
import time
from itertools import count

import httpx
import numpy as np
import pytest

from .machine import ROOT
from .rows import Goal, Row, Samples, take_turns
from .services import SERVE, ours, starting, stop
from .texts import digest_of

pytestmark = pytest.mark.benchmark
PART = "Start and size"
N_STARTS = 5


def of_children_s():
    """Return the processor time of programs that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


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
    for clock, unit in ((time.perf_counter, "s"), (of_children_s, "s of processor")):
        own_goal = goal if clock is of_children_s else None
        numpy = take_turns(python(code), python("import numpy"), 2 * N_STARTS, clock=clock, n_warm=1)
        bare = take_turns(python(code), python("pass"), 2 * N_STARTS, clock=clock, n_warm=1)
        report(numpy.row(PART, f"{what}, beside numpy, {unit}", unit, "python -c 'import numpy'"))
        row = report(bare.row(PART, f"{what}, {unit}", unit, "python -c pass", goal=own_goal))
        assert row.ours < 10


def test_service_starts(report, tmp_path):
    numbers, started = count(), []

    def start_ours():
        database = f"sqlite:///{tmp_path}/{next(numbers)}.sqlite"
        started.append(starting([*SERVE, "--database-url", database], ready="/readyz"))

    def start_empty():
        started.append(starting(["-m", "tests.benchmarks.endpoints", "empty"], ready="/"))

    used = {True: [], False: []}

    def stop_it():
        while started:
            service = started.pop()
            used["serve" in service.process.args].append(service.processor_s())
            stop(service)

    samples = take_turns(start_ours, start_empty, N_STARTS, clock=time.perf_counter, n_warm=1, between=stop_it)
    stop_it()
    processor = Samples(np.array(used[True]), np.array(used[False]))
    goal = Goal("ours", 1.5)
    report(processor.row(PART, "process start to ready, s of processor", "s", "empty FastAPI", goal=goal))
    row = report(samples.row(PART, "process start to ready, s", "s", "empty FastAPI"))
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
