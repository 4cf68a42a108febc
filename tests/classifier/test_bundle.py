"""A bundle is verified before it is used, and refused with words that help."""

import json

import pytest

from pointsman.classifier.bundle import FILES, FORMAT, load_bundle
from pointsman.classifier.errors import BundleCorruptError, BundleNotFoundError, BundleVersionError


def edit_manifest(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_tiny_bundle_of_format_1_loads(tiny_bundle):
    assert load_bundle(tiny_bundle).manifest.version == "tiny-1"


def test_shipped_bundle_loads_and_is_small():
    bundle = load_bundle()
    assert sum(file.stat().st_size for file in bundle.path.iterdir()) <= 30_000_000


def test_shipped_bundle_holds_only_its_files():
    bundle = load_bundle()
    assert {file.name for file in bundle.path.iterdir()} == {"manifest.json", *FILES}


def test_missing_bundle_says_what_to_do(tmp_path):
    with pytest.raises(BundleNotFoundError, match=r"manifest\.json is missing.*pointsman train"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_changed_file_is_refused(tiny_bundle_copy, name):
    with (tiny_bundle_copy / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleCorruptError, match=f"{name}: sha256 is .* changed after export"):
        load_bundle(tiny_bundle_copy)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused(tiny_bundle_copy, name):
    (tiny_bundle_copy / name).unlink()
    with pytest.raises(BundleCorruptError, match=f"has no {name}"):
        load_bundle(tiny_bundle_copy)


def test_newer_format_is_refused_with_both_ways_out(tiny_bundle_copy):
    edit_manifest(tiny_bundle_copy, format=FORMAT + 1)
    with pytest.raises(BundleVersionError, match=r"has format 3; this code reads 1 to 2\. Upgrade"):
        load_bundle(tiny_bundle_copy)


def test_other_labels_are_refused(tiny_bundle_copy):
    heads = json.loads((tiny_bundle_copy / "manifest.json").read_text())["heads"]
    edit_manifest(tiny_bundle_copy, heads=heads | {"risk": ["low", "high"]})
    with pytest.raises(BundleVersionError, match="head 'risk' has labels"):
        load_bundle(tiny_bundle_copy)


@pytest.mark.parametrize("temperature", [0, -1, float("inf"), float("nan")])
def test_senseless_temperature_is_refused(tiny_bundle_copy, temperature):
    heads = {"category": 1.0, "risk": temperature, "scope": 1.0, "turn": 1.0}
    edit_manifest(tiny_bundle_copy, temperatures=heads)
    with pytest.raises(BundleCorruptError, match="temperature of 'risk' must be finite and > 0"):
        load_bundle(tiny_bundle_copy)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 1}', '{"format": "x"}', "not json"])
def test_broken_manifest_is_refused(tiny_bundle_copy, content):
    (tiny_bundle_copy / "manifest.json").write_text(content)
    with pytest.raises(BundleCorruptError, match="Fetch the bundle again"):
        load_bundle(tiny_bundle_copy)
