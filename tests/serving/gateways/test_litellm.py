"""The real LiteLLM proxy, on the configuration that ships, between the real Claude Code and a provider."""

from collections import namedtuple

import pytest

from ..claude_code import API_KEY
from ..clients import RACE, TYPO, chat_body, claude_body, environment_body, responses_body, summary_body, title_body
from ..test_claude_code import CLIENT_MODEL
from .agents import CAREFUL_MODEL, CHEAP_MODEL, FILE_RACE, KEY_HEADERS, fresh_session, post, run_claude, upstream
from .processes import LITELLM_VERSION, free_port, packages, python_gateway, running, shipped
from .relay import BAD_MOODS

# Its start takes half a minute on a machine at rest, its installation some more.
pytestmark = [pytest.mark.gateway, pytest.mark.timeout(1200)]

REQUIREMENTS = (f"litellm[proxy]=={LITELLM_VERSION}", "numpy>=2.1", "onnxruntime>=1.23", "orjson>=3.11")
Setup = namedtuple("Setup", "gateway provider")
#: The machine is shared: an answer that comes should not be late. What never comes is still not waited for.
PATIENCE = {"deadline_ms: 250": "deadline_ms: 3000"}


def litellm_bin():
    return python_gateway(f"litellm-{LITELLM_VERSION}", *REQUIREMENTS)


def start(folder, config):
    bin_folder = litellm_bin()
    (folder / "config.yaml").write_text(config)
    port = free_port()
    environment = {
        "PYTHONPATH": f"{packages(folder / 'packages')}:{folder}",
        "LITELLM_MASTER_KEY": API_KEY,
        "ANTHROPIC_API_KEY": "upstream-key",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
    }
    command = [bin_folder / "litellm", "--config", folder / "config.yaml", "--host", "127.0.0.1", "--port", str(port)]
    return running(command, port, folder, environment=environment, ready="/health/liveliness", wait_s=240)


@pytest.fixture(scope="module")
def setup(wire, tmp_path_factory):
    folder = tmp_path_factory.mktemp("litellm")
    with upstream() as provider:
        changes = {"http://127.0.0.1:8095": wire.url, "https://api.anthropic.com": provider.url} | PATIENCE
        with start(folder, shipped("litellm.yaml", changes)) as gateway:
            yield Setup(gateway, provider)


@pytest.fixture
def litellm(setup, relay):
    setup.provider.clear()
    return setup


def n_asked(relay):
    return relay.received.count(b"POST /v1/decide")


@pytest.mark.parametrize(("prompt", "model"), [(FILE_RACE, CAREFUL_MODEL), (TYPO, CHEAP_MODEL)])
def test_claude_code_runs_its_tool_loop_on_the_model_of_the_decision(litellm, relay, tmp_path, prompt, model):
    run_claude(litellm.gateway, tmp_path, prompt)
    assert litellm.provider.models == [model] * 3
    assert n_asked(relay) == 3


def test_claude_code_ends_on_the_safe_model_without_the_service(litellm, relay, tmp_path):
    relay.turn("dead")
    run_claude(litellm.gateway, tmp_path, TYPO)
    assert litellm.provider.models == [CAREFUL_MODEL] * 3


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", claude_body),
        ("/v1/chat/completions", chat_body),
        ("/v1/responses", responses_body),
    ],
    ids=["messages", "chat", "responses"],
)
@pytest.mark.parametrize(("prompt", "model"), [(RACE, CAREFUL_MODEL), (TYPO, CHEAP_MODEL)], ids=["careful", "cheap"])
def test_every_api_is_rerouted(litellm, path, body, prompt, model, stream):
    request = body(prompt) | {"model": CLIENT_MODEL, "stream": stream, "tools": []}
    answer = post(litellm.gateway, path, request)
    assert answer.status_code == 200, answer.text
    assert litellm.provider.models == [model]
    assert answer.headers["x-pointsman-model"] in {"strong", "cheap"}


