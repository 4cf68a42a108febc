"""The alias folder: pointers replaced as a whole, bundles complete before they are named."""

import json

import pytest

from pointsman.classifier.aliases import AliasFolder, Challenger
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.errors import BundleCorruptError, BundleNotFoundError, BundleVersionError


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
