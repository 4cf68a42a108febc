"""`/v1/decide` beside the bare tokeniser and ONNX run on the same texts, interleaved in one run.

The service runs in a process of its own, as it does in life. Machines are shared and noisy: read the ratios.
"""

import re
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from pointsman.classifier.assessment import Turn
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.encoder import OnnxEncoder
from pointsman.classifier.text import build_text

pytestmark = pytest.mark.benchmark

PHRASE = "the payment webhook handler drops events when two workers read the same row and both mark it done so fix"
N_REQUESTS = 150


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    database = f"sqlite:///{tmp_path_factory.mktemp('bench') / 'records.sqlite'}"
    command = [sys.executable, "-m", "pointsman.classifier", "serve", "--port", "0", "--database-url", database]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = re.search(r"http://\S+:\d+", process.stderr.readline()).group()
    # Its log must not fill the pipe.
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    with httpx.Client(base_url=url, trust_env=False, transport=httpx.HTTPTransport(retries=5)) as client:
        for _ in range(50):
            if client.get("/readyz").status_code == 200:
                break
            time.sleep(0.1)
        yield client
    process.terminate()
    process.wait(20)
    drain.wait(20)
    process.stderr.close()


def prompts(n_words):
    words = PHRASE.split()
    for number in range(N_REQUESTS):
        yield " ".join([f"ticket {number}", *(words[(number + i) % len(words)] for i in range(n_words))])


@pytest.mark.parametrize("n_words", [10, 50, 100], ids=lambda n: f"{n}-words")
def test_decide_beside_raw_inference(service, n_words):
    encoder = OnnxEncoder.load(load_bundle())
    http_ms, raw_ms = [], []
    for number, prompt in enumerate(prompts(n_words)):
        started = time.perf_counter()
        encoder.encode([build_text(Turn(prompt))])
        raw_ms.append((time.perf_counter() - started) * 1000)
        started = time.perf_counter()
        answer = service.post("/v1/decide", json={"prompt": prompt, "session_id": f"bench-{n_words}-{number}"})
        http_ms.append((time.perf_counter() - started) * 1000)
        assert answer.json()["category"] is not None
    raw, http = np.percentile(raw_ms[10:], [50, 99]), np.percentile(http_ms[10:], [50, 99])
    print(
        f"\n{n_words} words: raw ONNX p50 {raw[0]:.1f} p99 {raw[1]:.1f} ms; /v1/decide p50 {http[0]:.1f} "
        f"p99 {http[1]:.1f} ms; ratio of p50 {http[0] / raw[0]:.2f}"
    )


def test_recalled_decisions_cost_no_inference(service):
    first, again = [], []
    for number, prompt in enumerate(prompts(50)):
        body = {"prompt": prompt, "session_id": f"recall-{number}"}
        for times in (first, again):
            started = time.perf_counter()
            service.post("/v1/decide", json=body)
            times.append((time.perf_counter() - started) * 1000)
    ratio = np.median(again) / np.median(first)
    print(f"\nrecalled / inferred p50: {ratio:.2f} ({np.median(again):.2f} ms / {np.median(first):.2f} ms)")
    assert ratio < 0.8
