"""Plain reverse proxies, on the configurations that ship, between the real Claude Code and a provider."""

import json
import re
import shutil
from collections import namedtuple
from contextlib import ExitStack, contextmanager
from functools import partial
from uuid import uuid4

import pytest

from ..claude_code import API_KEY
from ..clients import RACE, TYPO, chat_body, claude_body, environment_body, responses_body, summary_body, title_body
from ..test_claude_code import CLIENT_MODEL
from .agents import CAREFUL_MODEL, CHEAP_MODEL, FILE_RACE, KEY_HEADERS, fresh_session, post, run_claude, upstream
from .processes import SHIPPED, envoy_executable, eventually, free_port, running, shipped, tool
from .relay import BAD_MOODS

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(300)]

Setup = namedtuple("Setup", "gateway provider unbounded folder n_lines")
#: Names of the gateway's own, and Qwen in place of Haiku: it takes no system message inside a conversation.
ALIASES = {
    r'(claude-opus-5-5"?[:=] ?"?)claude-opus-5-5': r"\1strong",
    r'claude-haiku-5-5("?[:=] ?"?)claude-haiku-5-5': r"qwen3-coder-plus\1cheap",
    r"(safe_model:? |SAFE_MODEL )claude-opus-5-5": r"\1strong",
    r"claude-opus-5-5,claude-haiku-5-5": "claude-opus-5-5,qwen3-coder-plus",
}


def aliased(name, changes):
    """Return a shipped file with the models of `ALIASES`."""
    text = shipped(name, changes)
    for pattern, by in ALIASES.items():
        text = re.sub(pattern, by, text)
    return text


def nginx(folder, port, wire, provider, _, *, ship=shipped, **_more):
    tool("nginx", "apt install nginx-light libnginx-mod-http-js")
    changes = {
        "127.0.0.1:8095": wire.url.removeprefix("http://"),
        "https://api.anthropic.com": provider.url,
        "listen 127.0.0.1:8080": f"listen 127.0.0.1:{port}",
        "js_path .": f"js_path {folder}",
        " 250ms": " 2s",
    }
    (folder / "nginx.conf").write_text(ship("nginx.conf", changes))
    shutil.copy(SHIPPED / "nginx.js", folder)
    more = f"daemon off; master_process off; pid {folder}/nginx.pid;"
    return [tool("nginx"), "-p", folder, "-c", folder / "nginx.conf", "-g", more]


def envoy_yaml(name, folder, port, provider, changes, ship):
    provider_port = provider.url.rpartition(":")[2]
    changes |= {
        "port_value: 8080": f"port_value: {port}",
        "address: api.anthropic.com, port_value: 443": f"address: 127.0.0.1, port_value: {provider_port}",
    }
    # The provider of the test speaks no TLS.
    (folder / name).write_text(ship(name, changes).partition("      transport_socket:")[0])
    return [envoy_executable(), "-c", folder / name, "--concurrency", "1", "--use-dynamic-base-id"]


def envoy(folder, port, wire, provider, _, *, ship=shipped, **_more):
    changes = {
        "port_value: 8095": f"port_value: {wire.address[1]}",
        "filename: envoy.lua": f"filename: {SHIPPED / 'envoy.lua'}",
        "deadline_ms: 250": "deadline_ms: 2000",
    }
    return envoy_yaml("envoy.yaml", folder, port, provider, changes, ship)


def envoy_ext_authz(folder, port, wire, provider, _, *, ship=shipped, **_more):
    changes = {
        "port_value: 8095": f"port_value: {wire.address[1]}",
        "filename: envoy": f"filename: {SHIPPED / 'envoy'}",
        "timeout: 0.25s}": "timeout: 2s}",
    }
    return envoy_yaml("envoy-ext-authz.yaml", folder, port, provider, changes, ship)


