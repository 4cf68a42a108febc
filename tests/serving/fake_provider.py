"""A loopback stand-in for api.anthropic.com with a small gateway in front of it.

It speaks enough of the Messages protocol for Claude Code to run a whole turn: server-sent events, tool calls, token
counts. What it answers comes from a script; every request is kept in the order it arrived. With `decide` it behaves as
a gateway does: it asks which model takes the request and rewrites `model` before the script sees the body.
"""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from socket import socket
from typing import Any

AUTH_HEADERS = frozenset({"authorization", "x-api-key", "proxy-authorization", "cookie"})
#: They describe one connection, not the request (RFC 9110 §7.6.1), and are never passed on.
HOP_HEADERS = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding", "accept-encoding"})

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Text:
    """The model speaks and its turn ends."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model calls one tool and waits for the result."""

    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The provider is unwell."""

    status: int = 503


Reply = Text | ToolUse | Refusal
Script = Callable[[Body], Reply]
Decide = Callable[[str, dict[str, str], bytes], Body]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request as it arrived, and what was decided about it."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes
    decision: Body | None = None

    @property
    def body(self) -> Body:
        return json.loads(self.raw) if self.raw else {}

    @property
    def is_message(self) -> bool:
        return self.method == "POST" and self.path.partition("?")[0] == "/v1/messages"


@dataclass
class FakeProvider:
    """Answers by `script`; `decide` makes it a gateway, and `page` answers what is fetched from it.

    `exchanges` grows in order of arrival.
    """

    script: Script
    decide: Decide | None = None
    page: Callable[[str], tuple[int, bytes]] | None = None
    exchanges: list[Exchange] = field(default_factory=list)
    served_models: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    _ids: "count[int]" = field(default_factory=lambda: count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def messages(self) -> list[Exchange]:
        """The `POST /v1/messages` requests, without token counts and probes."""
        return [exchange for exchange in self.exchanges if exchange.is_message]

    def clear(self) -> None:
        """Forget what came so far."""
        self.exchanges.clear()
        self.served_models.clear()

    @contextmanager
    def serving(self, listener: socket) -> Iterator[None]:
        """Answer what arrives on a socket that already listens."""
        server = _Server(self, listener)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def take(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[Body, Reply]:
        """Keep one `POST`, let it be decided, and return the body as the model sees it with its reply."""
        decision = None
        if self.decide:
            passed_on = {k: v for k, v in headers.items() if k.lower() not in AUTH_HEADERS | HOP_HEADERS}
            decision = self.decide(path, passed_on, raw)
        exchange = Exchange(method, path, dict(headers), raw, decision)
        body = exchange.body
        if decision:
            body["model"] = decision["model"]
        with self._lock:
            self.exchanges.append(exchange)
            if exchange.is_message:
                self.served_models.append(body["model"])
        return body, self.script(body) if exchange.is_message else Text("")

    def next_id(self) -> int:
        with self._lock:
            return next(self._ids)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, provider: FakeProvider, listener: socket) -> None:
        super().__init__(listener.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.provider = provider

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep what went wrong for the test; a client that hangs up early is its own business."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.provider.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._keep()
        self._send(200, "application/json", b"")

    def do_GET(self) -> None:
        self._keep()
        if self.server.provider.page is not None:
            status, content = self.server.provider.page(self.path)
            self._send(status, "application/json", content)
            return
        self._send(404, "application/json", b'{"type": "error", "error": {"type": "not_found_error", "message": ""}}')

    def do_POST(self) -> None:
        raw = self._read()
        try:
            body, reply = self.server.provider.take("POST", self.path, dict(self.headers.items()), raw)
        except Exception as error:
            # A 400 is not retried, and the client shows its message: the test fails soon and says why.
            self.server.provider.errors.append(error)
            problem = {"type": "invalid_request_error", "message": f"the fake provider failed: {error!r}"}
            self._send(400, "application/json", json.dumps({"type": "error", "error": problem}).encode())
            return
        path = self.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            self._send(200, "application/json", b'{"input_tokens": 1000}')
        elif path != "/v1/messages":
            self._send(404, "application/json", b"{}")
        elif isinstance(reply, Refusal):
            problem = {"type": "overloaded_error", "message": "The fake provider refuses."}
            self._send(reply.status, "application/json", json.dumps({"type": "error", "error": problem}).encode())
        elif body.get("stream"):
            events = stream_of(body["model"], reply, self.server.provider.next_id())
            self._send(200, "text/event-stream", b"".join(events))
        else:
            message = message_of(body["model"], reply, self.server.provider.next_id())
            self._send(200, "application/json", json.dumps(message).encode())

    def _read(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        raw = bytearray()
        while n_bytes := int(self.rfile.readline().partition(b";")[0], 16):
            raw += self.rfile.read(n_bytes)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return bytes(raw)

    def _keep(self) -> None:
        headers = dict(self.headers.items())
        self.server.provider.exchanges.append(Exchange(self.command, self.path, headers, b""))

    def _send(self, status: int, content_type: str, payload: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(payload)))
        self.send_header("request-id", f"req_{self.server.provider.next_id()}")
        self.end_headers()
        self.wfile.write(payload)


def message_of(model: str, reply: Text | ToolUse, number: int) -> Body:
    """Return a whole Messages response."""
    match reply:
        case Text(text):
            block: Body = {"type": "text", "text": text}
        case ToolUse(name, tool_input):
            block = {"type": "tool_use", "id": f"toolu_{number:024d}", "name": name, "input": dict(tool_input)}
    return {
        "id": f"msg_{number:024d}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [block],
        "stop_reason": "end_turn" if isinstance(reply, Text) else "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "output_tokens": 10,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
        },
    }


def stream_of(model: str, reply: Text | ToolUse, number: int) -> Iterator[bytes]:
    """Yield the same response as server-sent events, in the order the API documents."""
    message = message_of(model, reply, number)
    (block,) = message["content"]
    if isinstance(reply, Text):
        empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": reply.text}
    else:
        partial = json.dumps(dict(reply.input))
        empty, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": partial}
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    events: list[Body] = [
        {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": message["usage"]},
        {"type": "message_stop"},
    ]
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
