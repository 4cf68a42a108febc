"""The npm package is whole: what `npm pack` makes, installed in an empty folder, runs the examples of its README."""

import json
import re
import subprocess

import pytest

from pointsman.classifier.commands import main

from ..gateways.processes import tool
from ..gateways.service import running_service
from .conftest import SOURCE

pytestmark = pytest.mark.timeout(700)

README = (SOURCE / "README.md").read_text(encoding="utf-8")
ASK, DECIDE = re.findall(r"```js\n(.*?)```", README, flags=re.S)
GIVEN = 'const body = { prompt: "fix the typo in the README" }, request = { headers: { "session-id": "s-1" } };\n'


def run(folder, name, code):
    (folder / name).write_text(code)
    done = subprocess.run([tool("node"), name], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def as_esm(code, told):
    return f"{code}\nconsole.log({told});"


def as_cjs(code, told):
    required = re.sub(r'import (\{.*\}) from ("[^"]+");', r"const \1 = require(\2);", code)
    return f"(async () => {{\n{required}\nconsole.log({told});\n}})();"


FORMS = pytest.mark.parametrize(
    ("name", "form"), [("example.mjs", as_esm), ("example.cjs", as_cjs)], ids=["ESM", "CJS"]
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The tarball, and the files in it."""
    folder = tmp_path_factory.mktemp("packed")
    command = [tool("npm"), "pack", "--json", "--pack-destination", str(folder), str(SOURCE)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    (made,) = json.loads(done.stdout)
    return folder / made["filename"], {file["path"] for file in made["files"]}


@pytest.fixture(scope="module")
def installed(packed, tmp_path_factory):
    """An empty folder that the tarball was installed in, and nothing else."""
    folder = tmp_path_factory.mktemp("empty")
    command = [tool("npm"), "install", "--offline", "--no-audit", "--no-fund", str(packed[0])]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with running_service(tmp_path_factory.mktemp("service") / "records.sqlite") as server:
        yield server


def test_tarball_holds_every_file_of_the_folder(packed):
    there = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file()}
    assert packed[1] == there


@FORMS
def test_example_asks_the_service(installed, service, name, form):
    code = ASK.replace("http://127.0.0.1:8095", f"http://127.0.0.1:{service.address[1]}")
    # The machine is shared: the answer should not be late.
    code = code.replace("deadlineMs: 250", "deadlineMs: 20000")
    assert run(installed, name, GIVEN + form(code, "model, failure")) == ["claude-haiku-5-5", "null"]


@FORMS
def test_example_decides_in_its_own_process(project, name, form):
    if not (project / "pointsman-pack").exists():
        assert main(["pack", "--output", str(project / "pointsman-pack")]) == 0
    model, risk = run(project, name, form(DECIDE, "model, risk.label"))
    assert (model.partition("-")[0], risk) == ("claude", "low")
