"""The script rule in the worker that claude-code-router 3.1.1 publishes, and its router module called as 3.x calls it.

The router itself is not run: a package that it needs is in no registry.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..clients import RACE, TYPO, claude_body, title_body
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
def rule(worker, relay, tmp_path):
    path = tmp_path / "rule.js"
    path.write_text(shipped("claude-code-router-3.js", {"http://127.0.0.1:8095": relay.url}))
    # The machine is shared: an answer that comes should not be late.
    return lambda *inputs, timeout_ms=3000: run("script", path, *inputs, worker=worker, timeout_ms=timeout_ms)


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
    session_id = headers["x-claude-code-session-id"]
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


def test_title_goes_to_the_background_model(rule, headers):
    assert models(rule(given(title_body(RACE), headers))) == [CHEAP]


@pytest.mark.parametrize(
    "fields",
    [{"url": "/v1/messages/count_tokens"}, {"body": claude_body(RACE, model="anthropic/chosen")}],
    ids=["token count", "chosen by hand"],
)
def test_what_is_not_to_decide_is_not_asked(rule, relay, headers, fields):
    assert models(rule(given(claude_body(RACE), headers, **fields))) == [None]
    assert relay.received == b""


@pytest.mark.parametrize("mood", BAD_MOODS)
def test_without_an_answer_the_router_is_told_and_goes_on(rule, relay, headers, mood):
    relay.turn(mood)
    (answer,) = rule(given(claude_body(TYPO), headers), timeout_ms=700)
    assert answer["status"] in {"error", "timeout"}
    assert answer["error"]
    assert answer["durationMs"] < 5000


def test_credentials_are_not_sent(rule, relay, headers):
    tools = [{"type": "mcp", "name": "remote", "authorization_token": "sk-very-secret"}]
    rule(given(claude_body(RACE, tools=tools, mcp_servers=[{"authorization_token": "sk-very-secret"}]), headers))
    assert headers["x-claude-code-session-id"].encode() in relay.received
    assert b"sk-very-secret" not in relay.received


@pytest.fixture
def module(relay, tmp_path):
    section = json.loads((SHIPPED / "claude-code-router.json").read_text())["POINTSMAN"]
    names = {name: own.replace(",", "/") for name, own in section["models"].items()}
    settings = section | {"url": relay.url, "deadlineMs": 3000, "safeModel": STRONG, "models": names}
    (tmp_path / "pointsman.json").write_text(json.dumps(settings))
    environment = {"POINTSMAN_CCR_SETTINGS": str(tmp_path / "pointsman.json")}
    return lambda *inputs: run("module", SHIPPED / "claude_code_router.cjs", *inputs, environment=environment)


def test_module_names_the_model_in_the_names_of_version_3(module, headers):
    answers = module(given(claude_body(TYPO), headers), given(claude_body(TYPO, RACE), headers))
    assert [answer["model"] for answer in answers] == [CHEAP, STRONG]


def test_module_takes_the_safe_model_without_the_service(module, relay, headers):
    relay.turn("dead")
    (answer,) = module(given(claude_body(TYPO), headers))
    assert answer["model"] == STRONG
    assert "no decision (unreachable" in answer["logged"][0]


def decision_id(relay):
    """Return the id of the only decision, as the service answered it."""
    return json.loads(bytes(relay.sent).partition(b"\r\n\r\n")[2])["decision_id"]
