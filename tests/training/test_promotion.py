"""Who may serve, the way back, and what is refused."""

import json
import os
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager

import pytest

from pointsman.classifier.aliases import N_KEPT, AliasFolder
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.commands import main
from pointsman.classifier.errors import BundleCorruptError, BundleError, BundleNotFoundError, InputError
from pointsman.training.promotion import Place, promote, roll_back, try_out


def variant(source, folder, version):
    shutil.copytree(source, folder)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": version}) + "\n")
    return folder


@pytest.fixture
def second(tmp_path, tiny_bundle):
    return variant(tiny_bundle, tmp_path / "second", "tiny-2")


@pytest.fixture
def place(tmp_path, tiny_bundle):
    """An alias folder whose champion is the tiny bundle."""
    folder = AliasFolder(tmp_path / "aliases")
    folder.promote(folder.add(tiny_bundle), reason="first")
    return Place(folder.path)


def verdict_of(folder, champion, challenger, *, promotes=True):
    """A verdict of two bundles."""
    folder.mkdir(exist_ok=True)
    values = {
        "champion": {"digest": load_bundle(champion).digest},
        "challenger": {"digest": load_bundle(challenger).digest},
        "promotes": promotes,
        "reason": "every gate is passed" if promotes else "recall: docs fell",
    }
    (folder / "verdict.json").write_text(json.dumps(values))
    return folder


def test_challenger_with_a_verdict_serves_and_the_reason_is_kept(place, second, tiny_bundle, tmp_path):
    champion = promote(place, verdict=verdict_of(tmp_path / "v", tiny_bundle, second), bundle=second)
    assert (champion.pointer.version, champion.pointer.reason) == ("tiny-2", "every gate is passed")
    assert [pointer.version for pointer in champion.before] == ["tiny-1"]
    assert load_bundle(place.aliases).manifest.version == "tiny-2"


def test_promotion_without_a_verdict_is_refused(place, second):
    with pytest.raises(InputError, match="needs the verdict of a contest"):
        promote(place, bundle=second)


def test_verdict_that_keeps_the_champion_is_refused_with_its_reason(place, second, tiny_bundle, tmp_path):
    verdict = verdict_of(tmp_path / "v", tiny_bundle, second, promotes=False)
    with pytest.raises(InputError, match="keeps the champion: recall: docs fell"):
        promote(place, verdict=verdict, bundle=second)


def test_verdict_against_another_champion_is_refused(place, second, tiny_bundle, tmp_path):
    third = variant(tiny_bundle, tmp_path / "third", "tiny-3")
    verdict = verdict_of(tmp_path / "v", tiny_bundle, second)
    promote(place, bundle=third, force="test")
    with pytest.raises(InputError, match=r"against champion .* now .* serves"):
        promote(place, verdict=verdict, bundle=second)


def test_verdict_about_another_bundle_is_refused(place, second, tiny_bundle, tmp_path):
    third = variant(tiny_bundle, tmp_path / "third", "tiny-3")
    with pytest.raises(InputError, match="the verdict is about bundle"):
        promote(place, verdict=verdict_of(tmp_path / "v", tiny_bundle, second), bundle=third)


def test_forced_promotion_keeps_the_reason(place, second):
    assert (
        promote(place, bundle=second, force="the gold set is wrong").pointer.reason == "forced: the gold set is wrong"
    )


def test_damaged_challenger_is_never_promoted(place, second):
    (second / "card.md").write_text("changed")
    with pytest.raises(BundleError, match="changed after export"):
        promote(place, bundle=second, force="test")
    assert place.folder.champion().pointer.version == "tiny-1"


def test_rollback_lets_the_bundle_before_serve(place, second):
    promote(place, bundle=second, force="test")
    assert roll_back(place, reason="it was slow").pointer.reason == "it was slow"
    assert load_bundle(place.aliases).manifest.version == "tiny-1"


def test_rollback_without_a_bundle_before_is_refused(place):
    with pytest.raises(BundleError, match="nothing to go back to"):
        roll_back(place, reason="test")


def test_rollback_to_a_damaged_bundle_is_refused(place, second):
    promote(place, bundle=second, force="test")
    before = place.folder.champion().before[0]
    (place.folder.bundle(before) / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleCorruptError, match="changed after export"):
        roll_back(place, reason="test")


