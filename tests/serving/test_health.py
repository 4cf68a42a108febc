"""Alive, ready, what it is, and what it counts."""

import json
import re
import time

import pytest
from starlette.testclient import TestClient

from pointsman.classifier.errors import InferenceError
from pointsman.classifier.labels import HEADS
from pointsman.classifier.risk_bound import RiskBound
from pointsman.serving import telemetry
from pointsman.serving.app import create_app
from pointsman.serving.errors import StoreUnavailableError
from pointsman.serving.store import Store

from .clients import RACE, title_body


def test_alive(client):
    assert client.get("/healthz").json() == {"status": "alive"}


def test_ready_once_warm(client):
    assert client.get("/readyz").json() == {"status": "ready"}


def test_alive_but_not_ready_while_warming_up(settings, router, assessor):
    assessor.gate.clear()
    with TestClient(create_app(settings, router)) as client:
        response = client.get("/readyz")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")
        assert "warming up" in response.json()["error"]["message"]
        assert client.get("/healthz").status_code == 200
        assessor.gate.set()
        eventually(lambda: client.get("/readyz").status_code == 200)


def test_not_ready_after_a_failed_warm_up_yet_answering(settings, router, assessor):
    assessor.error = InferenceError("the runtime failed")
    with TestClient(create_app(settings, router)) as client:
        eventually(lambda: "warm-up failed" in client.get("/readyz").text)
        response = client.post("/v1/decide", json={"prompt": RACE})
        assert (response.status_code, response.json()["model"]) == (200, "claude-opus-5-5")


def test_not_ready_without_the_store(client, monkeypatch):
    def fail(_):
        raise StoreUnavailableError("the store is away")

    monkeypatch.setattr(Store, "check", fail)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["error"]["message"]) == (503, "the store is away")


def test_info_names_versions_labels_and_limits(client, router):
    info = client.get("/info").json()
    assert info["model_version"] == router.model_version
    assert info["policy_version"] == router.policy.version
    assert info["catalog_version"] == router.catalog.version
    assert info["bundle_digest"] is None  # a fake assessor has no bundle; test_shipped_bundle.py has one
    assert info["labels"] == {head: list(labels) for head, labels in HEADS.items()}
    assert info["limits"]["max_body_bytes"] == 32 * 1024**2
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", info["version"])
    assert info["stores_text"] is False
    assert info["risk_bound"] is None


def test_info_shows_the_risk_bound(settings, router, assessor):
    assessor.risk_bounds = (RiskBound(0.05, 0.9, 0.2, 500, 160, 0.4, None),)
    with TestClient(create_app(settings, router)) as client:
        assert client.get("/info").json()["risk_bound"]["threshold"] == 0.2


def test_models_are_served_with_prices_and_evidence(client, router):
    answer = client.get("/v1/models").json()
    assert [row["name"] for row in answer["models"]] == [model.name for model in router.catalog.models]
    (opus,) = [row for row in answer["models"] if row["name"] == "claude-opus-4-5"]
    assert opus["tiers"][0]["input"] == 5
    assert opus["context"] == 200_000
    evidence = [item for row in (*answer["models"], *answer["families"]) for item in row["evidence"]]
    assert evidence
    assert all(item["source"] and item["date"] for item in evidence)
    assert set(opus["failure"]) == set(HEADS["category"])
    assert answer["roles"]["default"] == ["claude-opus-5-5"]


def test_metrics_have_their_names_and_count(client):
    model = client.post("/v1/decide", json={"prompt": RACE}).json()["model"]
    client.post("/v1/decide/v1/messages", json=title_body(RACE))
    text = client.get("/metrics").text
    for name in telemetry.NAMES:
        assert f"# HELP {name} " in text
    assert (
        f'pointsman_decisions_total{{category="debugging",kind="task",model="{model}",risk="high",'
        'source="inferred"} 1.0'
    ) in text
    assert 'kind="background",model="claude-haiku-5-5",risk="none",source="recalled"} 1.0' in text
    assert 'pointsman_http_requests_total{method="POST",route="/v1/decide/{path:any}",status="200"} 1.0' in text
    assert 'pointsman_decide_seconds_count{part="total"} 2.0' in text


def test_metric_names_are_written_once():
    constants = {value for name, value in vars(telemetry).items() if name.isupper() and str(value).startswith("points")}
    assert constants == set(telemetry.NAMES)


def test_paths_of_clients_make_no_metrics(client):
    for number in range(3):
        client.get(f"/no/such/{number}")
    client.request("BREW", "/healthz")
    text = client.get("/metrics").text
    assert "/no/such" not in text
    assert "BREW" not in text
    assert 'pointsman_http_requests_total{method="GET",route="unknown",status="404"} 3.0' in text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "not_found"), ("GET", "/v1/decide", 405, "method_not_allowed")],
)
def test_unknown_places_are_refused_in_the_same_shape(client, method, path, status, code):
    response = client.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_api_is_described(client):
    schema = client.get("/openapi.json").json()
    paths = {"/v1/decide", "/v1/decide/{path}", "/v1/classify", "/v1/feedback", "/v1/decisions/{decision_id}"}
    assert paths <= set(schema["paths"])
    answer = schema["components"]["schemas"]["DecisionAnswer"]["properties"]
    assert next(iter(answer)) == "model"
    assert set(schema["paths"]["/v1/decide"]["post"]["responses"]) == {"200", "413"}
    assert "ValidationError" not in json.dumps(schema)


def test_examples_in_the_description_work(client):
    body = client.get("/openapi.json").json()["paths"]["/v1/decide"]["post"]["requestBody"]
    for example in body["content"]["application/json"]["examples"].values():
        assert client.post("/v1/decide", json=example["value"]).json()["category"]["label"]


def test_docs_load_nothing_from_elsewhere(client):
    page = client.get("/docs").text
    assert "/v1/decide/{path}" in page
    assert "DecisionAnswer" in page
    assert not re.search(r"<script|(src|href)=\"(?!#|openapi\.json)", page)


def eventually(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
