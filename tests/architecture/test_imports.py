"""The packages depend on each other in one direction, and the base install stays light."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "sklearn", "fastapi", "mlflow", "transformers", "sqlalchemy", "scipy", "onnx")
FORBIDDEN = {
    "classifier": ("pointsman.serving", "pointsman.training", *HEAVY),
    "serving": ("pointsman.training", "torch", "sklearn", "transformers"),
    "training": ("pointsman.serving", "fastapi"),
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_go_one_way(package):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in (ROOT / package).rglob("*.py")
        for name in imported(path)
        if any(name == banned or name.startswith(banned + ".") for banned in FORBIDDEN[package])
    ]
    assert wrong == []


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_deciding_in_a_clean_process_loads_nothing_heavy():
    code = (
        "import sys; from pointsman.classifier import Router; "
        "Router.load().decide({'prompt': 'hello'}); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    result = run(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_command_line_loads_nothing_heavy_before_a_command_runs():
    code = (
        "import sys; from pointsman.classifier.commands import build_parser; build_parser(); "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    result = run(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_client_in_a_clean_process_loads_no_server():
    heavy = (*HEAVY, "onnxruntime", "uvicorn", "pydantic")
    code = f"import sys, pointsman.client; print([name for name in {heavy} if name in sys.modules])"
    result = run(code)
    assert result.stdout.strip() == "[]", result.stderr


def test_importing_does_no_work():
    code = (
        "import sys, os; before = dict(os.environ); import pointsman.classifier, pointsman.training; "
        "print(dict(os.environ) == before, 'onnxruntime' in sys.modules)"
    )
    assert run(code).stdout.split()[0] == "True"


@pytest.mark.parametrize("package", ["classifier", "serving", "training"])
def test_every_module_imports(package):
    module = importlib.import_module(f"pointsman.{package}")
    names = [info.name for info in pkgutil.walk_packages(module.__path__, f"pointsman.{package}.")]
    for name in names:
        if not name.endswith((".env", ".__main__")):  # run by Alembic and by python -m
            importlib.import_module(name)
    assert names


def test_public_names_are_few_and_sorted():
    import pointsman.classifier as classifier

    assert len(classifier.__all__) <= 12
    assert classifier.__all__ == sorted(classifier.__all__)
    assert all(hasattr(classifier, name) for name in classifier.__all__)
