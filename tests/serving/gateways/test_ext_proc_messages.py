"""The messages between Envoy and the processor: those of the published API, and made from the file they come from."""

import subprocess
import sys

import pytest

from pointsman.serving.gateways import ext_proc_messages_pb2 as wire
from pointsman.serving.gateways.ext_proc_messages_pb2 import HeaderValue, HeaderValueOption, ProcessingMode

from .processes import SHIPPED

PACKAGE = "pointsman/serving/gateways"
# Written by the classes of Envoy's published API (xds-protos 1.85.0, 2026-11-22).
REQUEST = b"\x12\x1b\n\x17\n\x15\n\x05:path\x1a\x0c/v1/messages\x18\x01Z\x02\x08\x04"
ANSWER = (
    b"\x1a\x1b\n\x19\x12\x0c\n\n\n\x06\n\x01a\x1a\x01b\x18\x02\x1a\x07\x1a\x05\n\x01x\x10\x01(\x01"
    b"B\n\n\x08\n\x01k\x12\x03\x1a\x01vJ\x04\x10\x02\x18\x02"
)


def test_request_of_the_published_api_is_read():
    request = wire.ProcessingRequest.FromString(REQUEST)
    assert request.request_headers.headers.headers[0] == HeaderValue(key=":path", raw_value=b"/v1/messages")
    assert request.request_headers.end_of_stream
    assert request.protocol_config.request_body_mode == ProcessingMode.FULL_DUPLEX_STREAMED


def test_answer_is_that_of_the_published_api():
    option = HeaderValueOption(
        header=HeaderValue(key="a", raw_value=b"b"), append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    )
    common = wire.CommonResponse(
        header_mutation=wire.HeaderMutation(set_headers=[option]),
        body_mutation=wire.BodyMutation(streamed_response=wire.StreamedBodyResponse(body=b"x", end_of_stream=True)),
        clear_route_cache=True,
    )
    mode = ProcessingMode(request_body_mode=ProcessingMode.BUFFERED, response_header_mode=ProcessingMode.SKIP)
    answer = wire.ProcessingResponse(request_body=wire.BodyResponse(response=common), mode_override=mode)
    answer.dynamic_metadata.update({"k": "v"})
    assert answer.SerializeToString(deterministic=True) == ANSWER


def test_generated_files_are_those_of_the_proto_file(tmp_path):
    pytest.importorskip("grpc_tools", reason="generated messages were NOT compared: grpcio-tools is not installed")
    outputs = (f"--python_out={tmp_path}", f"--pyi_out={tmp_path}")
    command = (sys.executable, "-m", "grpc_tools.protoc", f"-I{PACKAGE}={SHIPPED}", *outputs)
    subprocess.run([*command, f"{PACKAGE}/ext_proc_messages.proto"], check=True, capture_output=True, timeout=60)
    for made in (tmp_path / PACKAGE).iterdir():
        assert made.read_text() == (SHIPPED / made.name).read_text(), "the messages changed; run: make protos"
