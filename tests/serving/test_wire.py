"""A connection that is too slow, or headers that are too large, end; everyone else is answered meanwhile."""

import json
import socket
import threading
import time

import httpx
import pytest
import uvicorn

from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings
from pointsman.serving.wire import bounded_protocol

from .clients import RACE
from .conftest import wait_until_ready

HEAD = b"POST /v1/decide HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
def bounded(sqlite_url, router):
    """The app behind the server that `pointsman serve` runs, with short waits."""
    settings = load_settings(
        database_url=sqlite_url, header_timeout_s=0.5, body_timeout_s=0.5, max_header_bytes=4096, max_headers=20
    )
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(settings, router), http=bounded_protocol(settings), log_config=None, ws="none", server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = listener.getsockname()
    with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", trust_env=False, timeout=20) as http:
        wait_until_ready(http)
    yield address
    server.should_exit = True
    thread.join(20)
    listener.close()


def talk(address, *parts, wait_s=0.0):
    """Send the parts with waits between them, and return all that comes back until the server closes."""
    with socket.create_connection(address, timeout=20) as connection:
        answer = b""
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(wait_s)
            while data := connection.recv(65536):
                answer += data
        except (BrokenPipeError, ConnectionResetError):
            pass
    return answer


def error_of(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b" ")[1].decode(), json.loads(body)["error"]


def ask(address, headers=None):
    url = f"http://127.0.0.1:{address[1]}/v1/decide"
    return httpx.post(url, json={"prompt": RACE}, headers=headers, trust_env=False, timeout=20)


@pytest.mark.parametrize(
    "start", [b"", b"POST ", HEAD, HEAD + b"x-a: ", b"\r\n"], ids=["nothing", "method", "header", "half", "empty line"]
)
def test_headers_that_never_end_close_the_connection(bounded, start):
    assert talk(bounded, start) == b""


def test_headers_that_drip_close_the_connection(bounded):
    started = time.monotonic()
    drops = [b"x-%d: a\r\n" % number for number in range(200)]
    assert talk(bounded, HEAD, *drops, wait_s=0.1) == b""
    # Each drop came within the limit; all of them would have taken twenty seconds.
    assert time.monotonic() - started < 15


def test_body_that_never_ends_gets_408(bounded):
    status, error = error_of(talk(bounded, HEAD + b"Content-Length: 100\r\n\r\n{"))
    assert (status, error["code"]) == ("408", "body_timeout")
    assert error["message"] == "The body was not complete after 0.5 s, the limit of this service."


def test_connection_ends_though_its_client_goes_on_sending(bounded):
    started = time.monotonic()
    talk(bounded, b"POST /v1/nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n", *[b"a"] * 200, wait_s=0.1)
    assert time.monotonic() - started < 15


def test_keep_alive_connection_is_bounded_again(bounded):
    first = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = talk(bounded, first, b"GET /healthz HTT")
    assert answer.count(b"HTTP/1.1 200") == 1


def test_requests_one_after_the_other_are_all_answered(bounded):
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = talk(bounded, request, request, request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), wait_s=0.3)
    assert answer.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"x-a: " + b"a" * 5000 + b"\r\n\r\n",
        HEAD + b"x-a: " + b"a" * 50_000,
        HEAD + b"".join(b"x-%d: a\r\n" % number for number in range(30)) + b"\r\n",
        b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["large", "large without end", "many", "long path"],
)
def test_headers_over_the_limit_get_431(bounded, sent):
    answer = talk(bounded, sent)
    status, error = error_of(answer)
    assert (status, error["code"]) == ("431", "headers_too_large")
    assert "4096 bytes or 20 headers" in error["message"]
    assert b"x-content-type-options: nosniff" in answer


def test_headers_at_the_limit_are_taken(bounded):
    assert ask(bounded, {"x-a": "a" * 3500}).status_code == 200


def test_what_is_no_http_is_said_so_in_the_usual_shape(bounded):
    status, error = error_of(talk(bounded, b"\x16\x03\x01 hello\r\n\r\n"))
    assert (status, error["code"]) == ("400", "invalid_http")


def test_others_are_answered_while_many_connections_hang(bounded):
    hanging = [socket.create_connection(bounded, timeout=20) for _ in range(50)]
    for connection in hanging:
        connection.sendall(HEAD)
    assert ask(bounded).status_code == 200
    for connection in hanging:
        connection.close()


def test_large_body_that_keeps_coming_is_read(bounded):
    body = json.dumps({"prompt": RACE, "padding": "a" * 2_000_000})
    url = f"http://127.0.0.1:{bounded[1]}/v1/decide"
    assert httpx.post(url, content=body, trust_env=False, timeout=20).json()["kind"] == "task"


@pytest.mark.parametrize("depth", [500, 900, 5_000, 1_000_000])
@pytest.mark.parametrize(
    ("path", "start", "statuses"),
    [
        ("/v1/decide", '{"messages": ', {200}),
        ("/v1/decide", '{"prompt": "x", "y": ', {200}),
        ("/v1/classify", '{"inputs": ', {422}),
        ("/v1/feedback", '{"decision_id": ', {413, 422}),
    ],
)
def test_deep_json_is_answered_like_any_other_odd_body(client, path, start, statuses, depth):
    response = client.post(path, content=start + "[" * depth + "]" * depth + "}")
    assert response.status_code in statuses
