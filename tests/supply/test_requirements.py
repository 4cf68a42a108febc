"""What is pinned is what the project asks for, with hashes; and a bill of it can be written."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .advisories import pinned

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = {
    "classifier/requirements.txt": PROJECT["dependencies"],
    "serving/requirements.txt": [
        *PROJECT["dependencies"],
        *(line for extra in ("serving", "signing", "client", "tracing") for line in EXTRAS[extra]),
    ],
}


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_what_the_project_asks_for(lock):
    versions = pinned((ROOT / lock).read_text())
    wrong = [
        line
        for line, wanted in ((line, Requirement(line)) for line in LOCKS[lock])
        if not all(wanted.specifier.contains(version) for version in versions.get(canonicalize_name(wanted.name), [""]))
    ]
    assert wrong == [], f"{lock} is older than pyproject.toml. Run: make lock."


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_hashes_and_no_source_of_its_own(lock):
    text = (ROOT / lock).read_text()
    pins = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert len(pins) > 5
    assert [pin.splitlines()[0] for pin in pins if not re.search(r"--hash=sha256:[0-9a-f]{64}", pin)] == []
    assert "://" not in text
    assert "--index-url" not in text


def test_service_pins_what_the_runtime_pins():
    runtime, service = (pinned((ROOT / lock).read_text()) for lock in LOCKS)
    assert {name: service.get(name) for name in runtime} == runtime


def test_bill_of_materials_names_every_pin(tmp_path):
    lock, output = ROOT / "serving/requirements.txt", tmp_path / "sbom.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(lock), "--output-reproducible"]
    done = subprocess.run([*command, "-o", str(output)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    bill = json.loads(output.read_text())
    assert bill["bomFormat"] == "CycloneDX"
    found = {(canonicalize_name(part["name"]), part["version"]) for part in bill["components"]}
    wanted = {(name, version) for name, versions in pinned(lock.read_text()).items() for version in versions}
    assert wanted <= found
    assert all(part["externalReferences"] for part in bill["components"])
