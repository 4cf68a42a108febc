"""Whatever is sent to `/v1/decide`, a model comes back; only a body over the limit is refused."""

import gzip
import json
import socket
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings

from .clients import CAREFUL, RACE, claude_body
from .fakes import fake_router

SAFE_DEFAULT = "claude-opus-5-5"
ODD_BODIES = {
    "empty": b"",
    "not json": b"<xml/>",
    "cut off": b'{"messages": [',
    "not utf-8": b"\xff\xfe\x00",
    "nothing": b"null",
    "number": b"17",
    "list": b"[]",
    "empty object": b"{}",
    "unknown shape": b'{"contents": [{"parts": [{"text": "hello"}]}]}',
    "messages of a wrong type": b'{"messages": "hello"}',
    "deep": b"[" * 5000,
    "deep object": b'{"messages":' * 500 + b"1" + b"}" * 500,
    "prompt of a wrong type": b'{"prompt": 5}',
    "empty prompt": b'{"prompt": "  "}',
    "envelope around nothing": b'{"request": null}',
    "envelope around a number": b'{"request": 1}',
    "envelope around odd text": b'{"request": "hello"}',
    "envelope around an envelope": b'{"request": {"request": {"prompt": "x"}}}',
}


@pytest.fixture(scope="module")
def robust(tmp_path_factory):
    """One app for all examples; nothing in it depends on what came before."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'records.sqlite'}"
    with TestClient(create_app(load_settings(database_url=url), fake_router())) as client:
        yield client


@pytest.mark.parametrize("path", ["", "/v1/messages"], ids=["bare", "messages"])
@pytest.mark.parametrize("body", ODD_BODIES.values(), ids=ODD_BODIES.keys())
def test_odd_body_gets_the_safe_default_and_a_reason(robust, path, body):
    response = robust.post(f"/v1/decide{path}", content=body)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["model"], answer["category"]) == (SAFE_DEFAULT, None)
    assert answer["reasons"]


@pytest.mark.parametrize(
    ("field", "value", "note"),
    [
        ("session_id", 5, "session_id is not a text"),
        ("policy", ["frugal"], "policy is not a text"),
        ("policy", "no-such", "policy is no preset"),
        ("headers", "authorization: x", "headers are not an object"),
        ("models", "claude-opus-5-5", "models are not a list of names"),
        ("models", [], "models are not a list of names"),
        ("context_tokens", "many", "context_tokens are not a whole number"),
        ("context_tokens", 2**31, "context_tokens are not a whole number"),
        ("context_tokens", True, "context_tokens are not a whole number"),
        ("models", ["claude-opus-5-5", "no-such", "nor-this"], "2 of the 3 allowed models are not in the catalogue"),
    ],
)
def test_odd_option_of_an_envelope_is_ignored_and_said_so(robust, field, value, note):
    response = robust.post("/v1/decide", json={"request": {"prompt": RACE}, field: value})
    assert response.status_code == 200
    answer = response.json()
    assert answer["model"] in CAREFUL
    assert any(note in reason for reason in answer["reasons"])


def test_number_beyond_all_bounds_is_ignored(robust):
    # The lone surrogate takes the body to the reader that keeps integers of any size.
    text = '{"request": {"messages": [{"role": "user", "content": "fix \\ud800 it"}]}, "context_tokens": 1%s}' % (
        "0" * 30
    )
    response = robust.post("/v1/decide", content=text.encode())
    assert response.status_code == 200
    assert response.json()["context_tokens"] < 100


@pytest.mark.parametrize(
    ("encoding", "reason"),
    [("br", "not gzip, deflate or identity"), ("gzip", "not in the content-encoding")],
)
def test_body_that_cannot_be_unpacked_gets_the_safe_default(robust, encoding, reason):
    response = robust.post("/v1/decide", content=b'{"prompt": "x"}', headers={"content-encoding": encoding})
    assert (response.status_code, response.json()["model"]) == (200, SAFE_DEFAULT)
    assert reason in response.json()["reasons"][0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_request_that_a_gateway_asks_about_without_a_body_is_answered(robust, method):
    response = robust.request(method, "/v1/decide/v1/models")
    assert (response.status_code, response.headers["x-route-model"]) == (200, SAFE_DEFAULT)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = ["request", "headers", "session_id", "models", "policy", "path", "prompt", "messages", "input", "system"]
ANY_PATH = st.text(st.characters(codec="utf-8", exclude_characters="?#%"), max_size=30)
relaxed = hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@relaxed
@given(body=st.binary(max_size=300), path=ANY_PATH, encoding=st.sampled_from(["", "gzip", "deflate", "br"]))
def test_any_bytes_are_answered(robust, body, path, encoding):
    response = robust.post(f"/v1/decide/{quote(path)}", content=body, headers={"content-encoding": encoding})
    assert response.status_code == 200
    assert response.json()["model"] == response.headers["x-pointsman-model"]


@relaxed
@given(body=ANY_JSON | st.dictionaries(st.sampled_from(KEYS), ANY_JSON, min_size=1))
def test_any_json_is_answered(robust, body):
    response = robust.post("/v1/decide", content=json.dumps(body))
    assert response.status_code == 200
    assert response.json()["model"]


@relaxed
@given(value=st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=50))
def test_any_header_is_answered(robust, value):
    headers = {name: value.encode("latin-1") for name in ("x-claude-code-session-id", "user-agent", "content-type")}
    assert robust.post("/v1/decide/v1/messages", json=claude_body(RACE), headers=headers).status_code == 200


# ---------------------------------------------------------------------------------------------------- the limit


@pytest.fixture
def settings(sqlite_url):
    return load_settings(database_url=sqlite_url, max_body_bytes=20_000)


def test_body_at_the_limit_is_read(client):
    body = json.dumps({"prompt": RACE}).encode().ljust(20_000)
    assert client.post("/v1/decide", content=body).json()["category"]["label"] == "debugging"


@pytest.mark.parametrize("path", ["/v1/decide", "/v1/decide/v1/messages", "/v1/classify"])
def test_body_over_the_limit_is_refused(client, path):
    response = client.post(path, content=b" " * 20_001)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "payload_too_large"
    assert "20000 bytes" in response.json()["error"]["message"]


def test_body_over_the_limit_without_a_length_is_refused(client):
    response = client.post("/v1/decide", content=iter([b" " * 15_000, b" " * 15_000]))
    assert response.status_code == 413


def test_bomb_is_refused(client):
    body = gzip.compress(b" " * 50_000_000)
    assert len(body) < 60_000
    response = client.post("/v1/decide", content=body[:19_000], headers={"content-encoding": "gzip"})
    assert response.status_code == 413


def test_body_that_never_ends_is_refused_at_the_limit(server):
    head = b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(head + b"%x\r\n" % 30_000 + b" " * 30_000 + b"\r\n")
        # The last chunk is never sent: the answer comes all the same.
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_announced_length_over_the_limit_is_refused_before_the_body(server):
    head = b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n"
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_client_that_leaves_in_the_middle_is_no_fault(server, caplog):
    head = b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(head + b"half")
    assert server.http.post("/v1/decide", json={"prompt": RACE}).status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
