"""What drives a gateway in tests: the real Claude Code, plain requests in its shapes, and a provider behind it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ..claude_code import API_KEY, ClaudeCode, UnavailableError, install
from ..clients import CLAUDE_HEADERS
from ..fake_provider import Body, Exchange, FakeProvider, Refusal, Reply
from ..test_claude_code import CLIENT_MODEL, LAST_WORDS, reply_to

#: Of the catalogue: what the two prompts go to, when these are the models there are.
CAREFUL_MODEL, CHEAP_MODEL = "claude-opus-5-5", "claude-haiku-5-5"
FILE_RACE = "Fix the race condition in src/webhook.py"
KEY_HEADERS = {"x-api-key": API_KEY, "authorization": f"Bearer {API_KEY}"}


@dataclass
class Upstream:
    """The provider behind a gateway; `refusing` names models that it has no room for."""

    provider: FakeProvider
    url: str
    refusing: set[str] = field(default_factory=set)

    @property
    def models(self) -> list[str]:
        return list(self.provider.served_models)

    @property
    def exchanges(self) -> list[Exchange]:
        return list(self.provider.exchanges)

    def clear(self) -> None:
        self.refusing.clear()
        self.provider.clear()


@contextmanager
def upstream() -> Iterator[Upstream]:
    """Serve as the provider until the block ends."""

    def script(body: Body) -> Reply:
        return Refusal() if body["model"] in served.refusing else reply_to(body)

    listener = socket.create_server(("127.0.0.1", 0))
    provider = FakeProvider(script)
    served = Upstream(provider, f"http://127.0.0.1:{listener.getsockname()[1]}")
    with provider.serving(listener):
        yield served


def claude_executable() -> Path:
    try:
        return install()
    except UnavailableError as reason:
        pytest.skip(f"the real Claude Code was NOT run: {reason}")


def run_claude(gateway: Any, folder: Path, prompt: str, *more: str) -> str:
    """Run `claude -p` through a gateway to its last word."""
    claude = ClaudeCode.on(claude_executable(), folder, gateway.serve)
    done = claude.print_answer("--model", CLIENT_MODEL, *more, prompt, timeout_s=200)
    assert done.returncode == 0, (done.stdout, done.stderr, gateway.log[-3000:])
    assert done.stdout == f"{LAST_WORDS}\n"
    return done.stdout


def fresh_session() -> dict[str, str]:
    """Return Claude Code's headers in a session that nobody had before."""
    return CLAUDE_HEADERS | {"x-claude-code-session-id": str(uuid4())}


def post(gateway: Any, path: str, body: Body, headers: dict[str, str] | None = None) -> httpx.Response:
    """Send a client's request with its credentials."""
    sent = KEY_HEADERS | (headers or {})
    return httpx.post(gateway.url + path, json=body, headers=sent, trust_env=False, timeout=60)