def envoy_ext_proc(folder, port, wire, provider, stack, *, ship=shipped, environment=None, streamed=False):
    own_port = free_port()
    changes = {
        "127.0.0.1:8096": f"127.0.0.1:{own_port}",
        "http://127.0.0.1:8095": wire.url,
        "deadline_ms: 250": "deadline_ms: 2000",
    }
    (folder / "ext-proc.yaml").write_text(ship("ext-proc.yaml", changes))
    command = [tool("pointsman"), "ext-proc", folder / "ext-proc.yaml"]
    running_processor = running(
        command, own_port, folder, environment=environment or {}, ready="Envoy may ask", wait_s=60
    )
    stack.enter_context(running_processor)
    changes = {
        "port_value: 8096": f"port_value: {own_port}",
        "filename: envoy.lua": f"filename: {SHIPPED / 'envoy.lua'}",
        "message_timeout: 0.4s": "message_timeout: 4s",
    }
    if streamed:
        changes["request_body_mode: NONE"] = (
            "request_body_mode: FULL_DUPLEX_STREAMED\n" + " " * 24 + "request_trailer_mode: SEND"
        )
    return envoy_yaml("envoy-ext-proc.yaml", folder, port, provider, changes, ship)


def haproxy(folder, port, wire, provider, _, *, ship=shipped, **_more):
    changes = {
        "127.0.0.1:8095": wire.url.removeprefix("http://"),
        "DEADLINE_MS 250": "DEADLINE_MS 2000",
        "bind 127.0.0.1:8080": f"bind 127.0.0.1:{port}",
        "lua-load-per-thread haproxy.lua": f"lua-load-per-thread {SHIPPED / 'haproxy.lua'}",
    }
    config = ship("haproxy.cfg", changes)
    # The provider of the test speaks no TLS.
    plain = re.sub(r"server provider api\.anthropic\.com:443 .*", f"server provider {provider.url[7:]}", config)
    (folder / "haproxy.cfg").write_text(plain)
    return [tool("haproxy", "apt install haproxy"), "-db", "-f", folder / "haproxy.cfg"]


STARTS = {
    "haproxy": haproxy,
    "nginx": nginx,
    "envoy": envoy,
    "envoy-ext-authz": envoy_ext_authz,
    "envoy-ext-proc": envoy_ext_proc,
    "envoy-ext-proc-streamed": partial(envoy_ext_proc, streamed=True),
}
#: Its timeouts are for each read, so an answer that goes on for ever goes on.
UNBOUNDED = {"nginx": ("dripping", "endless")}
#: In the foreground HAProxy writes what Lua logs to its own stderr too.
N_LINES = {"haproxy": 2}


@contextmanager
def started(name, folder, wire, ship=shipped, environment=None):
    environment = environment or {}
    port = free_port()
    with ExitStack() as stack:
        provider = stack.enter_context(upstream())
        command = STARTS[name](folder, port, wire, provider, stack, ship=ship, environment=environment)
        gateway = stack.enter_context(running(command, port, folder, environment=environment, ready="/", wait_s=60))
        yield Setup(gateway, provider, UNBOUNDED.get(name, ()), folder, N_LINES.get(name, 1))


@pytest.fixture(scope="module", params=STARTS)
def setup(request, wire, tmp_path_factory):
    with started(request.param, tmp_path_factory.mktemp(request.param), wire, shipped) as setup:
        yield setup


@pytest.fixture(scope="module", params=STARTS)
def renamed(request, frugal, tmp_path_factory):
    """The same with `ALIASES`, asking the service to whom Qwen is worth its misses."""
    with started(request.param, tmp_path_factory.mktemp(request.param), frugal.wire, aliased) as setup:
        yield setup


@pytest.fixture
def proxy(setup, relay):
    setup.provider.clear()
    return setup


def logs(setup):
    """What the gateway and the processes beside it wrote."""
    return "".join(path.read_text(errors="replace") for path in setup.folder.glob("*.log"))


def n_asked(relay):
    return len(re.findall(rb"POST /v1/decide[ /]", relay.received))


@pytest.mark.parametrize(("prompt", "model"), [(FILE_RACE, CAREFUL_MODEL), (TYPO, CHEAP_MODEL)])
def test_claude_code_runs_its_tool_loop_on_the_model_of_the_decision(proxy, relay, tmp_path, prompt, model):
    run_claude(proxy.gateway, tmp_path, prompt)
    assert proxy.provider.models == [model] * 3
    assert n_asked(relay) == 3


