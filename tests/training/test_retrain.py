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
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.commands import main
from pointsman.classifier.errors import InputError
from pointsman.classifier.text import Text
from pointsman.training.config import ContestConfig, EncoderConfig, FinetuneConfig, HeadsConfig, TrainConfig
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


def test_turns_that_all_have_one_label_of_a_head_are_learned_from(tmp_path, files, tiny_bundle):
    from mlflow import MlflowClient

    data = tmp_path / "new.jsonl"
    rows = [json.loads(line) | {"turn": "new"} for line in files[0].read_text().splitlines()]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = config_in(tmp_path, files, tiny_bundle, sources=Sources(data=(data,)))
    config = replace(config, train=replace(config.train, tracking=str(tmp_path / "mlruns")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = retrain(config)
        kept = MlflowClient(local_store(tmp_path / "mlruns")).list_artifacts(done.run_id, "heads")
    assert {item.path for item in kept} == {f"heads/{head}.joblib" for head in ("category", "risk", "scope")}
    [assessment] = Assessor.load(done.bundle.path).assess_texts([Text("fix the crash", ())])
    assert assessment.turn.label == "new"


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


def test_interrupted_retraining_goes_on_in_the_same_run(tmp_path, files, tiny_bundle, monkeypatch):
    from mlflow import MlflowClient

    config = config_in(tmp_path, files, tiny_bundle)
    config = replace(config, train=replace(config.train, tracking=str(tmp_path / "mlruns")))

    def stop(*_, **__):
        raise KeyboardInterrupt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with monkeypatch.context() as patched:
            patched.setattr("pointsman.training.retrain.contest", stop)
            with pytest.raises(KeyboardInterrupt):
                retrain(config)
        (state,) = (json.loads(path.read_text()) for path in config.work.glob("runs/*/state.json"))
        fitted = [path.stat().st_mtime_ns for path in config.work.glob("runs/*/bundle/manifest.json")]
        done = retrain(config)
        runs = MlflowClient(local_store(tmp_path / "mlruns")).search_runs(["1"])
    assert (state["is_fitted"], state["run_id"]) == (True, done.run_id)
    assert [path.stat().st_mtime_ns for path in config.work.glob("runs/*/bundle/manifest.json")] == fitted
    assert [(run.info.run_id, run.info.status) for run in runs] == [(done.run_id, "FINISHED")]


def test_full_retraining_makes_an_encoder_of_its_own(tmp_path, files, tiny_bundle, tiny_encoder):
    config = config_in(tmp_path, files, tiny_bundle, mode="full")
    encoder = EncoderConfig(source=str(tiny_encoder), sha256=None, name="tiny", licence="Apache-2.0")
    tuned = FinetuneConfig(epochs=1, batch_size=8, learning_rate=1e-3, head_factor=3.0, n_threads=1)
    done = retrain(replace(config, train=replace(config.train, encoder=encoder, finetune=tuned)))
    assert "encoder_of" not in done.bundle.manifest.training_data
    assert done.bundle.manifest.metrics["parity"]["torch_to_fp32_max_difference"] <= 1e-4
    assert not list(config.work.glob("runs/*/checkpoint.pt"))


def test_challenger_that_passes_is_put_where_servers_try_it(tmp_path, files, tiny_bundle):
    easy = replace(UNTIMED, max_recall_drop=1, max_missed_rise=1, care_certainty=2, max_ece_rise=1, gain_certainty=-1)
    config = config_in(tmp_path, files, tiny_bundle, contest=easy, shadow_share=0.5)
    config = replace(config, train=replace(config.train, heads=HeadsConfig(inverse_regularisation=(100.0,))))
    done = retrain(config)
    assert done.judgement.promotes, done.judgement.reason
    challenger = AliasFolder(config.aliases).challenger()
    assert (challenger.pointer.digest, challenger.shadow_share) == (done.bundle.digest, 0.5)


def test_refused_challenger_is_not_tried(tmp_path, files, tiny_bundle):
    config = config_in(tmp_path, files, tiny_bundle, contest=replace(UNTIMED, max_growth=0.0))
    done = retrain(config)
    assert not done.judgement.promotes
    assert "size: " in done.judgement.reason
    assert AliasFolder(config.aliases).challenger() is None


def test_gold_groups_are_kept_out_of_training(tracked_run):
    _, done, *_ = tracked_run
    assert sum(done.bundle.manifest.training_data["rows"].values()) == 100


def test_gold_sets_of_one_name_are_refused_before_anything_is_trained(tmp_path, files, tiny_bundle):
    other = tmp_path / "other" / files[1].name
    other.parent.mkdir()
    other.write_bytes(files[1].read_bytes())
    with pytest.raises(InputError, match="two gold sets named 'gold'; expected names that differ"):
        retrain(config_in(tmp_path, files, tiny_bundle, gold=(files[1], other)))
    assert not (tmp_path / "work" / "runs").exists()


@pytest.fixture
def passed(tmp_path, files, tiny_bundle, monkeypatch):
    """Arguments of a retraining whose challenger passes every gate."""
    easy = ContestConfig(
        n_draws=20,
        max_slowdown=1e9,
        max_recall_drop=1,
        max_missed_rise=1,
        care_certainty=2,
        max_ece_rise=1,
        gain_certainty=-1,
    )
    heads = HeadsConfig(inverse_regularisation=(100.0,))

    def config_of(args):
        config = config_in(tmp_path, files, tiny_bundle, contest=easy, shadow_share=args.shadow)
        return replace(config, train=replace(config.train, heads=heads))

    monkeypatch.setattr("pointsman.training.retrain_commands._retrain_config", config_of)
    return ["retrain", "--no-track", "--aliases", str(tmp_path / "aliases"), "--work", str(tmp_path / "work")]


def test_challenger_whose_promotion_was_cut_off_is_promoted_by_the_next_run(passed, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        msg = "the registry refuses"
        raise InputError(msg)

    with monkeypatch.context() as patched:
        patched.setattr("pointsman.training.promotion.promote", refuse)
        assert main([*passed, "--promote"]) == 2
    assert main(passed) == 0
    assert "to promote it: pointsman promote" in capsys.readouterr().out
    assert main([*passed, "--promote"]) == 0
    champion = AliasFolder(tmp_path / "aliases").champion()
    assert champion.pointer.version.startswith("heads-")


def test_bundle_that_was_rolled_back_is_not_promoted_again(passed, tmp_path, capsys):
    aliases = ["--aliases", str(tmp_path / "aliases")]
    assert main([*passed, "--promote"]) == 0
    assert main(["rollback", "--no-track", *aliases]) == 0
    served = AliasFolder(tmp_path / "aliases").champion()
    assert main([*passed, "--promote"]) == 0
    (bundle,) = (tmp_path / "work" / "runs").glob("*/bundle")
    assert main(["canary", "--bundle", str(bundle), *aliases]) == 0
    assert main([*passed, "--promote"]) == 0
    assert capsys.readouterr().out.count("nothing is new") == 2
    assert AliasFolder(tmp_path / "aliases").champion() == served


@pytest.mark.parametrize("option", ["--shadow", "--recent-share"])
@pytest.mark.parametrize("share", ["2", "-0.1", "nan"])
def test_share_that_is_none_is_refused_before_anything_is_trained(tmp_path, capsys, option, share):
    with pytest.raises(SystemExit, match="2"):
        main(["retrain", f"{option}={share}", "--work", str(tmp_path / "work")])
    assert f"argument {option}: found {share}, expected a share from 0 to 1" in capsys.readouterr().err


def test_command_tells_the_verdict_by_its_exit_status(tmp_path, files, tiny_bundle, capsys):
    data, gold = files
    arguments = ["retrain", "--data", str(data), "--gold", str(gold), "--champion", str(tiny_bundle), "--no-track"]
    arguments += ["--work", str(tmp_path / "work"), "--aliases", str(tmp_path / "aliases"), "--version", "mine-2"]
    status = main(arguments)
    out = capsys.readouterr().out
    assert "mine-2 (" in out
    assert status == (0 if "verdict.md: promote" in out else 3)
    assert main(arguments) == status
    assert "nothing is new since mine-2 was trained" in capsys.readouterr().out


def test_risk_bounds_are_fitted_on_the_files_named_as_traffic(tmp_path, files, tiny_bundle):
    rows = [(int(json.loads(row)["group"][1:]), row) for row in files[0].read_text().splitlines()]
    live, written = tmp_path / "live.jsonl", tmp_path / "written.jsonl"
    live.write_text("\n".join(row for group, row in rows if group < 6))
    written.write_text("\n".join(row for group, row in rows if group >= 6))
    config = config_in(tmp_path, files, tiny_bundle, sources=Sources(data=(live, written), traffic=(live,)))
    found = retrain(config).bundle.manifest
    # Of g4 and g6, which are calibrated on, one is in the file.
    assert found.training_data["rows"]["calibration"] == 20
    assert {bound.n_turns for bound in found.risk_bounds} == {10}


def test_traffic_without_a_calibration_row_is_refused(tmp_path, files, tiny_bundle, capsys):
    live = tmp_path / "live.jsonl"
    live.write_text("\n".join(row for row in files[0].read_text().splitlines() if '"g0"' in row))
    arguments = ["--champion", str(tiny_bundle), "--no-track", "--aliases", str(tmp_path / "aliases")]
    arguments += ["--work", str(tmp_path / "work"), "--traffic", str(live)]
    assert main(["retrain", "--data", str(files[0]), str(live), *arguments]) == 2
    assert "live.jsonl: found no calibration row in them; expected files of --data" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--layers", "--epochs", "--encoder"])
def test_option_of_the_encoder_is_refused_without_full(tmp_path, capsys, option):
    assert main(["retrain", option, "2", "--work", str(tmp_path)]) == 2
    assert f"{option} is about the encoder, which --heads keeps. Add --full." in capsys.readouterr().err


def test_interrupted_command_says_how_to_go_on(tmp_path, files, tiny_bundle, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("pointsman.training.retrain.contest", stop)
    arguments = ["--champion", str(tiny_bundle), "--no-track", "--aliases", str(tmp_path / "aliases")]
    assert main(["retrain", "--data", str(files[0]), "--work", str(tmp_path / "work"), *arguments]) == 130
    told = f"interrupted; what is done stays in {tmp_path / 'work'}. The same command goes on from there."
    assert told in capsys.readouterr().err
