"""Bodies of 1 KB to 8 MB: what one takes to read, to answer over HTTP, and how much memory the service needs for it."""

import time
from pathlib import Path

import httpx
import numpy as np
import orjson
import pytest

from pointsman.classifier.request import read_request

from .rows import Goal, Row, take_turns
from .services import ours
from .texts import MB, agent_session

pytestmark = pytest.mark.benchmark
PART = "Bodies of 1 KB to 8 MB"
SIZES = {"1 KB": 1_000, "16 KB": 16_000, "128 KB": 128_000, "1 MB": MB, "8 MB": 8 * MB}
RESULT_CHARS = 1_500
N_REQUESTS = 12


def body_of(size):
    """Return an agent's session of about this size; its shortest has one prompt and nothing else."""
    if size > 20_000:
        return agent_session(size, RESULT_CHARS)
    prompt = {"role": "user", "content": "Fix the race condition in our payment webhook handler"}
    return orjson.dumps({"system": "x" * (size - 200), "max_tokens": 32_000, "messages": [prompt]})


@pytest.mark.parametrize("size", SIZES)
def test_reading_a_body(report, size):
    """Parsing and reading beside parsing alone, and its time per megabyte."""
    body = body_of(SIZES[size])
    n = 20 if len(body) < 2 * MB else 10
    samples = take_turns(lambda: read_request(body), lambda: orjson.loads(body), n, n_warm=2).scaled(1e3)
    row = report(samples.row(PART, f"{size}: parse and read", "ms", "orjson alone"))
    if len(body) > 100_000:
        per_mb = row.ours / (len(body) / MB)
        report(Row(PART, f"{size}: parse and read, per MB", "ms", per_mb, n, goal=Goal("ours", 12)))
    assert row.ratio < 100


@pytest.mark.parametrize("size", SIZES)
def test_body_over_http(report, size, tmp_path):
    """A fresh service per size: memory that an earlier body needed would hide what this one does."""
    body = body_of(SIZES[size])
    with ours(tmp_path) as service, httpx.Client(base_url=service.url, trust_env=False) as http:
        small = body_of(1_000)
        for number in range(20):
            ask(http, small, f"warm-{number}")
        before = memory_mb(service, "VmRSS")
        forget_peak(service)
        times = [ask(http, body, f"{size}-{number}") for number in range(N_REQUESTS)]
        peak = memory_mb(service, "VmHWM") - before
    report(Row(PART, f"{size}: answered over HTTP, median", "ms", float(np.median(times)), N_REQUESTS))
    row = report(Row(PART, f"{size}: memory at the peak", "MB", peak, N_REQUESTS, "the body", len(body) / MB))
    assert row.ours < 50 + 40 * len(body) / MB


def ask(http, body, session):
    started = time.perf_counter()
    headers = {"x-claude-code-session-id": session, "content-type": "application/json"}
    answer = http.post("/v1/decide/v1/messages", content=body, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["kind"] != "background"
    return (time.perf_counter() - started) * 1e3


def forget_peak(service):
    """Let the kernel count the peak anew, from what is held now."""
    try:
        Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")
    except OSError as error:
        pytest.skip(f"the peak of memory is not told here: {error}")


def memory_mb(service, name):
    lines = Path(f"/proc/{service.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024 / 1e6