def test_bundles_that_nothing_names_are_removed(place, tiny_bundle, tmp_path):
    for number in range(2, 10):
        promote(place, bundle=variant(tiny_bundle, tmp_path / f"b{number}", f"tiny-{number}"), force="test")
    bundles = place.aliases / "bundles"
    for bundle in bundles.iterdir():
        os.utime(bundle, (0, 0))
    promote(place, bundle=variant(tiny_bundle, tmp_path / "b10", "tiny-10"), force="test")
    assert len(list(bundles.iterdir())) == N_KEPT + 1


def test_nobody_else_changes_the_folder_while_a_promotion_asks_the_registry(place, second, tmp_path, monkeypatch):
    changes, met = [], []

    @contextmanager
    def slow(*_):
        changes.append(pool.submit(try_out, place, bundle=second))
        met.append(wait(changes, timeout=0.3).done)
        yield

    monkeypatch.setattr("pointsman.training.promotion._in_registry", slow)
    with ThreadPoolExecutor() as pool:
        promote(place, bundle=variant(second, tmp_path / "third", "tiny-3"), force="test")
    assert met == [set()]
    assert changes[0].result() == place.folder.challenger()


def test_bundle_that_went_meanwhile_is_not_promoted(place, second, monkeypatch):
    @contextmanager
    def lose(place, pointer, _):
        shutil.rmtree(place.folder.bundle(pointer))
        yield

    monkeypatch.setattr("pointsman.training.promotion._in_registry", lose)
    with pytest.raises(BundleNotFoundError, match=r"bundle 'tiny-2' \(.*\) is not in .*aliases; expected its files"):
        promote(place, bundle=second, force="test")
    assert load_bundle(place.aliases).manifest.version == "tiny-1"


def test_trial_keeps_what_is_left_out(place, second):
    try_out(place, bundle=second, shadow_share=0.5)
    challenger = try_out(place, canary_share=0.1, canary_keys=("k1",))
    assert (challenger.shadow_share, challenger.canary_share, challenger.canary_keys) == (0.5, 0.1, ("k1",))
    assert place.folder.challenger() == challenger


def test_trial_of_a_share_that_is_none_is_refused(place, second):
    with pytest.raises(InputError, match="canary_share is 5"):
        try_out(place, bundle=second, canary_share=5)


def test_promoted_challenger_is_tried_no_more(place, second):
    try_out(place, bundle=second)
    promote(place, force="test")
    assert place.folder.challenger() is None


def test_commands_say_what_they_did(place, second, capsys):
    aliases = ["--aliases", str(place.aliases)]
    assert main(["canary", "--bundle", str(second), "--share", "0.05", *aliases]) == 0
    assert main(["promote", "--force", "test", "--no-track", *aliases]) == 0
    assert main(["rollback", "--no-track", *aliases]) == 0
    out = capsys.readouterr().out
    for words in ("tiny-2: assesses 100.0% of turns in the shadow, decides 5.0%", "serves now: forced", "serves again"):
        assert words in out


@pytest.mark.training
def test_registry_that_refuses_leaves_the_folder_alone(place, second, tmp_path):
    from dataclasses import replace

    from pointsman.classifier.aliases import Challenger

    pointer = replace(place.folder.add(second), registered="7")
    place.folder.challenge(Challenger(pointer))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match="does not give version 7"):
            promote(Place(place.aliases, str(tmp_path / "mlruns")), force="test")
    assert place.folder.champion().pointer.version == "tiny-1"


@pytest.mark.training
def test_alias_of_the_registry_follows_back_to_a_bundle_it_did_not_hold(place, second, tiny_bundle, tmp_path):
    from pointsman.training.registry import alias_of, enter, find_registered

    store = str(tmp_path / "mlruns")
    place = Place(place.aliases, store)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held = enter(store, load_bundle(second))
        promote(place, bundle=second, force="test")
        assert alias_of(store, "champion") == held
        roll_back(place, reason="test")
        assert alias_of(store, "champion") == find_registered(store, load_bundle(tiny_bundle).digest) != held


@pytest.mark.training
def test_registry_that_names_no_champion_is_passed_by(place, second, tmp_path):
    promote(Place(place.aliases, str(tmp_path / "mlruns")), bundle=second, force="test")
    assert not (tmp_path / "mlruns").exists()
