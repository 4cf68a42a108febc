"""The script rule in the worker that claude-code-router 3.1.1 publishes, and its router module called as 3.x calls it.

The router itself is not run: a package that it needs is in no registry.
"""

import json
import os
import subprocess
from pathlib import Path
from uuid import uuid4

import pytest

from ..clients import RACE, TYPO, claude_body, environment_body, summary_body, title_body
from .processes import CLAUDE_CODE_ROUTER_3_VERSION, SHIPPED, npm_files, shipped, tool
from .relay import BAD_MOODS

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(300)]

DRIVER = Path(__file__).with_name("run_rule.mjs")
STRONG, CHEAP = "anthropic/claude-opus-5-5", "anthropic/claude-haiku-5-5"


@pytest.fixture(scope="module")
def worker():
    version = CLAUDE_CODE_ROUTER_3_VERSION
    package = f"@musistudio/claude-code-router@{version}"
    return npm_files(f"claude-code-router-{version}", package, "dist/main/route-script-worker.js")


@pytest.fixture
def home(tmp_path):
    """A home with the router's folder in it."""
    (tmp_path / "home" / ".claude-code-router").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def make_rule(worker, relay, tmp_path, home):
    def make(deadline_ms=5000, wire=relay, **changes):
        changes |= {"http://127.0.0.1:8095": wire.url, '"deadlineMs": 250': f'"deadlineMs": {deadline_ms}'}
        path = tmp_path / "rule.js"
        path.write_text(shipped("claude-code-router-3.js", changes))
        environment = {"HOME": str(home)}
        return lambda *inputs: run("script", path, *inputs, worker=worker, timeout_ms=9000, environment=environment)

    return make


@pytest.fixture
def rule(make_rule):
    # The machine is shared: an answer that comes should not be late.
    return make_rule()


