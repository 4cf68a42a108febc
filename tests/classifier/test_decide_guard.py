"""A coarse guard on speed, for every run: what `Router.decide` adds to the bare tokeniser and graph.

The best of several runs in turns, in processor time: other work on the machine cannot make a best run slower than both.
`make bench` has the figures.
"""

import time

import pytest

from pointsman.classifier import Router
from pointsman.classifier.text import build_text

PROMPT = "The payment webhook handler drops events when two workers read the same row, so fix the race there. " * 3
#: It is about 1.2 at this length; twice the time to decide is beyond 2.
MAX_RATIO = 1.8
N_TURNS = 25


@pytest.fixture(scope="module")
def router():
    return Router.load()


def test_deciding_costs_little_more_than_bare_inference(router):
    encoder, times = router.assessor._encoder, {"decide": [], "bare": []}
    text = build_text(router.read({"prompt": PROMPT}))
    for number in range(N_TURNS):
        body = {"prompt": PROMPT, "session_id": f"s{number}"}
        times["bare"].append(timed(lambda: encoder.run(encoder._tokenizer.encode([text]))))
        times["decide"].append(timed(lambda body=body: router.decide(body)))
    assert min(times["decide"]) < MAX_RATIO * min(times["bare"])


def timed(work):
    started = time.thread_time()
    work()
    return time.thread_time() - started
