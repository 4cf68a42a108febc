"""A new bundle is taken up while requests are answered, or refused with its reason."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time

import httpx
import pytest
from starlette.testclient import TestClient

from pointsman.classifier.aliases import AliasFolder
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import BundleError, InferenceError
from pointsman.classifier.policy import Policy
from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY, Router
from pointsman.serving.app import create_app
from pointsman.serving.bundle_watch import BundleWatch, check
from pointsman.serving.live_model import digest_of, open_router
from pointsman.serving.model_source import ModelSource
from pointsman.serving.settings import load_settings
from pointsman.serving.telemetry import Telemetry

from .bundles import damage, promoted, variant
from .clients import RACE, TYPO
from .conftest import wait_until_ready
from .fakes import FakeAssessor


@pytest.fixture
def aliases(tmp_path, tiny_bundle):
    """An alias folder whose champion is the tiny bundle."""
    promoted(tmp_path / "aliases", tiny_bundle)
    return tmp_path / "aliases"


@pytest.fixture
def second(tmp_path, tiny_bundle):
    return variant(tiny_bundle, tmp_path / "second", "tiny-2")


@pytest.fixture
def clock():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def watch(aliases, telemetry, clock):
    """Timings of a graph that takes a fifth of a millisecond say nothing, so no bundle is too slow here."""
    settings = load_settings(bundle=aliases, max_bundle_slowdown=1e9)
    watch = BundleWatch(open_router(settings), ModelSource(aliases), telemetry, settings, clock=clock)
    yield watch
    watch.stop()


def version_of(watch):
    return watch._router.model_version


def test_champion_that_serves_is_left_alone(watch):
    before = watch._router.assessor
    assert watch.look() is False
    assert watch._router.assessor is before


def test_promoted_bundle_is_taken_up_and_counted(watch, aliases, second, telemetry):
    pointer = promoted(aliases, second)
    assert watch.look() is True
    assert (version_of(watch), digest_of(watch._router)) == ("tiny-2", pointer.digest)
    assert 'pointsman_bundle_swaps_total{outcome="taken_up"} 1.0' in telemetry.exposition().decode()


def test_rollback_is_taken_up(watch, aliases, second):
    promoted(aliases, second)
    watch.look()
    AliasFolder(aliases).roll_back(reason="test")
    assert watch.look() is True
    assert version_of(watch) == "tiny-1"


def test_damaged_bundle_never_gets_in_and_is_said_once(watch, aliases, second, telemetry):
    pointer = promoted(aliases, second)
    damage(aliases / "bundles" / pointer.digest)
    assert [watch.look(), watch.look()] == [False, False]
    assert version_of(watch) == "tiny-1"
    assert "model.onnx: sha256 is" in watch.problem()
    assert watch.describe()["bundle"]["refused"]["champion"]["digest"] == pointer.digest
    text = telemetry.exposition().decode()
    assert 'pointsman_bundle_swaps_total{outcome="refused"} 1.0' in text
    assert "pointsman_bundle_refused 1.0" in text


def test_manifest_that_is_not_the_named_one_is_refused(watch, aliases, second):
    pointer = promoted(aliases, second)
    shutil.copyfile(second / "card.md", aliases / "bundles" / pointer.digest / "card.md")
    manifest = aliases / "bundles" / pointer.digest / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    watch.look()
    assert re.search(r"its manifest has sha256 .*, expected .*promote it again", watch.problem())


def test_mended_bundle_is_taken_up_at_the_next_try(watch, aliases, second, clock):
    pointer = promoted(aliases, second)
    folder = aliases / "bundles" / pointer.digest
    damage(folder)
    watch.look()
    shutil.copyfile(second / "model.onnx", folder / "model.onnx")
    assert watch.look() is False
    clock.now += 61
    assert watch.look() is True
    assert watch.problem() is None


def test_pointer_that_cannot_be_read_keeps_the_old_bundle(watch, aliases):
    (aliases / "champion.json").write_text("{")
    assert watch.look() is False
    assert "champion.json: not readable" in watch.problem()


def test_bundle_folder_that_is_written_anew_is_taken_up(tmp_path, tiny_bundle_copy, second, telemetry):
    settings = load_settings(bundle=tiny_bundle_copy, max_bundle_slowdown=1e9)
    watch = BundleWatch(open_router(settings), ModelSource(tiny_bundle_copy), telemetry, settings)
    shutil.copytree(second, tiny_bundle_copy, dirs_exist_ok=True)
    assert watch.look() is True
    assert version_of(watch) == "tiny-2"


def router_around(assessor):
    return Router(assessor, Catalog.load(DEFAULT_CATALOG), Policy.load(DEFAULT_POLICY))


class Slow(FakeAssessor):
    """Takes so long that no noise hides it."""

    version = "slow-1"

    def assess(self, turns):
        time.sleep(0.02)
        return super().assess(turns)


def test_slow_bundle_is_refused():
    with pytest.raises(BundleError, match=r"'slow-1' takes .* times as long .*; 3 times are allowed"):
        check(Slow(), router_around(FakeAssessor()), max_slowdown=3)


def test_failing_bundle_is_refused():
    failing = FakeAssessor()
    failing.error = InferenceError("the runtime failed")
    with pytest.raises(InferenceError, match="the runtime failed"):
        check(failing, router_around(FakeAssessor()), max_slowdown=3)


def test_start_with_a_damaged_champion_serves_the_one_before(aliases, second):
    pointer = promoted(aliases, second)
    damage(aliases / "bundles" / pointer.digest)
    assert open_router(load_settings(bundle=aliases)).model_version == "tiny-1"


def test_start_without_any_usable_bundle_says_why(aliases):
    pointer = AliasFolder(aliases).champion().pointer
    damage(aliases / "bundles" / pointer.digest)
    with pytest.raises(BundleError, match="The file changed after export"):
        open_router(load_settings(bundle=aliases))


def test_refusal_shows_in_info_and_readiness(sqlite_url, aliases, second):
    settings = load_settings(database_url=sqlite_url, bundle=aliases, reload_s=0.05)
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        pointer = promoted(aliases, second)
        damage(aliases / "bundles" / pointer.digest)
        AliasFolder(aliases).promote(pointer, reason="test")
        eventually(lambda: "bundle_problem" in client.get("/readyz").json())
        assert client.get("/readyz").status_code == 200
        assert "model.onnx" in client.get("/info").json()["bundle"]["refused"]["champion"]["problem"]
        assert client.post("/v1/decide", json={"prompt": TYPO}).json()["model_version"] == "tiny-1"


def eventually(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def process(sqlite_url, aliases):
    """`pointsman serve` on the alias folder, in a process of its own; its URL."""
    command = [sys.executable, "-c", "from pointsman.classifier.commands import main; main()", "serve"]
    command += ["--port", "0", "--bundle", str(aliases), "--database-url", sqlite_url]
    environment = os.environ | {"POINTSMAN_RELOAD_S": "0.1", "POINTSMAN_MAX_BUNDLE_SLOWDOWN": "1e9"}
    serving = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    yield re.search(r"http://127\.0\.0\.1:\d+", serving.stderr.readline()).group(), serving
    serving.kill()
    serving.communicate()


def test_no_request_in_flight_fails_while_bundles_are_swapped(process, aliases, tmp_path, tiny_bundle):
    url, serving = process
    threading.Thread(target=serving.stderr.read, daemon=True).start()  # a full pipe would stop the server
    answers, stop = [], threading.Event()

    def ask(number):
        with httpx.Client(base_url=url, trust_env=False, timeout=20, transport=httpx.HTTPTransport(retries=5)) as http:
            for step in range(100_000):
                if stop.is_set():
                    return
                answer = http.post("/v1/decide", json={"prompt": f"{RACE} {step}", "session_id": f"s{number}-{step}"})
                answers.append((answer.status_code, answer.json().get("model_version"), answer.json().get("category")))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: bool(answers), 60)  # of the first bundle, before another is named
        for number in range(2, 6):
            promoted(aliases, variant(tiny_bundle, tmp_path / f"b{number}", f"tiny-{number}"))
            eventually(lambda version=f"tiny-{number}": any(seen == version for _, seen, _ in answers[-40:]), 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert {status for status, *_ in answers} == {200}
    assert {version for _, version, _ in answers} == {f"tiny-{number}" for number in range(1, 6)}
    # A safe default, which a request that met no model gets, has no category.
    assert all(category is not None for *_, category in answers)
