"""`pointsman env` prints what a client needs for each profile, and the real client then shapes bodies that fit it."""

import json
import os
import shlex
import subprocess

import pytest

from pointsman.classifier.assessment import Turn
from pointsman.classifier.catalog import Catalog, profile_names
from pointsman.classifier.commands import main
from pointsman.classifier.request import read_request

from ..claude_code import ClaudeCode
from ..fake_provider import FakeProvider
from ..test_claude_code import PROMPT, reply_to
from .agents import claude_executable

#: What a shell holds before, and what of it a client may see after.
SHELL = {"ANTHROPIC_API_KEY": "sk-providers-own", "LITELLM_MASTER_KEY": "sk-gateways", "PATH": os.defpath}
LITELLM = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:4000", "ANTHROPIC_AUTH_TOKEN": "sk-gateways"}
CLASSIC = {"ANTHROPIC_MODEL": "claude-opus-4-5", "MAX_THINKING_TOKENS": "0"}
EXPECTED = {
    "anthropic-dashscope": LITELLM,
    "anthropic-ollama": LITELLM | CLASSIC,
    "kimi": LITELLM | CLASSIC,
    "openrouter-litellm": LITELLM,
    "codex-azure": {
        "OPENAI_BASE_URL": "http://127.0.0.1:4000/v1",
        "OPENAI_API_KEY": "sk-gateways",
        "ANTHROPIC_API_KEY": "sk-providers-own",
    },
}
READS = {
    "anthropic-dashscope": "ANTHROPIC_API_KEY, DASHSCOPE_API_KEY",
    "anthropic-ollama": "ANTHROPIC_API_KEY, OLLAMA_API_KEY",
    "kimi": "ANTHROPIC_API_KEY, MOONSHOT_API_KEY",
    "openrouter-litellm": "OPENROUTER_API_KEY",
    "codex-azure": "AZURE_API_KEY",
}


@pytest.fixture
def printed(capsys):
    """Run the command."""

    def run(*arguments):
        assert main(["env", *arguments]) == 0
        return capsys.readouterr().out

    return run


def evaluated(text):
    """The environment after `eval "$(pointsman env ...)"`, without what the shell adds."""
    script = f"eval {shlex.quote(text)}; env -0"
    out = subprocess.run(["sh", "-euc", script], env=SHELL, capture_output=True, text=True, check=True).stdout
    found = dict(line.split("=", 1) for line in out.split("\0") if line)
    return {name: value for name, value in found.items() if name not in {"PATH", "PWD", "LITELLM_MASTER_KEY", "_"}}


def test_every_profile_is_expected_here():
    assert set(EXPECTED) == set(READS) == set(profile_names())


@pytest.mark.parametrize("profile", EXPECTED)
def test_environment_of_a_profile(printed, profile):
    text = printed(profile)
    assert evaluated(text) == EXPECTED[profile]
    assert text.startswith(f"# {profile} through litellm, which reads {READS[profile]} where it runs\n")


def test_ollama_is_told_the_window_that_the_catalogue_counts_on(printed):
    window = Catalog.load("anthropic-ollama").by_name["qwen3-coder"].context
    assert f"OLLAMA_CONTEXT_LENGTH={window} ollama serve" in printed("anthropic-ollama")


def test_gateway_and_address_may_be_named(printed):
    text = printed("anthropic-dashscope", "--gateway", "nginx", "--base-url", "http://10.0.0.9:8080")
    assert evaluated(text) == {
        "ANTHROPIC_BASE_URL": "http://10.0.0.9:8080",
        "ANTHROPIC_API_KEY": "sk-providers-own",
    }
    assert "which reads ANTHROPIC_API_KEY where it runs" in text


def test_catalogue_of_ones_own_is_taken(printed, tmp_path):
    own = tmp_path / "own.yaml"
    text = "library: library\nmodels: [{like: claude-opus-5-5}, {like: kimi-k2.5}]\n"
    roles = {"careful": ["claude-opus-5-5"], "cheap": ["kimi-k2.5"], "background": "kimi-k2.5", "default": "kimi-k2.5"}
    own.write_text(f"{text}roles: {json.dumps(roles)}\n")
    assert "# kimi-k2.5 will not be chosen: Claude Code writes system messages inside" in printed(str(own))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["no-such"], "expected a path, or one of anthropic-dashscope"),
        (["codex-azure", "--gateway", "nginx"], "nginx reaches no model of codex-azure"),
    ],
)
def test_what_cannot_be_is_refused(capsys, arguments, problem):
    assert main(["env", *arguments]) == 2
    assert problem in capsys.readouterr().err


def needs_of_claude_code(folder, environment):
    """What the real client's first request asks of a model, under this environment."""
    provider = FakeProvider(reply_to)
    claude = ClaudeCode.on(claude_executable(), folder, provider.serving)
    (claude.home / ".claude").mkdir(exist_ok=True)
    # The harness says where to ask and with which key; the rest comes as people set it for good.
    kept = {name: value for name, value in environment.items() if name in CLASSIC}
    (claude.home / ".claude" / "settings.json").write_text(json.dumps({"env": kept}))
    done = claude.print_answer(PROMPT)
    assert done.returncode == 0, (provider.errors, done.stderr)
    first = provider.messages[0]
    return read_request(first.body, first.headers, path=first.path)


def refused_by(catalog: Catalog, turn: Turn):
    return {model.name for model in catalog.weighed if model.obstacle(turn.needs, turn.context_tokens, 1_000)}


@pytest.mark.client
@pytest.mark.timeout(400)
@pytest.mark.parametrize("profile", ["anthropic-dashscope", "anthropic-ollama", "kimi", "openrouter-litellm"])
def test_claude_code_writes_bodies_that_the_cheap_models_take(printed, tmp_path, profile):
    catalog = Catalog.load(profile)
    turn = needs_of_claude_code(tmp_path, evaluated(printed(profile)))
    assert catalog.roles["cheap"][0] not in refused_by(catalog, turn)
    if EXPECTED[profile] == LITELLM | CLASSIC:
        assert refused_by(catalog, turn) == set()
        assert not {"thinking_enabled", "thinking_adaptive"} & turn.needs


@pytest.mark.client
@pytest.mark.timeout(400)
def test_without_it_the_local_model_would_never_be_chosen(tmp_path):
    turn = needs_of_claude_code(tmp_path, {})
    assert "qwen3-coder" in refused_by(Catalog.load("anthropic-ollama"), turn)
