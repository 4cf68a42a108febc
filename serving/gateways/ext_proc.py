"""Envoy's external processor over gRPC: it names the model of a turn, and Envoy routes by it.

Envoy sends the headers of a request first. Of one that carries a turn the body is asked for; of all others nothing
more. Where Envoy streams the body both ways, its headers are held back until the model is known, as they choose the
route. The manners are those of the client: deadline, safe model, counts, one model for a turn.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import grpc
import orjson
from google.protobuf.struct_pb2 import Struct

from pointsman.serving.client import AsyncClient
from pointsman.serving.fail_open import Choice

from . import ext_proc_messages_pb2 as wire
from .ext_proc_messages_pb2 import HeaderValue, HeaderValueOption, ProcessingMode
from .ext_proc_settings import ExtProcSettings
from .model_field import with_model

logger = logging.getLogger(__name__)

TURN_PATHS: Final = frozenset({"/v1/messages", "/v1/chat/completions", "/v1/responses"})
#: What Envoy calls.
SERVICE: Final = "envoy.service.ext_proc.v3.ExternalProcessor"
#: Under this name Envoy's logs and later filters find what was decided.
NAMESPACE: Final = "pointsman"
MODEL_HEADER: Final = "x-pointsman-model"
UNREAD: Final = "unread"

# Envoy takes at most 64 KB of a streamed body at once.
_PIECE_BYTES: Final = 60 * 1024
_MAX_MESSAGE_BYTES: Final = 64 * 1024**2
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A second processor on the port would get half of the requests, with the other half of the sessions.
    ("grpc.so_reuseport", 0),
)
_BODY_WANTED: Final = ProcessingMode(
    request_header_mode=ProcessingMode.SEND,
    request_body_mode=ProcessingMode.BUFFERED,
    response_header_mode=ProcessingMode.SKIP,
    request_trailer_mode=ProcessingMode.SKIP,
    response_trailer_mode=ProcessingMode.SKIP,
)
_NOTHING_WANTED: Final = ProcessingMode(
    request_header_mode=ProcessingMode.SEND,
    request_body_mode=ProcessingMode.NONE,
    response_header_mode=ProcessingMode.SKIP,
    request_trailer_mode=ProcessingMode.SKIP,
    response_trailer_mode=ProcessingMode.SKIP,
)


class Processor:
    """The gRPC service. One stream is one request of a client of Envoy."""

    def __init__(self, settings: ExtProcSettings) -> None:
        self._settings = settings
        self._n_unread = 0
        self._client = AsyncClient(
            settings.url,
            key=settings.key,
            safe_model=settings.safe_model,
            models=settings.models,
            policy=settings.policy,
            deadline_ms=settings.deadline_ms,
        )

    async def process(self, messages: AsyncIterator[Any], _: object) -> AsyncIterator[Any]:
        """Answer Envoy's messages about one request, in their order."""
        headers: dict[str, str] = {}
        is_streamed = False
        body = bytearray()
        async for message in messages:
            match message.WhichOneof("request"):
                case "request_headers":
                    headers = headers_of(message.request_headers)
                    # Said with the first message only.
                    streamed = ProcessingMode.FULL_DUPLEX_STREAMED
                    is_streamed = message.protocol_config.request_body_mode == streamed
                    is_turn = carries_turn(headers) and not message.request_headers.end_of_stream
                    if not is_turn:
                        yield _passed_on(wire.ProcessingResponse(request_headers=wire.HeadersResponse()))
                    elif not is_streamed:
                        yield wire.ProcessingResponse(
                            request_headers=wire.HeadersResponse(), mode_override=_BODY_WANTED
                        )
                case "request_body" if not carries_turn(headers):
                    yield _echo(message.request_body)
                case "request_body":
                    body += message.request_body.body
                    if not message.request_body.end_of_stream:
                        continue
                    for answer in await self._decided(headers, bytes(body), is_streamed=is_streamed):
                        yield answer
                    body.clear()
                case "request_trailers":
                    if is_streamed and body:
                        # Trailers end the body in place of its last piece.
                        for answer in await self._decided(headers, bytes(body), is_streamed=True, is_open=True):
                            yield answer
                        body.clear()
                    yield wire.ProcessingResponse(request_trailers=wire.TrailersResponse())
                case other:
                    # Asked for by a configuration other than ours; each message wants its answer.
                    empty: Any = {str(other): _EMPTY[str(other)]()}
                    yield wire.ProcessingResponse(**empty)

    async def close(self) -> None:
        await self._client.aclose()

    @property
    def counts(self) -> Counter[str]:
        """As `AsyncClient.counts`, and `unread` for bodies that are packed."""
        return self._client.counts + Counter({UNREAD: self._n_unread})

    async def _decided(
        self, headers: Mapping[str, str], body: bytes, *, is_streamed: bool, is_open: bool = False
    ) -> Iterator[Any]:
        if headers.get("content-encoding"):
            self._n_unread += 1
            model, note = self._settings.safe_model, {"failure": UNREAD}
            logger.warning("no decision (%s: the body is packed), so %s takes the request", UNREAD, model)
        else:
            choice = await self._client.decide(_parsed(body), headers, path=headers[":path"].partition("?")[0])
            model, note = choice.model, _note(choice)
            body = with_model(body, model)
        sets = {MODEL_HEADER: model}
        if "content-length" in headers:
            sets["content-length"] = str(len(body))
        metadata = Struct()
        metadata.update({NAMESPACE: {"model": model} | note})
        if is_streamed:
            return _streamed(sets, body, metadata, is_open=is_open)
        return _whole(sets, body, metadata)


