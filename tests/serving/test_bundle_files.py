"""The files of the bundle that serves are compared with what is served, whichever bundle that is now."""

import shutil

import pytest

from pointsman.serving.bundle_files import FilesWatch
from pointsman.serving.bundle_watch import BundleWatch
from pointsman.serving.live_model import open_router
from pointsman.serving.model_source import ModelSource
from pointsman.serving.settings import load_settings
from pointsman.serving.telemetry import Telemetry

from .bundles import damage, promoted, variant
from .fakes import fake_router


@pytest.fixture
def served(tmp_path, tiny_bundle):
    """An alias folder, the router that serves its champion, and the watch that swaps its bundles."""
    aliases = tmp_path / "aliases"
    promoted(aliases, tiny_bundle)
    settings = load_settings(bundle=aliases, max_bundle_slowdown=1e9)
    telemetry, router = Telemetry(), open_router(settings)
    watch = BundleWatch(router, ModelSource.of(settings), telemetry, settings)
    yield aliases, router, watch, telemetry
    watch.stop()


def intact(telemetry):
    lines = telemetry.exposition().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("pointsman_bundle_intact "))


def swap(aliases, watch, tiny_bundle, folder):
    """Let another bundle serve; return the folders of the old and the new one."""
    pointer = promoted(aliases, variant(tiny_bundle, folder, "tiny-2"))
    old = watch._router.assessor.bundle.path
    assert watch.look()
    return old, aliases / "bundles" / pointer.digest


def test_untouched_files_are_as_served(served):
    _, router, _, telemetry = served
    files = FilesWatch(router, telemetry)
    files.look()
    assert (files.state, intact(telemetry)) == ("as served", 1)


def test_swapped_bundle_is_as_served(served, tmp_path, tiny_bundle):
    aliases, router, watch, telemetry = served
    files = FilesWatch(router, telemetry)
    swap(aliases, watch, tiny_bundle, tmp_path / "second")
    files.look()
    assert (files.state, intact(telemetry)) == ("as served", 1)


def test_damage_after_a_swap_is_told_of_the_bundle_that_serves_now(served, tmp_path, tiny_bundle):
    aliases, router, watch, telemetry = served
    files = FilesWatch(router, telemetry)
    old, new = swap(aliases, watch, tiny_bundle, tmp_path / "second")
    damage(old)
    files.look()
    assert files.state == "as served"
    damage(new)
    files.look()
    assert files.state.startswith("damaged: model.onnx: sha256 is")
    assert intact(telemetry) == 0


def test_mended_files_are_as_served_again(served, tiny_bundle):
    _, router, _, telemetry = served
    files = FilesWatch(router, telemetry)
    folder = router.assessor.bundle.path
    damage(folder)
    files.look()
    assert intact(telemetry) == 0
    shutil.copyfile(tiny_bundle / "model.onnx", folder / "model.onnx")
    files.look()
    assert (files.state, intact(telemetry)) == ("as served", 1)


def test_router_without_a_bundle_has_nothing_to_compare():
    telemetry = Telemetry()
    files = FilesWatch(fake_router(), telemetry)
    files.look()
    assert (files.state, intact(telemetry)) == ("as served", 1)