def test_decision_named_in_the_answer_is_stored(litellm, service, headers):
    answer = post(litellm.gateway, "/v1/messages", claude_body(RACE, stream=False), headers)
    row = service.http.get(f"/v1/decisions/{answer.headers['x-pointsman-decision-id']}").raise_for_status().json()
    assert row["session_id"] == headers["x-claude-code-session-id"]
    assert row["client_model"] == "claude-opus-5-5"
    assert "authorization" not in str(row)


def test_refusal_of_the_provider_is_mended_without_asking_again(litellm, relay):
    litellm.provider.refusing.add(CAREFUL_MODEL)
    answer = post(litellm.gateway, "/v1/messages", claude_body(RACE, stream=False))
    assert answer.status_code == 200
    assert litellm.provider.models == [CAREFUL_MODEL, CHEAP_MODEL]
    assert n_asked(relay) == 1


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_without_an_answer_the_safe_model_is_taken_and_it_is_said(litellm, relay, mood):
    relay.turn(mood)
    before = litellm.gateway.log.count("no decision (")
    answer = post(litellm.gateway, "/v1/messages", claude_body(TYPO, stream=False))
    assert answer.status_code == 200
    assert litellm.provider.models == [CAREFUL_MODEL]
    assert answer.headers["x-pointsman-failure"]
    assert litellm.gateway.log.count("no decision (") == before + 1


def test_tool_loop_keeps_its_model_when_the_service_dies(litellm, relay, headers):
    post(litellm.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    relay.turn("dead")
    post(litellm.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), headers)
    assert litellm.provider.models == [CHEAP_MODEL] * 2


