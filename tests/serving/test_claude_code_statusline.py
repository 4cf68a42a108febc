"""The status line and the hook inside the real Claude Code, with the settings that the documentation shows."""

import json
import re
import sys
import time

import pytest

from .claude_code import PORT, ClaudeCode, can_shut_in
from .fake_provider import FakeProvider
from .gateways.agents import claude_executable
from .gateways.processes import SHIPPED
from .test_claude_code import CLIENT_MODEL, LAST_WORDS, PROMPT, asking, reply_to

pytestmark = [pytest.mark.client, pytest.mark.timeout(400)]


def shown_settings():
    """The settings that the README shows, with this interpreter's command and the address inside the namespace."""
    section = (SHIPPED / "README.md").read_text(encoding="utf-8").split("## The status line of Claude Code")[1]
    text = re.search(r"```json\n(.*?)```", section, flags=re.S)[1]
    command = f"{sys.executable} -m pointsman.classifier statusline --url http://127.0.0.1:{PORT}"
    assert text.count('"pointsman statusline"') == 2
    return json.loads(text.replace("pointsman statusline", command))


def test_claude_code_shows_the_model_and_why(server, tmp_path):
    if not can_shut_in():
        pytest.skip("the status line was NOT run in Claude Code: without a network namespace it could call out")

    def page(path):
        answer = server.http.get(path)
        return answer.status_code, answer.content

    provider = FakeProvider(reply_to, decide=asking(server.http), page=page)
    claude = ClaudeCode.on(claude_executable(), tmp_path, provider.serving)
    (claude.home / ".claude").mkdir(exist_ok=True)
    (claude.home / ".claude" / "settings.json").write_text(json.dumps(shown_settings()))
    with claude.session("--model", CLIENT_MODEL) as terminal:
        terminal.wait_for("❯")
        terminal.submit(PROMPT)
        terminal.wait_for(LAST_WORDS)
        (model,) = {exchange.decision["model"] for exchange in provider.messages if exchange.body.get("tools")}
        terminal.wait_for(f"Stop says: Pointsman: {model} · debugging,")
        # The hook's line names it once; the client only writes what changed of the line at the bottom.
        deadline = time.monotonic() + 30
        while terminal.text.count(f"{model}·debugging,highrisk·") < 2:
            assert time.monotonic() < deadline, terminal.text[-1500:]
            time.sleep(0.1)
    assert any(exchange.path.startswith("/v1/sessions/") for exchange in provider.exchanges)
