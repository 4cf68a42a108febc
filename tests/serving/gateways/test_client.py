"""What only the Python client promises: threads, event loops, nothing from its surroundings."""

import asyncio
import json
import re
import threading
from pathlib import Path

import pytest

from pointsman import client as public
from pointsman.classifier import identity
from pointsman.classifier.request import read_request
from pointsman.client import AsyncClient, Client, Failure
from pointsman.serving import client as implementation
from pointsman.serving import envelope
from pointsman.serving.envelope import Request, readable_part, sealed

from ..clients import RACE, TYPO, claude_body
from .processes import ROOT

LISTS = ("SENT_FIELDS", "TOOL_SECRETS", "SENT_HEADERS", "SESSION_HEADERS", "AGENT_HEADER")
SAFE = "the-safe-one"
SECRET = "sk-hunter2-correct-horse"
REQUESTS = Path(__file__).parents[2] / "data" / "requests"


@pytest.fixture
def client(relay):
    with Client(relay.url, safe_model=SAFE, deadline_ms=20_000) as client:
        yield client


def test_public_names_are_those_of_the_service_package():
    assert all(getattr(public, name) is getattr(implementation, name) for name in public.__all__)


def test_async_client_answers_many_at_once(relay):
    async def ask():
        async with AsyncClient(relay.url, safe_model=SAFE, deadline_ms=20_000) as client:
            return await asyncio.gather(*(client.decide({"prompt": f"{RACE} {n}"}) for n in range(20)))

    assert {choice.failure for choice in asyncio.run(ask())} == {None}


def test_threads_may_share_a_client(client):
    choices = []
    threads = [threading.Thread(target=lambda: choices.append(client.decide({"prompt": TYPO}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.counts == {"decided": 8}
    assert len({choice.model for choice in choices}) == 1


def test_proxies_of_the_environment_are_not_used(relay, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with Client(relay.url, safe_model=SAFE, deadline_ms=10_000) as client:
        assert client.decide({"prompt": TYPO}).failure is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"safe_model": ""}, "safe_model must be a model's name"),
        ({"safe_model": SAFE, "models": "claude-opus-5-5"}, "models a mapping or a list of names"),
        ({"safe_model": SAFE, "key": "two\nlines"}, "key: expected printable ASCII"),
        ({"safe_model": SAFE, "deadline_ms": 0}, "deadline_ms must be > 0, got 0; 250 is the default"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        Client(**options)


def test_body_that_cannot_be_sent_costs_the_safe_model_only(client):
    choice = client.decide({"messages": [{"role": "user", "content": "\ud800"}], 1: 2})
    assert (choice.model, choice.failure) == (SAFE, Failure.ERROR)


def test_credentials_of_netrc_are_not_used(relay, client, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client.decide({"prompt": TYPO})
    assert b"authorization" not in bytes(relay.received).lower()


@pytest.mark.parametrize("path", sorted(REQUESTS.glob("*.json")), ids=lambda path: path.stem)
def test_part_that_is_sent_reads_like_the_whole(path):
    kept = json.loads(path.read_bytes())
    whole, part = (
        read_request(body, kept["headers"], path=kept["path"]) for body in (kept["body"], readable_part(kept["body"]))
    )
    assert part == whole


def test_fields_that_nobody_reads_stay_here():
    tools = [{"type": "mcp", "server_url": "https://h", "authorization": SECRET, "headers": {"a": SECRET}}]
    added = {"mcp_servers": [{"authorization_token": SECRET}], "api_key": SECRET, "caller": object(), "tools": tools}
    body = claude_body(RACE, metadata={"user_id": "me", "user_api_key": SECRET}) | added
    content = sealed(Request(body, {"x-api-key": SECRET}), {})
    assert SECRET.encode() not in content
    assert json.loads(content)["request"]["metadata"] == {"user_id": "me"}


def test_lists_of_the_javascript_client_are_the_same():
    source = (ROOT / "serving" / "clients" / "js" / "index.cjs").read_text()
    listed = {name: set(re.findall(r'"([^"]+)"', source.split(f"const {name} =")[1].split(";")[0])) for name in LISTS}
    listed["SENT_HEADERS"] |= listed.pop("SESSION_HEADERS") | {listed.pop("AGENT_HEADER").pop()}
    assert listed["SENT_FIELDS"] == set(envelope._FIELDS)
    assert listed["TOOL_SECRETS"] == envelope._TOOL_SECRETS
    assert listed["SENT_HEADERS"] == identity._KNOWN_HEADERS
