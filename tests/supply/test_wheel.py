"""The wheel: everything that runs is in it, and nothing that a checkout alone needs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("classifier", "training", "serving")
#: Read in the repository: documents, pins, and the Python client, which the wheel has under its own name.
LEFT_OUT = ("*.md", "requirements.txt", "clients/python/*", "deploy/.env", "deploy/metrics.key")
#: What the first start of the compose file makes.
SECRETS = ("serving/deploy/.env", "serving/deploy/metrics.key")
#: One of each kind of file that something opens at run time.
NEEDED = (
    "classifier/bundles/default/model.onnx",
    "classifier/policies/balanced.yaml",
    "classifier/profiles/library.yaml",
    "client/py.typed",
    "serving/console/static/console.js",
    "serving/console/static/vendor/htmx.LICENSE",
    "serving/console/static/vendor/uPlot.iife.min.js",
    "serving/console/templates/base.html",
    "serving/gateways/README.md",
    "serving/migrations/env.py",
    "serving/openapi.json",
    "training/guide.md",
    "training/templates/report.html",
)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """The names in a wheel that is built from a copy, so that nothing is left in the checkout."""
    pytest.importorskip("setuptools", reason="the wheel was NOT built: setuptools is not installed")
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    for name in SECRETS:
        (copy / name).write_text("secret")
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


@pytest.mark.parametrize("name", NEEDED)
def test_file_that_is_read_at_run_time_is_in_the_wheel(names, name):
    assert f"pointsman/{name}" in names


def test_every_file_of_the_packages_is_in_the_wheel(names):
    files = [path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    files = [path for path in files if not {"__pycache__", "node_modules"} & set(path.parts)]
    missing = [path for path in files if f"pointsman/{path.as_posix()}" not in names]
    assert [str(path) for path in missing if not any(path.match(pattern) for pattern in LEFT_OUT)] == []


@pytest.mark.parametrize("name", SECRETS)
def test_secret_stays_out_of_wheel_image_and_repository(names, name):
    assert f"pointsman/{name}" not in names
    for ignoring in (".gitignore", "serving/deploy/Dockerfile.dockerignore"):
        assert name in (ROOT / ignoring).read_text().splitlines()


def test_tests_and_data_stay_out_of_the_wheel(names):
    outside = {name for name in names if not name.startswith("pointsman/") and ".dist-info/" not in name}
    assert outside == set()
