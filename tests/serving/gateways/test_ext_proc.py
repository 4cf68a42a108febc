"""The processor answers what Envoy sends over gRPC, with the real service behind it."""

import asyncio
import json

import grpc
import pytest

from pointsman.classifier.commands import main
from pointsman.serving.gateways import ext_proc_messages_pb2 as wire
from pointsman.serving.gateways.ext_proc import start_server
from pointsman.serving.gateways.ext_proc_messages_pb2 import HeaderMap, HeaderValue, ProcessingMode
from pointsman.serving.gateways.ext_proc_settings import ExtProcSettings, ExtProcSettingsError

from ..clients import RACE, TYPO, claude_body
from .agents import CAREFUL_MODEL, CHEAP_MODEL
from .processes import SHIPPED

METHOD = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
NAMES = {CAREFUL_MODEL: "strong", CHEAP_MODEL: "cheap"}


def talk(url, *messages):
    """Send messages of one stream, and return all answers."""

    async def run():
        settings = ExtProcSettings(safe_model="safe", models=NAMES, listen="127.0.0.1:0", url=url, deadline_ms=5000)
        server, processor, port = await start_server(settings)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            process = channel.stream_stream(
                METHOD, wire.ProcessingRequest.SerializeToString, wire.ProcessingResponse.FromString
            )
            answers = [answer async for answer in process(iter(messages))]
        await server.stop(0)
        await processor.close()
        return answers, processor.counts

    return asyncio.run(run())


def request_headers(headers=None, *, path="/v1/messages?beta=true", method="POST", streamed=False, **fields):
    named = {":method": method, ":path": path, "content-length": "5"} | (headers or {})
    pairs = [HeaderValue(key=name, raw_value=value.encode()) for name, value in named.items()]
    message = wire.ProcessingRequest(request_headers=wire.HttpHeaders(headers=HeaderMap(headers=pairs), **fields))
    if streamed:
        message.protocol_config.request_body_mode = ProcessingMode.FULL_DUPLEX_STREAMED
    return message


def request_body(body, *, end_of_stream=True):
    return wire.ProcessingRequest(request_body=wire.HttpBody(body=body, end_of_stream=end_of_stream))


def sets(common):
    return {item.header.key: item.header.raw_value.decode() for item in common.header_mutation.set_headers}


def pieces(answers):
    return [answer.request_body.response.body_mutation.streamed_response for answer in answers]


def raw(*prompts):
    return json.dumps(claude_body(*prompts)).encode()


@pytest.mark.parametrize(("prompt", "model"), [(RACE, "strong"), (TYPO, "cheap")])
def test_buffered_body_gets_the_model_and_its_length(relay, headers, prompt, model):
    (first, second), counts = talk(relay.url, request_headers(headers), request_body(raw(prompt)))
    assert first.mode_override.request_body_mode == ProcessingMode.BUFFERED
    common = second.request_body.response
    assert json.loads(common.body_mutation.body) == claude_body(prompt) | {"model": model}
    assert sets(common) == {"x-pointsman-model": model, "content-length": str(len(common.body_mutation.body))}
    assert common.clear_route_cache
    assert counts == {"decided": 1}


def test_decision_is_left_for_later_filters(relay, headers, service):
    (_, answer), _ = talk(relay.url, request_headers(headers), request_body(raw(RACE)))
    note = answer.dynamic_metadata["pointsman"]
    row = service.http.get(f"/v1/decisions/{note['decision_id']}").raise_for_status().json()
    assert (note["model"], note["failure"]) == ("strong", "")
    assert row["session_id"] == headers["x-claude-code-session-id"]


@pytest.mark.parametrize(
    "message",
    [
        request_headers(path="/v1/messages/count_tokens"),
        request_headers(method="GET"),
        request_headers(end_of_stream=True),
    ],
    ids=["token count", "GET", "no body"],
)
def test_request_without_a_turn_is_passed_on_unasked(relay, message):
    (answer,), counts = talk(relay.url, message)
    assert answer.mode_override.request_body_mode == ProcessingMode.NONE
    assert not sets(answer.request_headers.response)
    assert counts == {}


