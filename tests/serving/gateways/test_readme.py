"""What the README of the gateways shows is there and runs."""

import re

import pytest

from pointsman.classifier.commands import build_parser
from pointsman.serving.fail_open import Failure
from pointsman.serving.gateways.litellm import LiteLLMSettings

from . import processes
from .processes import ROOT, SHIPPED

README = (SHIPPED / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_files_that_are_linked_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (SHIPPED / link).exists()] == []


def test_every_shipped_file_is_linked():
    shipped = {
        path.name for path in SHIPPED.iterdir() if path.suffix in {".yaml", ".json", ".cjs", ".js", ".conf", ".lua"}
    }
    assert {name for name in shipped if f"({name})" not in README} == set()


def test_commands_parse():
    parser = build_parser()
    for block in blocks("bash"):
        for command in re.findall(r"pointsman ((?:gateway|env|serve)[^&\n)\"]*)", block):
            assert parser.parse_args(command.split())


def test_python_runs(relay, capsys):
    (code,) = blocks("python")
    # The machine is shared: the answer should not be late.
    code = code.replace("http://127.0.0.1:8095", relay.url).replace('5-5")', '5-5", deadline_ms=20_000)')
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == "claude-haiku-5-5 None {'decided': 1}\n"


@pytest.mark.parametrize("setting", LiteLLMSettings.__dataclass_fields__)
def test_setting_of_litellm_is_explained(setting):
    assert f"`{setting}`" in README


def test_causes_are_listed():
    listed = set(re.findall(r"`(\w+)`", README.split("Causes:")[1].split("\n- ")[0]))
    assert listed == {cause.value for cause in Failure} - {"busy"}


def test_package_data_holds_every_shipped_file():
    import tomllib

    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    matched = {path for pattern in data["pointsman.serving.gateways"] for path in SHIPPED.glob(pattern)}
    assert {path for path in SHIPPED.iterdir() if path.is_file() and path.suffix != ".py"} <= matched


def test_tests_that_are_named_are_there():
    folder = ROOT / "tests" / "serving"
    sources = [*(folder / "gateways").glob("test_*.py"), folder / "test_weave.py"]
    there = {name for path in sources for name in re.findall(r"^def (test_\w+)", path.read_text(), flags=re.M)}
    named = set(re.findall(r"`(test_\w+)`", README))
    assert len(named) > 30
    assert named - there == set()


def test_table_of_rules_names_every_test_of_its_list():
    table = README.split("### Which test shows it")[1].partition("\n## ")[0]
    rows = [line.split("|")[2:] for line in table.splitlines() if line.startswith("|")]
    used = {int(number) for cells in rows for cell in cells for number in re.findall(r"\d+", cell)}
    listed = [int(number) for number in re.findall(r"^(\d+)\. `test_", table, flags=re.M)]
    assert used == set(listed)
    assert listed == list(range(1, len(listed) + 1))


@pytest.mark.parametrize("name", [name for name in vars(processes) if name.endswith("_VERSION")])
def test_versions_that_the_tests_run_are_named(name):
    table = README.partition("\n## ")[0]
    assert f" {vars(processes)[name]} " in table


def test_what_the_lua_files_share_is_the_same():
    parts = [
        re.search(r"(?s)-- From here to the next such line.*ends here\.", (SHIPPED / name).read_text())[0]
        for name in ("envoy.lua", "haproxy.lua")
    ]
    assert parts[0] == parts[1]
