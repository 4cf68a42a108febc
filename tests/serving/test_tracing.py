"""Where a collector is named, each request is one span of what was decided; nothing of what was asked is in it."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.errors import SettingsError
from pointsman.serving.settings import load_settings

from .clients import CLAUDE_HEADERS, RACE, claude_body
from .conftest import wait_until_ready

SECRET = "hunter2-correct-horse"
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """Takes what is sent to it over OTLP/HTTP."""

    def __init__(self):
        self.raw, collector = [], self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.raw.append(gzip.decompress(body) if "gzip" in str(self.headers["content-encoding"]) else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        requests = [ExportTraceServiceRequest.FromString(raw) for raw in self.raw]
        scopes = [scope for request in requests for group in request.resource_spans for scope in group.scope_spans]
        return {span.name: span for scope in scopes for span in scope.spans}


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


@pytest.fixture
def spans(collector, sqlite_url, router, assessor):
    """What is sent when a client asks well, asks oddly, and meets a fault."""
    settings = load_settings(database_url=sqlite_url, traces_url=collector.url)
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        headers = CLAUDE_HEADERS | {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": f"x={SECRET}"}
        body = claude_body(f"{RACE} {SECRET}")
        client.post(f"/v1/decide/v1/messages?key={SECRET}", json=body, headers=headers)
        client.get(f"/{SECRET}", headers={"authorization": SECRET})
        assessor.error = ValueError(SECRET)
        client.post("/v1/classify", json={"inputs": [{"prompt": SECRET}]})
    return collector.spans()


def attributes(span):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def test_span_says_what_was_decided_within_the_trace_of_the_caller(spans):
    span = spans["POST /v1/decide/{path:any}"]
    found = attributes(span)
    assert span.trace_id.hex() == TRACE
    assert (found["http.response.status_code"], found["pointsman.category"]) == (200, "debugging")
    assert found["pointsman.model"].startswith("claude-opus")
    assert found["pointsman.total_ms"] >= found["pointsman.classify_ms"] >= 0


def test_faults_and_unknown_paths_have_their_status(spans):
    assert attributes(spans["POST /v1/classify"])["http.response.status_code"] == 500
    assert attributes(spans["GET unknown"])["http.response.status_code"] == 404


def test_spans_hold_nothing_that_a_client_wrote(spans, collector):
    assert spans
    assert SECRET.encode() not in b"".join(collector.raw)


def test_probes_are_not_traced(spans):
    assert not [name for name in spans if "readyz" in name]


def test_collector_that_is_away_costs_no_answer(sqlite_url, router):
    settings = load_settings(database_url=sqlite_url, traces_url="http://127.0.0.1:9/v1/traces")
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        assert client.post("/v1/decide", json={"prompt": RACE}).status_code == 200


def test_address_that_is_none_is_refused():
    with pytest.raises(SettingsError, match=r"POINTSMAN_TRACES_URL: is not a web address"):
        load_settings(traces_url="otel:4317")
