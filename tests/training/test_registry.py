"""What a training run leaves in its tracking store."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import joblib
import pytest

from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.labels import HEADS
from pointsman.training.config import EncoderConfig, FinetuneConfig, HeadsConfig, TrainConfig
from pointsman.training.registry import Untracked, local_store, tracked
from pointsman.training.train import train

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def run(tiny_encoder, labelled_file, tmp_path_factory):
    """A whole tracked training run on a tiny encoder."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("tracked")
    held_out = folder / "dev.jsonl"
    held_out.write_text("\n".join(row for row in labelled_file.read_text().splitlines() if '"g0"' in row))
    config = TrainConfig(
        data=(labelled_file,),
        output=folder / "bundle",
        version="tiny-1",
        tracking=str(folder / "mlruns"),
        calibration_share=0.3,
        encoder=EncoderConfig(source=str(tiny_encoder), sha256=None, name="tiny", licence="Apache-2.0"),
        finetune=FinetuneConfig(epochs=3, batch_size=4, learning_rate=1e-3, head_factor=3.0, n_threads=1),
        heads=HeadsConfig(inverse_regularisation=(0.1,)),
    )
    with warnings.catch_warnings():
        # mlflow's own store uses parts of SQLAlchemy that are on their way out.
        warnings.simplefilter("ignore")
        bundle, _ = train(config, evaluation=held_out)
        client = MlflowClient(local_store(folder / "mlruns"))
        found = client.get_run(bundle.manifest.metrics["run_id"])
        artifacts = client.download_artifacts(found.info.run_id, "", str(tmp_path_factory.mktemp("artifacts")))
        curve = client.get_metric_history(found.info.run_id, "loss")
    return {"bundle": bundle, "run": found, "artifacts": artifacts, "curve": curve, "config": config}


@pytest.fixture
def artifacts(run):
    return Path(run["artifacts"])


def test_run_is_finished_and_named_after_the_model(run):
    assert (run["run"].info.status, run["run"].info.run_name) == ("FINISHED", "tiny-1")


def test_run_keeps_every_setting(run):
    assert run["run"].data.params["finetune.epochs"] == "3"
    assert run["run"].data.params["risk_bound.confidence"] == "0.9"


def test_run_keeps_the_loss_curve(run):
    steps = [point.step for point in sorted(run["curve"], key=lambda point: point.step)]
    assert len(steps) > 1
    assert steps == sorted(set(steps))


def test_run_keeps_the_figures_that_runs_are_compared_by(run):
    assert {"category.accuracy", "category.ece", "care.auc", "care.recall_at_50"} <= set(run["run"].data.metrics)


def test_run_keeps_data_digests_and_environment(run, artifacts):
    digests = json.loads((artifacts / "data.json").read_text())
    assert digests == run["bundle"].manifest.training_data["digests"]
    assert {"python", "torch", "onnxruntime"} <= set(json.loads((artifacts / "environment.json").read_text()))


@pytest.mark.parametrize("head", HEADS)
def test_run_keeps_plots_of_every_head(artifacts, head):
    for name in ("reliability", "confusion"):
        assert (artifacts / "plots" / f"{name}_{head}.png").read_bytes().startswith(b"\x89PNG")


def test_run_keeps_the_estimators(artifacts):
    estimator = joblib.load(artifacts / "heads" / "risk.joblib")
    assert estimator.coef_.shape[1] == 64


def test_run_keeps_the_bundle_as_it_ships(run, artifacts):
    assert load_bundle(artifacts / "bundle").digest == run["bundle"].digest


def test_run_keeps_the_graph_with_its_signature(run):
    from mlflow import MlflowClient

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = MlflowClient(local_store(run["config"].output.parent / "mlruns"))
        (model,) = client.search_logged_models([run["run"].info.experiment_id])
    assert model.source_run_id == run["run"].info.run_id
    assert model.name == "graph"


def test_no_path_of_the_machine_is_kept(run, artifacts):
    text = (artifacts / "config.json").read_text() + (artifacts / "data.json").read_text()
    assert str(run["config"].output.parent) not in text


def test_untracked_run_touches_no_store(run, tmp_path):
    config = replace(run["config"], tracking=None, output=tmp_path / "bundle")
    with tracked(config) as nothing:
        assert isinstance(nothing, Untracked)
    assert list(tmp_path.iterdir()) == []


def test_failed_run_is_marked_as_failed(run, tmp_path):
    from mlflow import MlflowClient

    config = replace(run["config"], tracking=str(tmp_path / "mlruns"), data=(tmp_path / "missing.jsonl",))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception, match=r"missing\.jsonl: no such file"):
            train(config)
        client = MlflowClient(local_store(tmp_path / "mlruns"))
        experiment = client.get_experiment_by_name("pointsman")
        (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FAILED"
