"""The real claude-code-router 2.0.0, on the configuration that ships, between the real Claude Code and a provider."""

import json
from collections import namedtuple
from contextlib import contextmanager

import pytest

from ..claude_code import API_KEY
from ..clients import RACE, TYPO, claude_body, environment_body, summary_body, title_body
from ..test_claude_code import CLIENT_MODEL
from .agents import CAREFUL_MODEL, CHEAP_MODEL, FILE_RACE, KEY_HEADERS, fresh_session, post, run_claude, upstream
from .processes import SHIPPED, claude_code_router, eventually, free_port, running, shipped, tool
from .relay import BAD_MOODS

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]

Setup = namedtuple("Setup", "gateway provider folder")


@contextmanager
def started(folder, wire, more=None, /, **changes):
    package = claude_code_router()
    home = folder / ".claude-code-router"
    home.mkdir()
    port = free_port()
    with upstream() as provider:
        changes |= {
            "http://127.0.0.1:8095": wire.url,
            "https://api.anthropic.com": provider.url,
            '"claude_code_router.cjs"': json.dumps(str(SHIPPED / "claude_code_router.cjs")),
            '"PORT": 3456': f'"PORT": {port}',
            # The machine is shared: an answer that comes should not be late.
            '"deadlineMs": 250': '"deadlineMs": 3000',
        }
        (home / "config.json").write_text(shipped("claude-code-router.json", changes))
        command = [tool("node"), package / "dist" / "cli.js", "start"]
        environment = {"CCR_API_KEY": API_KEY, "ANTHROPIC_API_KEY": "upstream-key"} | (more or {})
        with running(command, port, folder, environment=environment, ready="/health", wait_s=60) as gateway:
            yield Setup(gateway, provider, folder)


@pytest.fixture(scope="module")
def setup(wire, tmp_path_factory):
    with started(tmp_path_factory.mktemp("ccr"), wire) as setup:
        yield setup


@pytest.fixture(scope="module")
def renamed(frugal, tmp_path_factory):
    """With Qwen's name for the cheap model, which takes no system message inside a conversation."""
    changes = {'"claude-haiku-5-5": "anthropic,claude-haiku-5-5"': '"qwen3-coder-plus": "anthropic,claude-haiku-5-5"'}
    with started(tmp_path_factory.mktemp("ccr-renamed"), frugal.wire, **changes) as setup:
        yield setup


@pytest.fixture
def router(setup, relay):
    setup.provider.clear()
    return setup


def n_asked(relay):
    return relay.received.count(b"POST /v1/decide")


def logs(router):
    written = [path.read_text(errors="replace") for path in router.folder.rglob("*.log")]
    return "\n".join(written)


@pytest.mark.parametrize(("prompt", "model"), [(FILE_RACE, CAREFUL_MODEL), (TYPO, CHEAP_MODEL)])
def test_claude_code_runs_its_tool_loop_on_the_model_of_the_decision(router, relay, tmp_path, prompt, model):
    run_claude(router.gateway, tmp_path, prompt)
    assert router.provider.models == [model] * 3
    assert n_asked(relay) == 3


def test_claude_code_ends_on_the_safe_model_without_the_service(router, relay, tmp_path):
    relay.turn("dead")
    run_claude(router.gateway, tmp_path, TYPO)
    assert router.provider.models == [CAREFUL_MODEL] * 3


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("prompt", "model"), [(RACE, CAREFUL_MODEL), (TYPO, CHEAP_MODEL)], ids=["careful", "cheap"])
def test_message_is_rerouted(router, prompt, model, stream, headers):
    answer = post(router.gateway, "/v1/messages?beta=true", claude_body(prompt, stream=stream), headers)
    assert answer.status_code == 200, answer.text
    assert router.provider.models == [model]


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_without_an_answer_the_safe_model_is_taken_and_it_is_said(router, relay, mood):
    relay.turn(mood)
    before = logs(router).count("no decision (")
    answer = post(router.gateway, "/v1/messages", claude_body(TYPO, stream=False))
    assert answer.status_code == 200, answer.text
    assert router.provider.models == [CAREFUL_MODEL]
    eventually(lambda: logs(router).count("no decision (") == before + 1)


def test_tool_loop_keeps_its_model_when_the_service_dies(router, relay, headers):
    post(router.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    relay.turn("dead")
    post(router.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), headers)
    assert router.provider.models == [CHEAP_MODEL] * 2


def test_tool_loop_keeps_the_safe_model_when_the_service_comes_back(router, relay, headers):
    relay.turn("dead")
    post(router.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    relay.turn("passing")
    post(router.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), headers)
    assert router.provider.models == [CAREFUL_MODEL] * 2


def test_model_that_lacks_the_shape_of_the_body_is_avoided(renamed):
    renamed.provider.clear()
    for body in (claude_body(TYPO, stream=False), environment_body(TYPO, stream=False)):
        post(renamed.gateway, "/v1/messages", body, fresh_session())
    assert renamed.provider.models == [CHEAP_MODEL, CAREFUL_MODEL]


def test_what_the_router_has_to_rewrite_is_named(renamed, frugal):
    frugal.wire.sent.clear()
    body = claude_body(TYPO, thinking={"type": "adaptive"}, stream=False)
    post(renamed.gateway, "/v1/messages", body, fresh_session())
    decision = json.loads(bytes(frugal.wire.sent).partition(b"\r\n\r\n")[2])
    assert "The gateway must drop or rewrite thinking_adaptive for qwen3-coder-plus." in decision["reasons"]


@pytest.mark.parametrize("body", [title_body, summary_body], ids=["title", "summary"])
def test_title_and_summary_go_to_the_background_model(router, headers, body):
    post(router.gateway, "/v1/messages", body(RACE) | {"stream": False}, headers)
    assert router.provider.models == [CHEAP_MODEL]


def test_token_counts_are_not_decided(router, relay):
    body = {"model": CLIENT_MODEL, "messages": [{"role": "user", "content": RACE}]}
    assert post(router.gateway, "/v1/messages/count_tokens", body).status_code == 200
    assert n_asked(relay) == 0


def test_model_chosen_by_hand_is_left_alone(router, relay):
    body = claude_body(RACE, stream=False, model="anthropic,claude-haiku-5-5")
    assert post(router.gateway, "/v1/messages", body).status_code == 200
    assert router.provider.models == [CHEAP_MODEL]
    assert n_asked(relay) == 0


def test_credentials_reach_neither_the_service_nor_the_log(router, relay, headers):
    post(router.gateway, "/v1/messages", claude_body(RACE, stream=False), headers)
    relay.turn("dead")
    post(router.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    assert headers["x-claude-code-session-id"].encode() in relay.received
    assert API_KEY.encode() not in relay.received
    assert all(name.encode() not in bytes(relay.received).lower() for name in KEY_HEADERS)
    assert "no decision" in logs(router)
    assert API_KEY not in logs(router)