def carries_turn(headers: Mapping[str, str]) -> bool:
    """Say whether a request is one to decide; token counts are not."""
    return headers.get(":method") == "POST" and headers.get(":path", "").partition("?")[0] in TURN_PATHS


def headers_of(message: Any) -> dict[str, str]:
    """Return the headers of a request, whichever of its two fields Envoy filled."""
    return {
        item.key: item.raw_value.decode("utf-8", "replace") if item.raw_value else item.value
        for item in message.headers.headers
    }


async def start_server(settings: ExtProcSettings) -> tuple[Any, Processor, int]:
    """Start to listen; returns the server, its processor, and the port.

    Raises
    ------
    OSError
        The address is taken or not of this machine.
    """
    processor = Processor(settings)
    server = grpc.aio.server(options=_OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(
        processor.process,
        request_deserializer=wire.ProcessingRequest.FromString,
        response_serializer=wire.ProcessingResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Process": handler}),))
    try:
        port = server.add_insecure_port(settings.listen)
    except RuntimeError as exc:
        await processor.close()
        raise OSError(f"cannot listen on {settings.listen}. Choose another address with listen.") from exc
    await server.start()
    return server, processor, port


def _parsed(body: bytes) -> Mapping[str, Any] | bytes:
    # Parsed, only what routing reads goes to the service; what is no object it judges itself.
    try:
        parsed = orjson.loads(body)
    except ValueError:
        return body
    return parsed if isinstance(parsed, dict) else body


def _note(choice: Choice) -> dict[str, str]:
    return {
        "failure": choice.failure.value if choice.failure else "",
        "decision_id": choice.decision_id or "",
        "kind": str((choice.decision or {}).get("kind", "")),
    }


def _mutation(sets: Mapping[str, str]) -> Any:
    return wire.HeaderMutation(
        set_headers=[
            HeaderValueOption(
                header=HeaderValue(key=name, raw_value=value.encode()),
                append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for name, value in sets.items()
        ]
    )


def _whole(sets: Mapping[str, str], body: bytes, metadata: Struct) -> Iterator[Any]:
    common = wire.CommonResponse(
        header_mutation=_mutation(sets), body_mutation=wire.BodyMutation(body=body), clear_route_cache=True
    )
    yield wire.ProcessingResponse(request_body=wire.BodyResponse(response=common), dynamic_metadata=metadata)


def _streamed(sets: Mapping[str, str], body: bytes, metadata: Struct, *, is_open: bool) -> Iterator[Any]:
    common = wire.CommonResponse(header_mutation=_mutation(sets), clear_route_cache=True)
    yield wire.ProcessingResponse(request_headers=wire.HeadersResponse(response=common), dynamic_metadata=metadata)
    for start in range(0, max(len(body), 1), _PIECE_BYTES):
        is_last = start + _PIECE_BYTES >= len(body)
        yield _piece(body[start : start + _PIECE_BYTES], end_of_stream=is_last and not is_open)


def _piece(body: bytes, *, end_of_stream: bool) -> Any:
    streamed = wire.StreamedBodyResponse(body=body, end_of_stream=end_of_stream)
    common = wire.CommonResponse(body_mutation=wire.BodyMutation(streamed_response=streamed))
    return wire.ProcessingResponse(request_body=wire.BodyResponse(response=common))


def _echo(body: Any) -> Any:
    return _piece(body.body, end_of_stream=body.end_of_stream)


def _passed_on(answer: Any) -> Any:
    answer.mode_override.CopyFrom(_NOTHING_WANTED)
    return answer


_EMPTY: Final[Mapping[str, Any]] = {
    "response_headers": wire.HeadersResponse,
    "response_body": wire.BodyResponse,
    "response_trailers": wire.TrailersResponse,
}
