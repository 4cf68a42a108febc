"""`/v1/classify`: all heads of many prompts, or a message that says what is wrong."""

import json

import pytest
from starlette.testclient import TestClient

from pointsman.classifier.labels import HEADS
from pointsman.serving.app import create_app
from pointsman.serving.schemas import ClassifyAnswer
from pointsman.serving.settings import load_settings

from .clients import RACE, TYPO
from .conftest import wait_until_ready
from .fakes import FakeAssessor, fake_router


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """One app for all: assessing leaves nothing behind."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'records.sqlite'}"
    with TestClient(create_app(load_settings(database_url=url), fake_router())) as client:
        wait_until_ready(client)
        yield client


def classify(client, inputs):
    return client.post("/v1/classify", json={"inputs": inputs})


def test_inputs_are_assessed_in_order(client):
    answer = classify(client, [{"prompt": RACE}, {"prompt": TYPO, "context": [{"role": "user", "text": "hi"}]}])
    assert answer.status_code == 200
    parsed = ClassifyAnswer.model_validate(answer.json())
    assert [item.category.label for item in parsed.assessments] == ["debugging", "docs"]
    assert parsed.model_version == FakeAssessor.version


def test_assessment_has_every_head_and_the_novelty(client):
    (assessment,) = classify(client, [{"prompt": RACE}]).json()["assessments"]
    assert set(assessment) == {*HEADS, "novelty"}
    assert set(assessment["category"]) == {"label", "probability", "probabilities"}


def test_most_inputs_at_once_are_taken(client):
    assert len(classify(client, [{"prompt": "x"}] * 256).json()["assessments"]) == 256


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"inputs": [{"prompt": "x"}] * 257}, "inputs: 257 given, at most 256"),
        ({"inputs": []}, "inputs: List should have at least 1 item"),
        ({}, "inputs: Field required"),
        ([], "body: Input should be an object (found list)"),
        ({"inputs": [{"prompt": 5}]}, "inputs.0.prompt: Input should be a valid string (found int)"),
        ({"inputs": [{"prompt": "secret"}, {"text": "secret"}]}, "inputs.1.prompt: Field required"),
        ({"inputs": [{"prompt": ""}]}, "inputs.0.prompt: String should have at least 1 character"),
        ({"inputs": [{"prompt": "x", "context": "secret"}]}, "inputs.0.context: Input should be a valid"),
        ({"inputs": "secret"}, "inputs: Input should be a valid array (found str)"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_bad_input_is_told_what_was_found_and_expected(client, body, message):
    response = client.post("/v1/classify", content=json.dumps(body))
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")
    assert message in response.json()["error"]["message"]
    assert "secret" not in response.text


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 9999], ids=["empty", "cut off", "not utf-8", "deep"])
def test_body_that_is_no_json_is_422(client, body):
    response = client.post("/v1/classify", content=body)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")


def test_large_batch_is_read(client):
    answer = classify(client, [{"prompt": "word " * 4000}] * 10)
    assert len(answer.json()["assessments"]) == 10
