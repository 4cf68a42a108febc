"""The champion of a real MLflow registry, taken up by a service that has no mlflow."""

import importlib.util
import json
import shutil
import tempfile
import warnings
from pathlib import Path

import pytest

from pointsman.classifier.errors import BundleError
from pointsman.classifier.signature import SIGNATURE
from pointsman.serving.errors import SettingsError
from pointsman.serving.live_model import open_router
from pointsman.serving.model_source import ModelSource
from pointsman.serving.registry_mirror import RegistryMirror
from pointsman.serving.settings import load_settings

from .bundles import variant

CHAMPION = "models:/pointsman@champion"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("a registry needs the training extra (mlflow)")
    from tests.training.mlflow_server import running_mlflow

    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NO_PROXY", "127.0.0.1")
        with running_mlflow(f"sqlite:///{folder / 'mlflow.db'}", folder) as url:
            yield url


@pytest.fixture
def register(server, tmp_path):
    """Register bundles as `pointsman retrain` does, each the champion; the tag may lie."""
    from mlflow import MlflowClient

    def register(bundle, *, digest=None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = MlflowClient(server)
            run = client.create_run("0").info.run_id
            client.log_artifacts(run, str(bundle), "bundle")
            if not client.search_registered_models("name = 'pointsman'"):
                client.create_registered_model("pointsman")
            tags = {"bundle_digest": digest or _digest(bundle)}
            made = client.create_model_version("pointsman", f"runs:/{run}/bundle", run, tags=tags)
            client.set_registered_model_alias("pointsman", "champion", made.version)

    return register


def _digest(bundle):
    from pointsman.classifier.bundle import load_bundle

    return load_bundle(bundle).digest


@pytest.fixture
def settings(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return load_settings(bundle=CHAMPION, registry_url=server)


def test_champion_of_the_registry_serves_and_its_successor_is_taken_up(settings, register, tmp_path, tiny_bundle):
    register(tiny_bundle)
    assert open_router(settings).model_version == "tiny-1"
    register(variant(tiny_bundle, tmp_path / "b2", "tiny-2"))
    named = ModelSource.of(settings).champion()
    assert json.loads((named.folder / "manifest.json").read_text())["version"] == "tiny-2"


def test_signature_comes_along_and_after(server, register, tmp_path, tiny_bundle):
    register(tiny_bundle)
    mirror = RegistryMirror(server, CHAMPION, tmp_path, wants_signature=True)
    mirror.refresh()
    copy = mirror.folder / "bundles" / _digest(tiny_bundle)
    assert not (copy / SIGNATURE).exists()
    sign_later(server, b"first")
    mirror.refresh()
    assert (copy / SIGNATURE).read_bytes() == b"first"
    second = variant(tiny_bundle, tmp_path / "b2", "tiny-2")
    (second / SIGNATURE).write_bytes(b"second")
    register(second)
    mirror.refresh()
    assert (mirror.folder / "bundles" / _digest(second) / SIGNATURE).read_bytes() == b"second"


def sign_later(server, signature):
    """Put a signature beside the champion's bundle in the registry."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (Path(folder) / SIGNATURE).write_bytes(signature)
        client = MlflowClient(server)
        run = client.get_model_version_by_alias("pointsman", "champion").run_id
        client.log_artifact(run, f"{folder}/{SIGNATURE}", "bundle")


def test_bundle_that_is_not_the_tagged_one_is_refused(settings, register, tmp_path, tiny_bundle):
    register(tiny_bundle)
    source = ModelSource.of(settings)
    before = source.champion()
    register(variant(tiny_bundle, tmp_path / "b2", "tiny-2"), digest="0" * 64)
    with pytest.raises(BundleError, match="its tag says 000000000000"):
        source.champion()
    assert open_router(settings).assessor.bundle.digest == before.digest


def test_registry_that_is_away_lets_the_mirror_serve(settings, register, tiny_bundle, tmp_path):
    register(tiny_bundle)
    mirror = ModelSource.of(settings)._mirror
    mirror.refresh()
    away = RegistryMirror("http://user:hunter2@127.0.0.1:9", CHAMPION, tmp_path)
    with pytest.raises(BundleError, match=r"registry http://127\.0\.0\.1:9 cannot be read") as raised:
        away.refresh_if_possible()
    assert "hunter2" not in str(raised.value)
    shutil.copytree(mirror.folder, away.folder)
    away.refresh_if_possible()
    assert ModelSource(away.folder, away).usable().name == _digest(tiny_bundle)


def test_alias_that_nobody_set_is_said_so(server, tmp_path):
    with pytest.raises(BundleError, match=r"answers 40\d for models:/pointsman@nobody"):
        RegistryMirror(server, "models:/pointsman@nobody", tmp_path).refresh()


def test_registry_without_an_address_is_refused():
    with pytest.raises(SettingsError, match="POINTSMAN_REGISTRY_URL is unset"):
        load_settings(bundle=CHAMPION)


def test_name_without_an_alias_is_refused(tmp_path):
    with pytest.raises(BundleError, match="expected models:/NAME@ALIAS"):
        RegistryMirror("http://h", "models:/pointsman/3", tmp_path)
