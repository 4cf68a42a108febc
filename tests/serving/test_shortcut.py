"""Deciding goes past the routes, and nobody can tell."""

import pytest
from fastapi.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.shortcut import Shortcut

from .clients import RACE, SESSION, TYPO, claude_body
from .conftest import wait_until_ready

REQUESTS = {
    "digest": ("POST", "/v1/decide", {"prompt": RACE, "session_id": SESSION}),
    "raw": ("POST", "/v1/decide/v1/messages", claude_body(RACE)),
    "no method of a decision": ("GET", "/v1/decide", None),
    "method of a held request": ("PUT", "/v1/decide/a%0Ab", {"prompt": TYPO}),
    "no method at all": ("TRACE", "/v1/decide/v1/messages", None),
    "too large": ("POST", "/v1/decide", {"prompt": "a" * 40_000_000}),
    "longer name": ("POST", "/v1/decided", {"prompt": TYPO}),
}


@pytest.fixture
def by_routes(settings, router):
    """The app without the shortcut: its routes answer."""
    app = create_app(settings, router)
    app.user_middleware = [layer for layer in app.user_middleware if layer.cls is not Shortcut]
    with TestClient(app) as client:
        wait_until_ready(client)
        yield client


def told(response):
    """Return an answer without what differs from one request to the next."""
    answer = response.json()
    return response.status_code, dict(response.headers) | {"content-length": ""}, answer | {"latency_ms": 0}


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS.values(), ids=REQUESTS.keys())
def test_routes_answer_the_same(client, by_routes, method, path, body):
    short, long = (
        asked.request(method, path, json=body, headers={"x-pointsman-session": SESSION})
        for asked in (client, by_routes)
    )
    assert told(short) == told(long)


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/decide/v1/messages"])
def test_requests_are_counted_by_pattern(client, path):
    client.post(path, json={"prompt": TYPO})
    pattern = "/v1/decide/{path:any}" if path.endswith("messages") else path
    assert (
        f'pointsman_http_requests_total{{method="POST",route="{pattern}",status="200"}} 1.0'
        in client.get("/metrics").text
    )


def test_first_of_two_headers_counts(client):
    headers = [("x-pointsman-models", "claude-haiku-5-5"), ("x-pointsman-models", "claude-opus-5-5")]
    assert client.post("/v1/decide", json={"prompt": RACE}, headers=headers).json()["model"] == "claude-haiku-5-5"