def test_claude_code_ends_on_the_safe_model_without_the_service(proxy, relay, tmp_path):
    relay.turn("dead")
    run_claude(proxy.gateway, tmp_path, TYPO)
    assert proxy.provider.models == [CAREFUL_MODEL] * 3


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("prompt", "model"), [(RACE, CAREFUL_MODEL), (TYPO, CHEAP_MODEL)], ids=["careful", "cheap"])
def test_message_is_rerouted(proxy, prompt, model, stream, headers):
    answer = post(proxy.gateway, "/v1/messages?beta=true", claude_body(prompt, stream=stream), headers)
    assert answer.status_code == 200, answer.text
    assert proxy.provider.models == [model]
    assert proxy.provider.exchanges[-1].path == "/v1/messages?beta=true"
    assert answer.headers["x-pointsman-model"] == model


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", chat_body), ("/v1/responses", responses_body)],
    ids=["chat", "responses"],
)
def test_other_apis_are_rerouted(proxy, path, body):
    post(proxy.gateway, path, body(TYPO))
    assert proxy.provider.exchanges[-1].body == body(TYPO) | {"model": CHEAP_MODEL}


@pytest.mark.parametrize("place", ["first", "last"])
def test_nothing_but_the_model_changes(proxy, place):
    body = claude_body(f'{TYPO} in "model": "x" \\ é 😀', stream=False)
    model = {"model": body.pop("model")}
    body = model | body if place == "first" else {"metadata": {"model": "inner"}} | body | model
    post(proxy.gateway, "/v1/messages", body)
    assert proxy.provider.exchanges[-1].body == body | {"model": CHEAP_MODEL}


def test_large_body_is_rerouted(proxy, headers):
    post(proxy.gateway, "/v1/messages", claude_body("word " * 600_000, TYPO, stream=False), headers)
    assert proxy.provider.models == [CHEAP_MODEL]


def test_decision_named_in_the_answer_is_stored(proxy, service, headers):
    answer = post(proxy.gateway, "/v1/messages", claude_body(RACE, stream=False), headers)
    row = service.http.get(f"/v1/decisions/{answer.headers['x-pointsman-decision-id']}").raise_for_status().json()
    assert row["session_id"] == headers["x-claude-code-session-id"]


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_without_an_answer_the_safe_model_is_taken_and_it_is_said(proxy, relay, mood):
    if mood in proxy.unbounded:
        pytest.skip(f"an answer that is {mood} is NOT bounded by this proxy; its README says so")
    relay.turn(mood)
    before = logs(proxy).count("no decision (")
    answer = post(proxy.gateway, "/v1/messages", claude_body(TYPO, stream=False))
    assert answer.status_code == 200, answer.text
    assert proxy.provider.models == [CAREFUL_MODEL]
    assert answer.headers["x-pointsman-failure"]
    eventually(lambda: logs(proxy).count("no decision (") == before + proxy.n_lines)


def test_service_that_comes_back_is_asked_again(proxy, relay):
    for mood, model in (("dead", CAREFUL_MODEL), ("passing", CHEAP_MODEL), ("error", CAREFUL_MODEL)):
        relay.turn(mood)
        post(proxy.gateway, "/v1/messages", claude_body(TYPO, stream=False))
        assert proxy.provider.models[-1] == model


def test_tool_loop_stays_on_its_model(proxy, headers):
    for n_results in range(3):
        post(proxy.gateway, "/v1/messages", claude_body(TYPO, tool_results=n_results, stream=False), headers)
    assert proxy.provider.models == [CHEAP_MODEL] * 3


def test_tool_loop_keeps_its_model_when_the_service_dies(proxy, relay, headers):
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    relay.turn("dead")
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), headers)
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, RACE, stream=False), headers)
    assert proxy.provider.models == [CHEAP_MODEL, CHEAP_MODEL, CAREFUL_MODEL]


def test_tool_loop_keeps_the_safe_model_when_the_service_comes_back(proxy, relay, headers):
    relay.turn("dead")
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    relay.turn("passing")
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), headers)
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, "and the one in the guide", stream=False), headers)
    assert proxy.provider.models == [CAREFUL_MODEL, CAREFUL_MODEL, CHEAP_MODEL]


