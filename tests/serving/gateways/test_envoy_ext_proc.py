"""The wire between the real Envoy and the processor: what goes over it, and what happens when it breaks."""

from collections import namedtuple
from contextlib import ExitStack

import pytest

from ..claude_code import API_KEY
from ..clients import RACE, TYPO, claude_body, title_body
from .agents import CAREFUL_MODEL, CHEAP_MODEL, KEY_HEADERS, post, upstream
from .processes import SHIPPED, envoy_executable, eventually, free_port, running, shipped, tool
from .relay import Relay

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(300)]

Setup = namedtuple("Setup", "gateway provider other processor_wire processor")
ROUTE = """\
                        - match:
                            prefix: /
                            headers: [{name: x-pointsman-model, string_match: {exact: claude-haiku-5-5}}]
                          route: {cluster: other, timeout: 0s}
"""
CLUSTER = """\
    - name: other
      load_assignment:
        cluster_name: other
        endpoints:
          - lb_endpoints:
              - endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}
"""


@pytest.fixture(scope="module")
def setup(wire, tmp_path_factory):
    """The configuration that ships, with one more route: haiku has an address of its own."""
    folder = tmp_path_factory.mktemp("envoy-ext-proc")
    envoy = envoy_executable()
    own_port, port = free_port(), free_port()
    with ExitStack() as stack:
        provider, other = stack.enter_context(upstream()), stack.enter_context(upstream())
        changes = {"127.0.0.1:8096": f"127.0.0.1:{own_port}", "http://127.0.0.1:8095": wire.url, " 250": " 2000"}
        (folder / "ext-proc.yaml").write_text(shipped("ext-proc.yaml", changes))
        command = [tool("pointsman"), "ext-proc", folder / "ext-proc.yaml"]
        processor = stack.enter_context(
            running(command, own_port, folder, environment={}, ready="Envoy may ask", wait_s=120)
        )
        processor_wire = Relay(("127.0.0.1", own_port))
        stack.callback(processor_wire.close)
        changes = {
            "port_value: 8080": f"port_value: {port}",
            "port_value: 8096": f"port_value: {processor_wire.address[1]}",
            "address: api.anthropic.com, port_value: 443": f"address: 127.0.0.1, port_value: {provider.url[-5:]}",
            "filename: envoy.lua": f"filename: {SHIPPED / 'envoy.lua'}",
            "message_timeout: 0.4s": "message_timeout: 3s",
            f"{' ' * 24}- match: {{prefix: /}}\n": f"{ROUTE}{' ' * 24}- match: {{prefix: /}}\n",
        }
        config = shipped("envoy-ext-proc.yaml", changes).partition("      transport_socket:")[0]
        (folder / "envoy.yaml").write_text(config + CLUSTER.replace("PORT", other.url[-5:]))
        command = [envoy, "-c", folder / "envoy.yaml", "--concurrency", "1", "--use-dynamic-base-id"]
        gateway = stack.enter_context(running(command, port, folder, environment={}, ready="/", wait_s=60))
        yield Setup(gateway, provider, other, processor_wire, processor)


@pytest.fixture
def envoy(setup, relay):
    setup.provider.clear()
    setup.other.clear()
    setup.processor_wire.turn("passing")
    setup.processor_wire.received.clear()
    yield setup
    setup.processor_wire.turn("passing")


def test_route_is_chosen_by_the_decision(envoy, headers):
    post(envoy.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    post(envoy.gateway, "/v1/messages", claude_body(RACE, stream=False))
    assert (envoy.other.models, envoy.provider.models) == ([CHEAP_MODEL], [CAREFUL_MODEL])


def test_client_does_not_choose_the_route(envoy):
    claimed = {"x-pointsman-model": CHEAP_MODEL}
    post(envoy.gateway, "/v1/messages", claude_body(RACE, stream=False), claimed)
    envoy.processor_wire.turn("dead")
    post(envoy.gateway, "/v1/messages", claude_body(RACE, stream=False), claimed)
    assert (envoy.other.models, envoy.provider.models) == ([], [CAREFUL_MODEL] * 2)


@pytest.mark.parametrize("mood", ["dead", "hanging", "noise", "html", "error"])
def test_processor_that_does_not_answer_costs_the_safe_model(envoy, mood):
    envoy.processor_wire.turn(mood)
    before = envoy.gateway.log.count("no decision (unreachable)")
    answer = post(envoy.gateway, "/v1/messages", claude_body(TYPO, stream=False))
    assert answer.status_code == 200, answer.text
    assert envoy.provider.models == [CAREFUL_MODEL]
    assert answer.headers["x-pointsman-failure"] == "unreachable"
    eventually(lambda: envoy.gateway.log.count("no decision (unreachable)") == before + 1)


def test_processor_that_comes_back_is_asked_again(envoy):
    envoy.processor_wire.turn("dead")
    post(envoy.gateway, "/v1/messages", claude_body(TYPO, stream=False))
    envoy.processor_wire.turn("passing")

    def is_decided():
        # gRPC waits a little before it connects again.
        return not post(envoy.gateway, "/v1/messages", claude_body(TYPO, stream=False)).headers.get(
            "x-pointsman-failure"
        )

    eventually(is_decided)
    assert envoy.other.models == [CHEAP_MODEL]


def test_tool_loop_keeps_its_model_when_the_service_dies(envoy, relay, headers):
    post(envoy.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    relay.turn("dead")
    post(envoy.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), headers)
    assert envoy.other.models == [CHEAP_MODEL] * 2


def test_tool_loop_keeps_its_model_when_the_processor_dies(envoy, headers):
    post(envoy.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    post(envoy.gateway, "/v1/messages", title_body(RACE) | {"stream": False}, headers)
    envoy.processor_wire.turn("dead")
    post(envoy.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), headers)
    post(envoy.gateway, "/v1/messages", claude_body(TYPO, TYPO, stream=False), headers)
    assert (envoy.other.models, envoy.provider.models) == ([CHEAP_MODEL] * 3, [CAREFUL_MODEL])


def test_credentials_do_not_reach_the_processor(envoy, headers):
    post(envoy.gateway, "/v1/messages", claude_body(RACE, stream=False), headers | {"cookie": "session=secret-cookie"})
    received = bytes(envoy.processor_wire.received)
    assert headers["x-claude-code-session-id"].encode() in received
    assert API_KEY.encode() not in received
    assert b"secret-cookie" not in received
    assert all(name.encode() not in received.lower() for name in KEY_HEADERS)
    sent = {name.lower(): value for name, value in envoy.provider.exchanges[-1].headers.items()}
    assert sent["x-api-key"] == API_KEY


def test_token_count_costs_the_processor_its_headers_only(envoy, relay):
    body = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "a very special word"}]}
    assert post(envoy.gateway, "/v1/messages/count_tokens", body).json() == {"input_tokens": 1000}
    assert b"a very special word" not in envoy.processor_wire.received
    assert b"count_tokens" in envoy.processor_wire.received
