"""The service's key reaches the client from LiteLLM's configuration, and stays out of what is shown of it."""

import asyncio

import pytest

from pointsman.serving.gateways.litellm import LiteLLMSettings, decider_of

from ..clients import RACE, claude_body

KEY = "psm_000_own"


def settings(url, key):
    return LiteLLMSettings.of({"url": url, "key": key, "deadline_ms": 20_000})


def ask(settings):
    async def asked():
        async with decider_of(settings, "safe", {"claude-opus-5-5": "group"}) as decider:
            return await decider.decide(claude_body(RACE))

    return asyncio.run(asked())


@pytest.mark.parametrize("named", [KEY, "os.environ/POINTSMAN_KEY", None], ids=["given", "by variable", "left out"])
def test_key_is_sent(relay, monkeypatch, named):
    monkeypatch.setenv("POINTSMAN_KEY", KEY)
    assert ask(settings(relay.url, named)).failure is None
    assert f"x-pointsman-key: {KEY}".encode() in bytes(relay.received).lower()


def test_variable_that_is_not_set_stops_the_start(relay, monkeypatch):
    monkeypatch.delenv("POINTSMAN_KEY", raising=False)
    with pytest.raises(ValueError, match=r"callback_settings.pointsman.key: POINTSMAN_KEY is not set"):
        ask(settings(relay.url, "os.environ/POINTSMAN_KEY"))


def test_key_is_not_shown():
    assert KEY not in repr(settings("http://127.0.0.1:1", KEY))