def test_streamed_body_is_answered_after_its_end_headers_first(relay, headers):
    body = raw("word " * 40_000, RACE)
    (before, *after), _ = talk(
        relay.url,
        request_headers(headers, streamed=True),
        request_body(body[:100_000], end_of_stream=False),
        request_body(body[100_000:]),
    )
    assert sets(before.request_headers.response)["x-pointsman-model"] == "strong"
    parts = pieces(after)
    assert json.loads(b"".join(part.body for part in parts)) == json.loads(body) | {"model": "strong"}
    assert [part.end_of_stream for part in parts] == [False] * (len(parts) - 1) + [True]
    assert max(len(part.body) for part in parts) <= 65536


def test_streamed_body_may_end_in_trailers(relay, headers):
    trailers = wire.ProcessingRequest(request_trailers=wire.HttpTrailers())
    (before, piece, last), _ = talk(
        relay.url, request_headers(headers, streamed=True), request_body(raw(TYPO), end_of_stream=False), trailers
    )
    assert sets(before.request_headers.response)["x-pointsman-model"] == "cheap"
    assert not pieces([piece])[0].end_of_stream
    assert last.HasField("request_trailers")


def test_streamed_body_without_a_turn_comes_back_as_it_is(relay):
    first = request_headers(path="/v1/messages/count_tokens", streamed=True)
    (_, one, two), counts = talk(relay.url, first, request_body(b"a", end_of_stream=False), request_body(b"b"))
    assert [(part.body, part.end_of_stream) for part in pieces([one, two])] == [(b"a", False), (b"b", True)]
    assert counts == {}


def test_packed_body_goes_to_the_safe_model_as_it_is(relay):
    first = request_headers({"content-encoding": "gzip"})
    (_, answer), counts = talk(relay.url, first, request_body(b"\x1f\x8b\x00"))
    assert answer.request_body.response.body_mutation.body == b"\x1f\x8b\x00"
    assert sets(answer.request_body.response)["x-pointsman-model"] == "safe"
    assert answer.dynamic_metadata["pointsman"]["failure"] == "unread"
    assert counts == {"unread": 1}


def test_phases_that_nobody_needs_are_answered(relay):
    messages = [
        wire.ProcessingRequest(response_headers=wire.HttpHeaders()),
        wire.ProcessingRequest(response_body=wire.HttpBody(body=b"x")),
        wire.ProcessingRequest(response_trailers=wire.HttpTrailers()),
    ]
    answers, _ = talk(relay.url, *messages)
    names = [answer.WhichOneof("response") for answer in answers]
    assert names == ["response_headers", "response_body", "response_trailers"]


def test_service_that_is_away_costs_the_safe_model(relay, headers):
    relay.turn("dead")
    (_, answer), counts = talk(relay.url, request_headers(headers), request_body(raw(TYPO)))
    assert json.loads(answer.request_body.response.body_mutation.body)["model"] == "safe"
    assert answer.dynamic_metadata["pointsman"]["failure"] == "unreachable"
    assert counts == {"unreachable": 1}


def test_shipped_settings_are_read():
    settings = ExtProcSettings.load(SHIPPED / "ext-proc.yaml")
    assert (settings.safe_model, settings.deadline_ms, settings.listen) == (CAREFUL_MODEL, 250, "127.0.0.1:8096")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "found list; expected a mapping with safe_model, models"),
        ("save_model: x", "no setting 'save_model'; expected one of safe_model"),
        ("safe_model: x", "safe_model and models must be set"),
        ("{safe_model: x, models: {a: b}, deadline_ms: 0}", "deadline_ms must be a number > 0, got 0"),
        ("{", "cannot be read"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path, text, problem):
    (tmp_path / "ext-proc.yaml").write_text(text)
    with pytest.raises(ExtProcSettingsError, match=problem):
        ExtProcSettings.load(tmp_path / "ext-proc.yaml")


def test_address_that_is_taken_ends_the_command(relay, tmp_path, capsys):
    path = tmp_path / "ext-proc.yaml"
    path.write_text(f"{{safe_model: x, models: {{a: b}}, listen: '127.0.0.1:{relay.address[1]}'}}")
    assert main(["ext-proc", str(path)]) == 2
    assert "Choose another address with listen." in capsys.readouterr().err
