"""More than can be read or inferred in time is answered early, and nothing waits without end."""

import asyncio
import contextlib
import threading
import time
from functools import partial

import pytest

from pointsman.serving.errors import OverloadedError
from pointsman.serving.settings import load_settings
from pointsman.serving.telemetry import BODY_BYTES, SAFE_DEFAULTS

from .clients import CLAUDE_HEADERS, RACE, claude_body

LARGE = claude_body(RACE, system=[{"type": "text", "text": "word " * 5_000}])


@pytest.fixture
def settings(sqlite_url):
    return load_settings(
        database_url=sqlite_url,
        max_held_bytes=60_000,
        worker_read_bytes=1_000,
        max_queued_decisions=1,
        max_queued_classifies=1,
        decide_timeout_s=0.3,
    )


@pytest.fixture
def reader_is_stuck(client):
    """Keep the thread that reads large bodies busy."""
    is_free = threading.Event()
    client.app.state.services.model._reading.submit(is_free.wait, 20)
    yield
    is_free.set()


def value(client, name, **labels):
    return client.app.state.services.telemetry.registry.get_sample_value(name, labels) or 0


def test_body_without_room_gets_the_safe_default_unread(client):
    body = claude_body(RACE, system=[{"type": "text", "text": "word " * 20_000}])
    response = client.post("/v1/decide/v1/messages", json=body)
    assert (response.status_code, response.json()["model"]) == (200, "claude-opus-5-5")
    assert "too many requests in wait" in response.json()["reasons"][0]
    assert value(client, SAFE_DEFAULTS, cause="no_room") == 1


def test_room_is_there_again_after_each_answer(client):
    for _ in range(5):
        assert client.post("/v1/decide/v1/messages", json=LARGE, headers=CLAUDE_HEADERS).json()["category"]
    assert value(client, BODY_BYTES) == 0


def test_room_is_there_again_after_a_refusal(client):
    response = client.post("/v1/decide", content=b"x" * 60_001)
    assert (response.status_code, value(client, BODY_BYTES)) == (200, 0)


def test_answer_without_reading_is_recorded(client):
    answer = client.post("/v1/decide", content=b"x" * 60_001).json()
    row = client.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert (row["model"], row["assessment"]) == ("claude-opus-5-5", None)


@pytest.mark.usefixtures("reader_is_stuck")
def test_reading_that_takes_too_long_gives_the_safe_default(client):
    response = client.post("/v1/decide/v1/messages", json=LARGE)
    assert (response.status_code, response.json()["category"]) == (200, None)
    assert "did not answer in time" in response.json()["reasons"][0]
    assert value(client, SAFE_DEFAULTS, cause="timeout") == 1


@pytest.mark.usefixtures("reader_is_stuck")
def test_reading_beyond_the_queue_is_answered_at_once(client):
    client.app.state.services.model._n_reading = 1
    response = client.post("/v1/decide/v1/messages", json=LARGE)
    assert "too many requests in wait" in response.json()["reasons"][0]
    assert value(client, SAFE_DEFAULTS, cause="overloaded") == 1


@pytest.mark.usefixtures("reader_is_stuck")
def test_batch_beyond_the_queue_is_told_to_come_again(client):
    client.app.state.services.model._n_reading = 1
    response = client.post("/v1/classify", json={"inputs": [{"prompt": "word " * 1_000}]})
    assert (response.status_code, response.json()["error"]["code"]) == (429, "overloaded")


@pytest.mark.usefixtures("reader_is_stuck")
def test_small_bodies_are_answered_while_the_reader_is_stuck(client):
    assert client.post("/v1/decide", json={"prompt": RACE}).json()["category"]["label"] == "debugging"


@pytest.fixture
def model(client):
    """The live model after as many inferences of 20 ms as it remembers."""
    model = client.app.state.services.model
    model._times_s = (0.02,) * len(model._times_s)
    return model


async def queued(model, n_calls, **limits):
    """Queue calls at once; return how many were taken, after all of them are done."""
    taken = []
    for _ in range(n_calls):
        with contextlib.suppress(OverloadedError):
            taken.append(model.infer(partial(time.sleep, 0.02), max_waiting=64, **limits))
    await asyncio.gather(*taken)
    return len(taken)


def test_call_that_would_wait_too_long_is_not_queued(model):
    assert asyncio.run(queued(model, 20, max_wait_s=0.09)) == 5


def test_call_is_taken_when_nothing_waits_however_long_one_takes(model):
    model._times_s = (60.0,) * len(model._times_s)
    assert asyncio.run(queued(model, 3, max_wait_s=0.09)) == 1


def test_one_inference_that_was_held_up_says_nothing_of_the_next(model):
    model._times_s = (*model._times_s[1:], 60.0)
    assert asyncio.run(queued(model, 5, max_wait_s=0.09)) == 5


def test_nothing_is_expected_before_anything_was_measured(client):
    assert client.app.state.services.model.expected_wait_s == 0


def test_time_of_inferences_is_remembered(client):
    model = client.app.state.services.model
    asyncio.run(queued(model, len(model._times_s)))
    assert min(model._times_s) >= 0.02