def run(kind, path, *inputs, worker="", timeout_ms=3000, environment=None):
    question = json.dumps({"inputs": inputs, "timeoutMs": timeout_ms})
    command = [tool("node"), DRIVER, kind, path, worker]
    done = subprocess.run(
        command, input=question, capture_output=True, text=True, env={"PATH": os.defpath} | (environment or {})
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def given(body, headers, /, **fields):
    """What the router hands over."""
    secret = {"authorization": "Bearer sk-very-secret", "x-api-key": "sk-very-secret"}
    text = body["messages"][-1]["content"][0].get("text", "") if "messages" in body else ""
    summary = {"lastUserText": text, "messageCount": len(body.get("messages", []))}
    session_id = headers.get("x-claude-code-session-id", str(uuid4()))
    return {
        "body": body,
        "headers": headers | secret,
        "method": "POST",
        "sessionId": session_id,
        "summary": summary,
        "tokenCount": 100,
        "url": "/v1/messages?beta=true",
    } | fields


def models(answers):
    assert [answer["status"] for answer in answers] == ["ok"] * len(answers), answers
    return [answer["result"] and answer["result"]["model"] for answer in answers]


@pytest.mark.parametrize(("prompt", "model"), [(RACE, STRONG), (TYPO, CHEAP)], ids=["careful", "cheap"])
def test_rule_names_the_model_of_the_decision(rule, headers, prompt, model):
    assert models(rule(given(claude_body(prompt), headers))) == [model]


def test_tool_loop_stays_on_its_model_over_the_limit(rule, relay, headers):
    first = claude_body(TYPO)
    later = claude_body(TYPO, tool_results=3)
    later["messages"][2]["content"][0]["content"] = "é" * 400_000
    assert models(rule(given(first, headers), given(later, headers, tokenCount=150_000))) == [CHEAP] * 2
    assert "é".encode() not in relay.received
    assert len(relay.received) < 256 * 1024


def test_size_of_a_body_over_the_limit_is_said(rule, service, relay, headers):
    body = claude_body("word " * 10, RACE)
    body["system"][0]["text"] = "x" * 300_000
    rule(given(body, headers, tokenCount=123_456))
    row = service.http.get(f"/v1/decisions/{decision_id(relay)}").raise_for_status().json()
    assert row["context_tokens"] == 123_456


def test_prompt_that_is_too_long_goes_as_a_digest(rule, relay, headers):
    body = claude_body(TYPO + "\n" + "word " * 100_000)
    (answer,) = rule(given(body, headers, summary={"lastUserText": TYPO}))
    assert models([answer]) == [CHEAP]
    assert len(relay.received) < 4096


@pytest.mark.parametrize("body", [title_body, summary_body], ids=["title", "summary"])
def test_title_and_summary_go_to_the_background_model(rule, headers, body):
    assert models(rule(given(body(RACE), headers))) == [CHEAP]


@pytest.mark.parametrize(
    "fields",
    [{"url": "/v1/messages/count_tokens"}, {"body": claude_body(RACE, model="anthropic/chosen")}],
    ids=["token count", "chosen by hand"],
)
def test_what_is_not_to_decide_is_not_asked(rule, relay, headers, fields):
    assert models(rule(given(claude_body(RACE), headers, **fields))) == [None]
    assert relay.received == b""


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_without_an_answer_the_router_is_told_and_goes_on(make_rule, relay, headers, mood):
    relay.turn(mood)
    (answer,) = make_rule(deadline_ms=700)(given(claude_body(TYPO), headers))
    assert answer["status"] == "error"
    assert "no decision (" in answer["error"]


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_tool_loop_keeps_its_model_when_the_service_dies(rule, make_rule, relay, headers, home, mood):
    assert models(rule(given(claude_body(TYPO), headers))) == [CHEAP]
    relay.turn(mood)
    assert models(make_rule(deadline_ms=700)(given(claude_body(TYPO, tool_results=1), headers))) == [CHEAP]
    (counted,) = json.loads((home / ".claude-code-router" / "pointsman-turns.json").read_text())["kept"].values()
    assert counted == 1


def test_tool_loop_keeps_the_default_model_when_the_service_comes_back(rule, relay, headers):
    relay.turn("dead")
    assert rule(given(claude_body(TYPO), headers))[0]["status"] == "error"
    relay.turn("passing")
    loop, turn = claude_body(TYPO, tool_results=1), claude_body(TYPO, "and the one in the guide")
    assert models(rule(given(loop, headers), given(turn, headers))) == [None, CHEAP]


@pytest.mark.parametrize("mood", ["passing", "dead"])
def test_title_between_does_not_change_what_the_loop_keeps(rule, relay, headers, mood):
    rule(given(claude_body(RACE), headers))
    relay.turn(mood)
    rule(given(title_body(RACE), headers))
    relay.turn("dead")
    assert models(rule(given(claude_body(RACE, tool_results=1), headers))) == [STRONG]


def test_subagent_is_not_taken_for_its_parent(rule, relay, headers):
    rule(given(claude_body(TYPO), headers))
    relay.turn("dead")
    (answer,) = rule(given(claude_body(TYPO, tool_results=1), headers | {"x-claude-code-agent-id": "a1"}))
    assert answer["status"] == "error"


def test_turns_are_not_remembered_without_the_folder_of_the_router(rule, relay, headers, home):
    (home / ".claude-code-router").rmdir()
    assert models(rule(given(claude_body(TYPO), headers))) == [CHEAP]


def test_turns_that_are_remembered_are_bounded(rule, headers, home):
    path = home / ".claude-code-router" / "pointsman-turns.json"
    path.write_text(json.dumps({"turns": [{"key": f"s{i}\n", "model": CHEAP} for i in range(200)]}))
    rule(given(claude_body(RACE), headers))
    keys = [turn["key"] for turn in json.loads(path.read_text())["turns"]]
    assert (len(keys), keys[0], keys[-1]) == (200, "s1\n", f"{headers['x-claude-code-session-id']}\n")


def test_model_that_lacks_the_shape_of_the_body_is_avoided(make_rule, frugal):
    rule = make_rule(wire=frugal.wire, **{'"claude-haiku-5-5"': '"qwen3-coder-plus"'})
    assert models(rule(given(claude_body(TYPO), {}), given(environment_body(TYPO), {}))) == [CHEAP, STRONG]


def test_what_the_router_has_to_rewrite_is_named(make_rule, frugal, headers):
    rule = make_rule(wire=frugal.wire, **{'"claude-haiku-5-5"': '"qwen3-coder-plus"'})
    frugal.wire.sent.clear()
    rule(given(claude_body(TYPO, thinking={"type": "adaptive"}), headers))
    row = frugal.service.http.get(f"/v1/decisions/{decision_id(frugal.wire)}").raise_for_status().json()
    assert "The gateway must drop or rewrite thinking_adaptive for qwen3-coder-plus." in row["reasons"]


def test_credentials_are_not_sent(rule, relay, headers):
    tools = [{"type": "mcp", "name": "remote", "authorization_token": "sk-very-secret"}]
    rule(given(claude_body(RACE, tools=tools, mcp_servers=[{"authorization_token": "sk-very-secret"}]), headers))
    assert headers["x-claude-code-session-id"].encode() in relay.received
    assert b"sk-very-secret" not in relay.received


@pytest.fixture
def module(relay, tmp_path):
    section = json.loads((SHIPPED / "claude-code-router.json").read_text())["POINTSMAN"]
    names = {name: own.replace(",", "/") for name, own in section["models"].items()}

    def ask(*inputs, models=names, wire=relay):
        settings = section | {"url": wire.url, "deadlineMs": 3000, "safeModel": STRONG, "models": models}
        (tmp_path / "pointsman.json").write_text(json.dumps(settings))
        environment = {"POINTSMAN_CCR_SETTINGS": str(tmp_path / "pointsman.json")}
        return run("module", SHIPPED / "claude_code_router.cjs", *inputs, environment=environment)

    return ask


def test_module_names_the_model_in_the_names_of_version_3(module, headers):
    answers = module(given(claude_body(TYPO), headers), given(claude_body(TYPO, RACE), headers))
    assert [answer["model"] for answer in answers] == [CHEAP, STRONG]


def test_module_takes_the_safe_model_without_the_service(module, relay, headers):
    relay.turn("dead")
    (answer,) = module(given(claude_body(TYPO), headers))
    assert answer["model"] == STRONG
    assert "no decision (unreachable" in answer["logged"][0]


def test_module_avoids_a_model_that_lacks_the_shape_of_the_body(module, frugal):
    swapped = {"claude-opus-5-5": STRONG, "qwen3-coder-plus": CHEAP}
    answers = module(given(claude_body(TYPO), {}), given(environment_body(TYPO), {}), models=swapped, wire=frugal.wire)
    assert [answer["model"] for answer in answers] == [CHEAP, STRONG]


def decision_id(relay):
    """Return the id of the only decision, as the service answered it."""
    return json.loads(bytes(relay.sent).partition(b"\r\n\r\n")[2])["decision_id"]
