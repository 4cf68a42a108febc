"""Files that change, break or run out of room under a running service."""

import json
import shutil

import pytest

from pointsman.classifier.bundle import FILES, MANIFEST
from pointsman.serving.store import Store

from ..processes import REAL_MODEL, serving
from .conftest import small_disk


@pytest.fixture
def service(tiny_bundle_copy, sqlite_url, tmp_path):
    with serving_files(tiny_bundle_copy, sqlite_url, tmp_path) as service:
        yield service


def serving_files(bundle, sqlite_url, folder, *, slowdown=1e9):
    """Serve a bundle that may be this many times as slow as the one before: timings of a tiny graph say nothing."""
    options = {"reload_s": 0.1, "max_bundle_slowdown": slowdown}
    return serving(folder, sqlite_url, script=REAL_MODEL, bundle=bundle, **options)


def truncate(folder):
    for name in ("model.onnx", "tokenizer.json", "glosses.json", "reference.npy"):
        with open(folder / name, "r+b") as file:
            file.truncate(100)


def swap(folder):
    """Two files change places."""
    (folder / "model.onnx").rename(folder / "other")
    (folder / "tokenizer.json").rename(folder / "model.onnx")
    (folder / "other").rename(folder / "tokenizer.json")


def overwrite(folder):
    """Other bytes of the same length, in place: a mapped file would change in memory."""
    for name in FILES:
        path = folder / name
        size = path.stat().st_size
        with open(path, "r+b") as file:
            file.write(b"\xff" * size)


def remove(folder):
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        pytest.param(truncate, "sha256 is", id="truncated"),
        pytest.param(swap, "sha256 is", id="swapped", marks=pytest.mark.fault),
        pytest.param(overwrite, "sha256 is", id="overwritten", marks=pytest.mark.fault),
        pytest.param(remove, "no bundle at", id="removed", marks=pytest.mark.fault),
    ],
)
def test_damaged_bundle_is_told_and_the_model_in_memory_goes_on(service, tiny_bundle_copy, harm, reason):
    before = service.decide("fix the race in the payment webhook", session_id="a")
    harm(tiny_bundle_copy)
    service.until(lambda: service.metric("pointsman_bundle_intact") == 0)
    after = service.decide("fix the race in the payment webhook", session_id="b")
    assert after["category"] == before["category"] != None  # noqa: E711 - compared along
    state = service.http.get("/info").json()["bundle_on_disk"]
    assert state.startswith("damaged: ")
    assert reason in state
    assert "bundle files changed" in service.log
    service.stop()
    assert service.fails_to_start() == 2
    assert reason in service.log.splitlines()[-1]


def replace(folder):
    """Make the bundle another, whole one, and return the version it had."""
    manifest = folder / MANIFEST
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(values | {"version": "another-1"}))
    return values["version"]


@pytest.mark.fault
def test_replaced_bundle_is_taken_up_and_as_served_again(service, tiny_bundle_copy):
    replace(tiny_bundle_copy)
    service.until(lambda: service.http.get("/info").json()["model_version"] == "another-1")
    service.until(lambda: service.http.get("/info").json()["bundle_on_disk"] == "as served")
    assert service.metric("pointsman_bundle_intact") == 1


@pytest.mark.fault
def test_replaced_bundle_that_is_refused_is_told_and_served_after_a_restart(tiny_bundle_copy, sqlite_url, tmp_path):
    with serving_files(tiny_bundle_copy, sqlite_url, tmp_path, slowdown=1e-9) as service:
        version = replace(tiny_bundle_copy)
        service.until(lambda: service.metric("pointsman_bundle_intact") == 0)
        info = service.http.get("/info").json()
        assert info["bundle_on_disk"].startswith("another: version another-1")
        assert "times as long" in info["bundle"]["refused"]["champion"]["problem"]
        assert service.decide(session_id="a")["model_version"] == version
        service.stop()
        service.start()
        assert service.decide(session_id="b")["model_version"] == "another-1"
        assert service.metric("pointsman_bundle_intact") == 1


def test_full_disk_of_sqlite_costs_no_decision(tmp_path):
    with small_disk("4m") as disk:
        url = f"sqlite:///{disk.folder / 'records.sqlite'}"
        with serving(tmp_path, url, spool=tmp_path / "spool.sqlite", store_timeout_s=5) as service:
            disk.fill()
            decided = set()
            while service.metric("pointsman_spool_records") < 20:
                decided.add(service.decide(session_id=f"s{len(decided)}")["decision_id"])
            refused = service.judge(next(iter(decided)), "k-1")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
            assert service.metric("pointsman_store_failures_total") > 0
            disk.empty()
            service.until(lambda: service.metric("pointsman_spool_records") == 0)
            service.stop()
        store = Store(url)
        assert [store.decision(decision_id).decision_id for decision_id in decided] == list(decided)
        store.close()


@pytest.mark.fault
def test_spool_on_the_full_disk_too_leaves_decisions_in_memory(tmp_path):
    with small_disk("4m") as disk:
        url = f"sqlite:///{disk.folder / 'records.sqlite'}"
        with serving(tmp_path, url, store_timeout_s=5) as service:
            disk.fill()
            decided = set()
            while not service.metric("pointsman_spool_failures_total"):
                decided.add(service.decide(session_id=f"s{len(decided)}")["decision_id"])
            decided |= {service.decide(session_id=f"more-{number}")["decision_id"] for number in range(20)}
            disk.empty()
            service.until(lambda: service.metric("pointsman_records_written_total", table="decisions") >= len(decided))
            assert "decision records lost" not in service.log