def test_tool_loop_keeps_the_safe_model_when_the_service_comes_back(litellm, relay, headers):
    relay.turn("dead")
    post(litellm.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    relay.turn("passing")
    post(litellm.gateway, "/v1/messages", claude_body(TYPO, tool_results=1, stream=False), headers)
    assert litellm.provider.models == [CAREFUL_MODEL] * 2


@pytest.mark.parametrize("body", [title_body, summary_body], ids=["title", "summary"])
def test_title_and_summary_go_to_the_background_model(litellm, headers, body):
    post(litellm.gateway, "/v1/messages", body(RACE) | {"stream": False}, headers)
    assert litellm.provider.models == [CHEAP_MODEL]


def test_token_counts_are_not_decided(litellm, relay):
    body = {"model": CLIENT_MODEL, "messages": [{"role": "user", "content": RACE}]}
    assert post(litellm.gateway, "/v1/messages/count_tokens", body).status_code == 200
    assert n_asked(relay) == 0


def test_request_for_another_model_is_left_alone(litellm, relay):
    post(litellm.gateway, "/v1/messages", claude_body(RACE, stream=False, model="cheap"))
    assert litellm.provider.models == [CHEAP_MODEL]
    assert n_asked(relay) == 0


def test_credentials_reach_neither_the_service_nor_the_log(litellm, relay, headers):
    for body in (claude_body(RACE, stream=False), claude_body(RACE, stream=False, metadata={"user_id": "me"})):
        post(litellm.gateway, "/v1/messages", body, headers)
    post(litellm.gateway, "/v1/chat/completions", chat_body(RACE) | {"model": CLIENT_MODEL, "stream": False}, headers)
    relay.turn("dead")
    post(litellm.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
    assert headers["x-claude-code-session-id"].encode() in relay.received
    assert API_KEY.encode() not in relay.received
    assert all(name.encode() not in bytes(relay.received).lower() for name in KEY_HEADERS)
    assert API_KEY not in litellm.gateway.log


@pytest.fixture(scope="module")
def renamed(frugal, tmp_path_factory):
    """With Qwen's name for the cheap group, which takes no system message inside a conversation."""
    with upstream() as provider:
        changes = {"http://127.0.0.1:8095": frugal.wire.url, "https://api.anthropic.com": provider.url} | PATIENCE
        changes["claude-haiku-5-5: cheap"] = "qwen3-coder-plus: cheap"
        with start(tmp_path_factory.mktemp("litellm-renamed"), shipped("litellm.yaml", changes)) as gateway:
            yield Setup(gateway, provider)


def test_model_that_lacks_the_shape_of_the_body_is_avoided(renamed):
    renamed.provider.clear()
    for body in (claude_body(TYPO, stream=False), environment_body(TYPO, stream=False)):
        post(renamed.gateway, "/v1/messages", body, fresh_session())
    assert renamed.provider.models == [CHEAP_MODEL, CAREFUL_MODEL]


def test_what_has_to_be_rewritten_is_named(renamed, frugal, headers):
    body = claude_body(TYPO, thinking={"type": "adaptive"}, stream=False)
    answer = post(renamed.gateway, "/v1/messages", body, headers)
    decision_id = answer.headers["x-pointsman-decision-id"]
    row = frugal.service.http.get(f"/v1/decisions/{decision_id}").raise_for_status().json()
    assert "The gateway must drop or rewrite thinking_adaptive for qwen3-coder-plus." in row["reasons"]


@pytest.fixture(scope="module")
def tiered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("litellm-tiers")
    with upstream() as provider:
        config = shipped("litellm-tiers.yaml", {"https://api.anthropic.com": provider.url} | PATIENCE)
        with start(folder, config) as gateway:
            yield Setup(gateway, provider)


@pytest.mark.parametrize(("prompt", "model"), [(RACE, CAREFUL_MODEL), (TYPO, CHEAP_MODEL)])
def test_tier_of_the_complexity_router_is_the_one_of_the_decision(tiered, headers, prompt, model):
    tiered.provider.clear()
    answer = post(tiered.gateway, "/v1/messages", claude_body(prompt, stream=False, model="smart"), headers)
    assert answer.status_code == 200, answer.text
    assert tiered.provider.models == [model]


def test_claude_code_runs_its_tool_loop_on_one_tier(tiered, tmp_path):
    tiered.provider.clear()
    run_claude(tiered.gateway, tmp_path, FILE_RACE, "--model", "smart")
    assert tiered.provider.models == [CAREFUL_MODEL] * 3


# Keys that may use some of the models only, as LiteLLM's database would say.
AUTH = """
from litellm.proxy._types import UserAPIKeyAuth

KEYS = {"cheap-only": ["claude-*", "cheap"], "own-only": ["claude-*"], "all": []}
TEAMS = {"team-cheap": ["claude-*", "cheap"]}

async def check(request, api_key):
    return UserAPIKeyAuth(
        api_key=api_key, models=KEYS.get(api_key, []), team_id="t" if api_key in TEAMS else None,
        team_models=TEAMS.get(api_key, []),
    )
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The first configuration again, deciding in LiteLLM's own process, with keys that are limited."""
    folder = tmp_path_factory.mktemp("litellm-guarded")
    (folder / "auth.py").write_text(AUTH)
    with upstream() as provider:
        changes = {
            "https://api.anthropic.com": provider.url,
            "    url: http://127.0.0.1:8095": "    in_process: true",
            "  master_key: os.environ/LITELLM_MASTER_KEY": "  custom_auth: auth.check",
        }
        with start(folder, shipped("litellm.yaml", changes | PATIENCE)) as gateway:
            yield Setup(gateway, provider)


@pytest.mark.parametrize(
    ("key", "prompt", "model"),
    [
        ("all", RACE, CAREFUL_MODEL),
        ("all", TYPO, CHEAP_MODEL),
        ("cheap-only", RACE, CHEAP_MODEL),
        ("team-cheap", RACE, CHEAP_MODEL),
        ("own-only", RACE, CLIENT_MODEL),
    ],
)
def test_key_is_rerouted_to_models_it_may_use_only(guarded, key, prompt, model):
    guarded.provider.clear()
    body = claude_body(prompt, stream=False, model=CLIENT_MODEL)
    answer = post(guarded.gateway, "/v1/messages", body, {"x-api-key": key, "authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    assert guarded.provider.models == [model]


def test_misspelt_setting_stops_the_start_and_is_named(tmp_path):
    config = shipped("litellm.yaml", {"safe_model:": "save_model:"})
    with pytest.raises(AssertionError, match=r"callback_settings\.pointsman\.save_model: no such setting"):
        start(tmp_path, config).__enter__()
