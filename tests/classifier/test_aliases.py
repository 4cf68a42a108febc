"""The alias folder: pointers replaced as a whole, bundles complete before they are named."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest

from pointsman.classifier.aliases import AliasFolder, Challenger
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.errors import BundleCorruptError, BundleNotFoundError, BundleVersionError


def variant(source, folder, version):
    shutil.copytree(source, folder)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": version}) + "\n")
    return folder


@pytest.fixture
def folder(tmp_path, tiny_bundle):
    folder = AliasFolder(tmp_path / "aliases")
    folder.promote(folder.add(tiny_bundle), reason="first")
    return folder


def test_champion_is_loaded_wherever_a_bundle_is_named(folder, tiny_bundle):
    assert load_bundle(folder.path).digest == load_bundle(tiny_bundle).digest
    assert Assessor.load(folder.path).version == "tiny-1"


def test_bundle_that_is_there_is_not_copied_again(folder, tiny_bundle):
    pointer = folder.champion().pointer
    before = (folder.bundle(pointer) / "model.onnx").stat().st_ino
    assert folder.add(tiny_bundle).digest == pointer.digest
    assert (folder.bundle(pointer) / "model.onnx").stat().st_ino == before
    assert [path.name for path in (folder.path / "bundles").iterdir()] == [pointer.digest]


def test_folder_without_a_champion_is_no_alias_folder(tmp_path):
    assert AliasFolder.at(tmp_path) is None
    with pytest.raises(BundleNotFoundError, match="no bundle at"):
        load_bundle(tmp_path)


def test_challenger_comes_back_as_it_was_written(folder, tiny_bundle):
    challenger = Challenger(folder.add(tiny_bundle), shadow_share=0.25, canary_share=0.5, canary_keys=("a", "b"))
    folder.challenge(challenger)
    assert folder.challenger() == challenger
    folder.challenge(None)
    assert folder.challenger() is None


def test_one_at_a_time_changes_the_folder(folder):
    with ThreadPoolExecutor() as pool:
        with folder.changing():
            other = pool.submit(AliasFolder(folder.path).challenge, None)
            assert wait([other], timeout=0.3).not_done == {other}
        assert other.result() is None


def test_process_that_dies_frees_the_folder(folder):
    holder = (
        "import sys; from pointsman.classifier.aliases import AliasFolder; held = AliasFolder(sys.argv[1]).changing(); "
        "held.__enter__(); print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", holder, str(folder.path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as other,
        ThreadPoolExecutor() as pool,
    ):
        assert other.stdout.readline() == "held\n"
        change = pool.submit(folder.challenge, None)
        assert wait([change], timeout=0.3).not_done == {change}
        other.kill()
        assert change.result() is None


def test_readers_do_not_wait_for_who_changes_the_folder(folder):
    with ThreadPoolExecutor() as pool, folder.changing():
        assert pool.submit(folder.champion).result(timeout=30).pointer.version == "tiny-1"


def test_bundle_that_was_just_added_outlasts_the_promotion_of_another(folder, tmp_path, tiny_bundle):
    second, third = (variant(tiny_bundle, tmp_path / name, name) for name in ("tiny-2", "tiny-3"))
    os.utime(folder.bundle(folder.add(second)), (0, 0))
    waiting = folder.add(second)  # it is there, and counts as new again
    folder.promote(folder.add(third), reason="test")
    folder.promote(waiting, reason="test")
    assert load_bundle(folder.path).manifest.version == "tiny-2"


def test_bundle_that_the_folder_lacks_is_never_named(folder):
    absent = replace(folder.champion().pointer, digest="0" * 64)
    for name in (lambda: folder.promote(absent, reason="test"), lambda: folder.challenge(Challenger(absent))):
        with pytest.raises(BundleNotFoundError, match=r"'tiny-1' \(000000000000\) is not in"):
            name()
    assert load_bundle(folder.path).manifest.version == "tiny-1"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"digest": "../../elsewhere"}, BundleCorruptError, "expected 64 hexadecimal ones"),
        ({"version": None, "since": None, "digest": None}, BundleCorruptError, "digest has 4 characters"),
        ({"format": 2}, BundleVersionError, "has format 2; this code reads 1"),
    ],
    ids=["digest that leaves the folder", "nothing", "newer format"],
)
def test_pointer_that_makes_no_sense_is_refused(folder, change, error, words):
    file = folder.path / "champion.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(error, match=words):
        folder.champion()


def test_shares_are_from_0_to_1(folder):
    with pytest.raises(ValueError, match="shadow_share is -1"):
        Challenger(folder.champion().pointer, shadow_share=-1)


def test_verdicts_come_newest_first_and_the_oldest_go(folder):
    for n in range(12):
        folder.keep_verdict({"promotes": False, "n": n})
    assert [verdict["n"] for verdict in folder.verdicts()] == list(range(11, 1, -1))
    assert all(verdict["at"] for verdict in folder.verdicts())


def test_verdict_that_cannot_be_read_is_left_out(folder):
    folder.keep_verdict({"n": 1})
    (folder.path / "verdicts" / "9.json").write_text("{")
    assert [verdict["n"] for verdict in folder.verdicts()] == [1]
