"""The whole loop on a tiny bundle: gathered, refitted, judged, registered, put where servers try it."""

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
from filelock import FileLock

from pointsman.classifier.aliases import AliasFolder
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.errors import InputError
from pointsman.training.config import ContestConfig, HeadsConfig, TrainConfig
from pointsman.training.registry import REGISTERED, local_store
from pointsman.training.retrain import RetrainConfig, retrain
from pointsman.training.snapshot import Sources

pytestmark = pytest.mark.training

#: Timings of a graph that takes a fifth of a millisecond say nothing.
UNTIMED = ContestConfig(n_draws=50, max_slowdown=1e9)


@pytest.fixture(scope="module")
def files(labelled_file, tmp_path_factory):
    """Turns to learn from, and a gold set of two groups."""
    folder = tmp_path_factory.mktemp("rows")
    rows = labelled_file.read_text().splitlines()
    gold = folder / "gold.jsonl"
    gold.write_text("\n".join(row for row in rows if '"g0"' in row or '"g1"' in row))
    data = folder / "turns.jsonl"
    data.write_text("\n".join(rows))
    return data, gold


def config_in(folder, files, tiny_bundle, **changes):
    data, gold = files
    config = RetrainConfig(
        mode="heads",
        sources=Sources(data=(data,)),
        train=TrainConfig(
            data=(), output=folder, calibration_share=0.3, heads=HeadsConfig(inverse_regularisation=(1.0,))
        ),
        work=folder / "work",
        aliases=folder / "aliases",
        champion=tiny_bundle,
        gold=(gold,),
        contest=UNTIMED,
    )
    return replace(config, **changes)


@pytest.fixture(scope="module")
def tracked_run(tmp_path_factory, files, tiny_bundle):
    """One retraining of the heads, tracked in a local store."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("tracked")
    config = config_in(folder, files, tiny_bundle)
    config = replace(config, train=replace(config.train, tracking=str(folder / "mlruns")))
    with warnings.catch_warnings():
        # mlflow's own store uses parts of SQLAlchemy that are on their way out.
        warnings.simplefilter("ignore")
        done = retrain(config)
        client = MlflowClient(local_store(folder / "mlruns"))
        found = client.get_run(done.run_id)
        version = client.get_model_version_by_alias(REGISTERED, "challenger")
        names = {item.path for item in client.list_artifacts(done.run_id)}
    return config, done, found, version, names


def test_bundle_is_whole_and_keeps_the_champions_encoder(tracked_run, tiny_bundle):
    _, done, *_ = tracked_run
    manifest = load_bundle(done.bundle.path).manifest
    assert manifest.training_data["encoder_of"]["digest"] == load_bundle(tiny_bundle).digest
    assert manifest.version.startswith("heads-")


def test_one_run_tells_the_story(tracked_run):
    _, _, found, _, names = tracked_run
    assert found.info.status == "FINISHED"
    assert {"bundle", "snapshot.json", "command.json", "evaluation.json", "verdict.json", "verdict.md"} <= names


def test_bundle_is_registered_as_challenger(tracked_run):
    _, done, _, version, _ = tracked_run
    assert (version.run_id, version.tags["bundle_digest"]) == (done.run_id, done.bundle.digest)
    assert version.tags["verdict"] in {"promote", "keep"}
    assert done.registered == str(version.version)


def test_same_retraining_is_not_done_twice(tracked_run):
    config, done, *_ = tracked_run
    again = retrain(config)
    assert (again.is_new, again.bundle.digest) == (False, done.bundle.digest)


def test_snapshot_is_known_by_its_digest_and_counts(tracked_run, files):
    _, done, *_ = tracked_run
    summary = json.loads((done.snapshot.folder / "snapshot.json").read_text())
    assert summary["rows"] == {"train": 120, "recent": 0}
    assert summary["counts"]["taken from turns.jsonl"] == 120
    assert "turns.jsonl" in summary["files"]


def test_second_retraining_in_the_same_folder_is_locked_out(tmp_path, files, tiny_bundle):
    config = config_in(tmp_path, files, tiny_bundle)
    config.work.mkdir()
    holder = "import sys, filelock; held = filelock.FileLock(sys.argv[1]).acquire(); print('held', flush=True); input()"
    command = [sys.executable, "-c", holder, str(config.work / "retrain.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=r"another process retrains in .*; one at a time may"):
            retrain(config)
        other.kill()
        other.wait()
    with FileLock(config.work / "retrain.lock", timeout=0):
        pass  # freed by the death of its holder
    shutil.rmtree(config.work)


def test_first_champion_is_the_bundle_that_served_before(tracked_run, tiny_bundle):
    config, *_ = tracked_run
    champion = AliasFolder(config.aliases).champion()
    assert champion.pointer.digest == load_bundle(tiny_bundle).digest
