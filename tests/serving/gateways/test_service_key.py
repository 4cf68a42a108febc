"""A service that asks for keys gets the one of its gateway, and nobody else does; a refusal is said once in the log."""

import json

import pytest

from pointsman.classifier.catalog import Catalog
from pointsman.serving.gateways.configs import GATEWAYS, write_config
from pointsman.serving.gateways.ext_proc_settings import ExtProcSettings, ExtProcSettingsError
from pointsman.serving.gateways.service_key import read_key

from ..clients import TYPO, claude_body
from .agents import CAREFUL_MODEL, CHEAP_MODEL, post
from .processes import CLAUDE_CODE_ROUTER_3_VERSION, SHIPPED, eventually, npm_files, shipped
from .test_claude_code_router import logs as router_logs
from .test_claude_code_router import started as started_router
from .test_claude_code_router_3 import given, run
from .test_proxies import STARTS, logs, started

ADVICE = "pointsman keys create NAME --role decide"
CHEAP = "anthropic/claude-haiku-5-5"
OWN_KEY = "psm_000_own"


@pytest.fixture
def guard(guarded):
    """The service that asks for keys, with nothing received yet."""
    guarded.wire.received.clear()
    return guarded


def environment_of(guard, role):
    return {"POINTSMAN_KEY": guard.keys[role]} if role else {}


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_key_of_the_environment_is_in_no_file_that_is_written(monkeypatch, gateway):
    monkeypatch.setenv("POINTSMAN_KEY", OWN_KEY)
    files, _ = write_config(gateway, Catalog.load("anthropic-dashscope"))
    assert OWN_KEY not in "".join(files.values())


@pytest.mark.parametrize(
    ("named", "key"),
    [(None, OWN_KEY), ("$OTHER", "psm_2"), ("os.environ/OTHER", "psm_2"), ("psm_3", "psm_3")],
)
def test_key_is_read_from_where_it_is_named(monkeypatch, named, key):
    monkeypatch.setenv("POINTSMAN_KEY", f"{OWN_KEY}\n")
    monkeypatch.setenv("OTHER", "psm_2")
    assert read_key(named, "key") == key


def test_there_is_no_key_where_nothing_names_one(monkeypatch):
    monkeypatch.setenv("POINTSMAN_KEY", "")
    assert read_key(None, "key") is None


def settings_with(folder, line):
    path = folder / "ext-proc.yaml"
    path.write_text(f"safe_model: x\nmodels: {{a: b}}\n{line}\n")
    return ExtProcSettings.load(path)


def test_processor_reads_its_key_and_does_not_show_it(monkeypatch, tmp_path):
    monkeypatch.setenv("OTHER", OWN_KEY)
    settings = settings_with(tmp_path, "key: $OTHER")
    assert settings.key == OWN_KEY
    assert OWN_KEY not in repr(settings)


@pytest.mark.parametrize(
    ("line", "problem"), [("key: $NOT_THERE", "NOT_THERE is not set. Export it"), ("key: 7", "key must be a text")]
)
def test_key_of_the_processor_that_cannot_be_read_is_named(monkeypatch, tmp_path, line, problem):
    monkeypatch.delenv("NOT_THERE", raising=False)
    with pytest.raises(ExtProcSettingsError, match=problem):
        settings_with(tmp_path, line)


def ask_module(guard, folder, *, environment, **settings):
    section = json.loads((SHIPPED / "claude-code-router.json").read_text())["POINTSMAN"]
    section |= {"url": guard.wire.url, "deadlineMs": 5000} | settings
    (folder / "pointsman.json").write_text(json.dumps(section))
    environment = {"POINTSMAN_CCR_SETTINGS": str(folder / "pointsman.json")} | environment
    inputs = [given(claude_body(TYPO), {}) for _ in range(2)]
    return run("module", SHIPPED / "claude_code_router.cjs", *inputs, environment=environment)


@pytest.mark.parametrize("settings", [{}, {"key": "$OTHER"}], ids=["left out", "another variable"])
def test_module_sends_the_key_of_its_environment(guard, tmp_path, settings):
    environment = {"OTHER" if settings else "POINTSMAN_KEY": guard.keys["decide"]}
    answers = ask_module(guard, tmp_path, environment=environment, **settings)
    assert [answer["model"] for answer in answers] == ["anthropic,claude-haiku-5-5"] * 2
    assert guard.keys["decide"] not in json.dumps(answers)


@pytest.mark.parametrize(("role", "status"), [(None, "401"), ("feedback", "403")])
def test_module_says_once_that_the_service_refuses(guard, tmp_path, role, status):
    answers = ask_module(guard, tmp_path, environment=environment_of(guard, role))
    logged = [line for answer in answers for line in answer["logged"]]
    assert [ADVICE in line for line in logged] == [True, False, False]
    assert f"Pointsman answers {status}" in logged[0]
    assert f"no decision (status: {status}), so anthropic,claude-opus-5-5 takes the request" in logged[1]


