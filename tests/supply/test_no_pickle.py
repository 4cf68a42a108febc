"""Nothing that runs in the service turns bytes into objects with code in them."""

import ast
import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from pointsman.classifier.assessor import Assessor
from pointsman.classifier.errors import BundleCorruptError

ROOT = Path(__file__).parents[2]
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "torch"}
UNSAFE_YAML = {"load", "unsafe_load", "full_load", "load_all", "unsafe_load_all", "full_load_all"}
FILES = sorted(path for package in ("classifier", "serving") for path in (ROOT / package).rglob("*.py"))


def problems(tree):
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        yield from (f"imports {name}" for name in names if name.partition(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            yield from problems_of_call(node)


def problems_of_call(call):
    name = ast.unparse(call.func)
    if name in {"eval", "exec", "compile", "__import__"}:
        yield f"calls {name}"
    if name in {"np.load", "numpy.load"} and not any(
        item.arg == "allow_pickle" and getattr(item.value, "value", None) is False for item in call.keywords
    ):
        yield "np.load without allow_pickle=False"
    owner, _, method = name.rpartition(".")
    loader = [ast.unparse(item.value) for item in call.keywords if item.arg == "Loader"]
    if owner == "yaml" and method in UNSAFE_YAML and not (loader and "Safe" in loader[0]):
        yield f"yaml.{method} without a safe loader"


def test_package_has_no_way_to_unpickle():
    assert len(FILES) > 60
    found = [f"{path.relative_to(ROOT)}: {what}" for path in FILES for what in problems(ast.parse(path.read_text()))]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "eval(text)",
    ],
)
def test_search_finds_what_it_is_for(code):
    assert len(list(problems(ast.parse(code)))) == 1


class Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickle_within_a_bundle_with_true_digests_is_not_run(tiny_bundle_copy, tmp_path):
    planted = tmp_path / "planted"
    reference, manifest = tiny_bundle_copy / "reference.npy", tiny_bundle_copy / "manifest.json"
    np.save(reference, np.array([Planted(planted)], dtype=object), allow_pickle=True)
    values = json.loads(manifest.read_text())
    values["digests"]["reference.npy"] = hashlib.sha256(reference.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(values))
    with pytest.raises(BundleCorruptError, match=r"reference\.npy of bundle 'bundle' is no array of numbers"):
        Assessor.load(tiny_bundle_copy)
    assert not planted.exists()
    pickle.loads(pickle.dumps(Planted(planted)))
    assert planted.exists()  # it would have
