"""A page of another site, open in a developer's browser, gets nothing out of a service on loopback."""

import pytest
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.key_store import create_key
from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store

from .clients import RACE

PATHS = ["/v1/models", "/info", "/metrics", "/v1/decisions/x"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}],
    ids=str,
)
def test_request_of_another_site_is_refused(client, path, headers):
    response = client.get(path, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8095", "localhost.evil.example", "127.0.0.1.evil.example"]
)
def test_name_that_is_not_this_machines_is_refused(client, path, host):
    assert client.get(path, headers={"host": host}).status_code == 403


def test_feedback_of_another_site_is_refused(client):
    decision_id = client.post("/v1/decide", json={"prompt": RACE}).json()["decision_id"]
    judged = {"decision_id": decision_id, "outcome": "failure"}
    assert client.post("/v1/feedback", json=judged, headers={"origin": "https://evil.example"}).status_code == 403
    assert client.post("/v1/feedback", json=judged, headers={"host": "evil.example"}).status_code == 403
    assert client.post("/v1/feedback", json=judged).status_code == 201


@pytest.mark.parametrize("host", ["127.0.0.1:8095", "localhost", "localhost:8095", "[::1]:8095", "127.0.0.1"])
def test_own_names_and_own_pages_are_answered(client, host):
    assert client.get("/info", headers={"host": host, "origin": f"http://{host}"}).status_code == 200
    assert client.get("/info", headers={"host": host, "sec-fetch-site": "none"}).status_code == 200


def test_decision_is_given_whatever_headers_a_gateway_passes_on(client):
    headers = {"host": "gateway.example", "origin": "https://app.example", "sec-fetch-site": "cross-site"}
    assert client.post("/v1/decide/v1/messages", json={"prompt": RACE}, headers=headers).status_code == 200


def test_key_is_enough_where_keys_are_asked_for(sqlite_url, router):
    store = Store(sqlite_url)
    key, _ = create_key(store, "board", ["operate"], actor="test")
    store.close()
    with TestClient(create_app(load_settings(database_url=sqlite_url, keys="on"), router)) as client:
        headers = {"x-pointsman-key": key, "host": "pointsman.example"}
        assert client.get("/info", headers=headers).status_code == 200
