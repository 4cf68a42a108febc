"""What the README shows is what happens."""

import re
import tomllib
from pathlib import Path

import pytest

from pointsman.classifier import Router
from pointsman.classifier.commands import build_parser
from pointsman.serving.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def settings_table():
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "a file in the user's data folder" if field.default_factory else field.default
        shown = "" if default is None else f"`{default}`" if not field.default_factory else default
        lines.append(f"| `POINTSMAN_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(lines)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.strip().splitlines()[0])
def test_python_runs(code, capsys):
    exec(compile(code, "README.md", "exec"), {})
    assert "claude" in capsys.readouterr().out


def test_shell_commands_exist():
    commands = set(re.findall(r"pointsman (\w+)", "\n".join(blocks("bash"))))
    known = build_parser()._subparsers._group_actions[0].choices
    assert commands
    assert commands <= set(known)


def test_make_targets_exist():
    targets = set(re.findall(r"make (\w+)", "\n".join(blocks("bash"))))
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, flags=re.M) for target in targets)


def test_settings_table_is_the_one_of_the_code():
    shown = README.split("<!-- settings: generated from serving/settings.py -->\n")[1].split("\n<!-- /settings -->")[0]
    assert shown == settings_table()


def test_version_stands_in_the_changelog():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("prompt", "careful"),
    [("Fix the race condition in our payment webhook handler", True), ("fix the typo in the README", False)],
)
def test_the_two_prompts_everyone_tries(prompt, careful):
    router = Router.load()
    assert (router.decide({"prompt": prompt}).model in router.catalog.roles["careful"]) is careful


def test_a_careful_task_stays_careful_when_it_goes_on():
    router, prompt = Router.load(), "Fix the race condition in our payment webhook handler"
    first = router.decide({"prompt": prompt, "session_id": "s1"})
    context = [{"role": "user", "text": prompt}, {"role": "assistant", "text": "Found it. Shall I go on?"}]
    then = router.decide({"prompt": "yes, go on", "session_id": "s1", "context": context})
    assert then.model == first.model