@pytest.mark.parametrize(("mood", "prompt", "model"), [("passing", RACE, CAREFUL_MODEL), ("dead", TYPO, CHEAP_MODEL)])
def test_title_between_does_not_change_what_the_loop_keeps(proxy, relay, headers, mood, prompt, model):
    post(proxy.gateway, "/v1/messages", claude_body(prompt, stream=False), headers)
    relay.turn(mood)
    post(proxy.gateway, "/v1/messages", title_body(prompt) | {"stream": False}, headers)
    relay.turn("dead")
    post(proxy.gateway, "/v1/messages", claude_body(prompt, tool_results=1, stream=False), headers)
    assert [proxy.provider.models[0], proxy.provider.models[2]] == [model] * 2


def test_subagent_is_not_taken_for_its_parent(proxy, relay, headers):
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    relay.turn("dead")
    agent = headers | {"x-claude-code-agent-id": "a1"}
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), agent)
    assert proxy.provider.models == [CHEAP_MODEL, CAREFUL_MODEL]


@pytest.mark.parametrize("name", ["json", "old"])
def test_session_that_only_the_body_names_keeps_its_model_too(proxy, relay, name):
    session = str(uuid4())
    user = {"json": json.dumps({"session_id": session}), "old": f"user_1_account__session_{session}"}[name]
    fields = {"metadata": {"user_id": user}, "stream": False}
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, **fields))
    relay.turn("dead")
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, tool_results=2, **fields))
    assert proxy.provider.models == [CHEAP_MODEL] * 2


@pytest.mark.parametrize("body", [title_body, summary_body], ids=["title", "summary"])
def test_title_and_summary_go_to_the_background_model(proxy, headers, body):
    post(proxy.gateway, "/v1/messages", body(RACE) | {"stream": False}, headers)
    assert proxy.provider.models == [CHEAP_MODEL]


def test_token_counts_are_not_decided(proxy, relay):
    body = {"model": CLIENT_MODEL, "messages": [{"role": "user", "content": RACE}]}
    assert post(proxy.gateway, "/v1/messages/count_tokens", body).json() == {"input_tokens": 1000}
    assert n_asked(relay) == 0


def test_body_that_is_no_json_is_passed_on(proxy):
    post(proxy.gateway, "/v1/chat/completions", "nothing")
    assert proxy.provider.exchanges[-1].raw == b'"nothing"'


def test_credentials_reach_the_provider_only(proxy, relay, headers):
    post(proxy.gateway, "/v1/messages", claude_body(RACE, stream=False), headers)
    relay.turn("dead")
    post(proxy.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    sent = {name.lower(): value for name, value in proxy.provider.exchanges[-1].headers.items()}
    assert sent["x-api-key"] == API_KEY
    assert headers["x-claude-code-session-id"].encode() in relay.received
    assert API_KEY.encode() not in relay.received
    assert all(name.encode() not in bytes(relay.received).lower() for name in KEY_HEADERS)
    assert API_KEY not in logs(proxy)


@pytest.fixture
def shaped(renamed, frugal):
    """Sends a body, and returns the model that the provider was asked for and the record of the decision."""

    def send(body):
        renamed.provider.clear()
        answer = post(renamed.gateway, "/v1/messages", body | {"stream": False}, fresh_session())
        decision_id = answer.headers.get("x-pointsman-decision-id")
        row = decision_id and frugal.service.http.get(f"/v1/decisions/{decision_id}").raise_for_status().json()
        return renamed.provider.models, row

    return send


def test_models_go_by_the_names_of_the_gateway(shaped, frugal):
    assert [shaped(claude_body(prompt))[0] for prompt in (TYPO, RACE)] == [["cheap"], ["strong"]]
    frugal.wire.turn("dead")
    models, row = shaped(claude_body(TYPO))
    frugal.wire.turn("passing")
    assert (models, row) == (["strong"], None)


def test_model_that_lacks_the_shape_of_the_body_is_avoided(shaped):
    models, row = shaped(environment_body(TYPO))
    assert models == ["strong"]
    assert [(item["model"], item["code"]) for item in row["excluded"]] == [("qwen3-coder-plus", "capability")]


def test_what_the_gateway_has_to_rewrite_is_named(shaped):
    models, row = shaped(claude_body(TYPO, thinking={"type": "adaptive"}))
    assert models == ["cheap"]
    assert "The gateway must drop or rewrite thinking_adaptive for qwen3-coder-plus." in row["reasons"]