def ask_rule(kind, guard, folder, *, environment, worker="", changes=None):
    path = folder / "rule.js"
    changes = {"http://127.0.0.1:8095": guard.wire.url, '"deadlineMs": 250': '"deadlineMs": 5000'} | (changes or {})
    path.write_text(shipped("claude-code-router-3.js", changes))
    environment = {"HOME": str(folder)} | environment
    (answer,) = run(kind, path, given(claude_body(TYPO), {}), worker=worker, timeout_ms=9000, environment=environment)
    return answer


def test_rule_sends_the_key_of_its_environment(guard, tmp_path):
    answer = ask_rule("function", guard, tmp_path, environment=environment_of(guard, "decide"))
    assert answer["result"] == {"model": CHEAP}


def test_rule_sends_the_key_of_its_settings(guard, tmp_path):
    changes = {'"models": {': f'"key": "{guard.keys["decide"]}", "models": {{'}
    answer = ask_rule("function", guard, tmp_path, environment={}, changes=changes)
    assert answer["result"] == {"model": CHEAP}


@pytest.mark.parametrize(("role", "status"), [(None, 401), ("feedback", 403)])
def test_rule_tells_the_router_what_to_do_where_the_service_refuses(guard, tmp_path, role, status):
    answer = ask_rule("function", guard, tmp_path, environment=environment_of(guard, role))
    assert answer["error"].startswith(f"no decision (status: {status}, as the service decides only for an API key")
    assert ADVICE in answer["error"]
    assert "psm_" not in answer["error"]


@pytest.mark.gateway
@pytest.mark.parametrize("role", [None, "decide"])
def test_rule_has_its_key_in_the_worker_of_the_router_too(guard, tmp_path, role):
    version = CLAUDE_CODE_ROUTER_3_VERSION
    package = f"@musistudio/claude-code-router@{version}"
    worker = npm_files(f"claude-code-router-{version}", package, "dist/main/route-script-worker.js")
    answer = ask_rule("script", guard, tmp_path, environment=environment_of(guard, role), worker=worker)
    assert (answer["result"] == {"model": CHEAP}) if role else (ADVICE in answer["error"])


@pytest.mark.gateway
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", STARTS)
def test_key_of_a_proxy_reaches_the_service_only(guard, tmp_path, headers, name):
    key = guard.keys["decide"]
    with started(name, tmp_path, guard.wire, environment=environment_of(guard, "decide")) as proxy:
        answer = post(proxy.gateway, "/v1/messages", claude_body(TYPO, stream=False), headers)
        post(proxy.gateway, "/v1/messages/count_tokens", claude_body(TYPO), {"x-pointsman-key": "psm_of_a_client"})
        exchanges, written = proxy.provider.exchanges, logs(proxy)
    assert (answer.status_code, proxy.provider.models[0]) == (200, CHEAP_MODEL)
    assert f"x-pointsman-key: {key}\r\n".encode() in bytes(guard.wire.received).lower()
    assert b"psm_of_a_client" not in guard.wire.received
    assert "psm_" not in f"{[(one.headers, one.raw) for one in exchanges]} {answer.headers} {answer.text} {written}"


@pytest.mark.gateway
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("role", "status"), [(None, 401), ("feedback", 403)])
@pytest.mark.parametrize("name", STARTS)
def test_proxy_says_once_that_the_service_refuses(guard, tmp_path, name, role, status):
    with started(name, tmp_path, guard.wire, environment=environment_of(guard, role)) as proxy:
        answers = [post(proxy.gateway, "/v1/messages", claude_body(TYPO, stream=False)) for _ in range(3)]
        eventually(lambda: logs(proxy).count("no decision (") == 3 * proxy.n_lines)
        written = logs(proxy)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert proxy.provider.models == [CAREFUL_MODEL] * 3
    assert written.count(f"Pointsman answers {status}") == written.count(ADVICE) == proxy.n_lines
    assert "psm_" not in written


@pytest.mark.gateway
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["haproxy", "envoy", "envoy-ext-authz", "envoy-ext-proc"])
def test_key_that_cannot_be_sent_stops_the_start(guard, tmp_path, name):
    with (
        pytest.raises(AssertionError, match="expected printable ASCII, as 'pointsman keys create' prints it"),
        started(name, tmp_path, guard.wire, environment={"POINTSMAN_KEY": "psm_1\r\nx-other: 1"}),
    ):
        pass
    assert "x-other" not in "".join(path.read_text(errors="replace") for path in tmp_path.glob("*.log"))


@pytest.mark.gateway
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("role", "model"), [(None, CAREFUL_MODEL), ("decide", CHEAP_MODEL)])
def test_router_asks_with_its_key_and_says_once_where_it_lacks_one(guard, tmp_path, role, model):
    with started_router(tmp_path, guard.wire, environment_of(guard, role)) as router:
        for _ in range(2):
            post(router.gateway, "/v1/messages", claude_body(TYPO, stream=False))
        eventually(lambda: router_logs(router).count("no decision (") == (0 if role else 2))
    assert router.provider.models == [model] * 2
    assert router_logs(router).count(ADVICE) == (0 if role else 1)
    assert "psm_" not in router_logs(router)
