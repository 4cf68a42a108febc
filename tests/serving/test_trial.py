"""A challenger in the shadow decides nothing and delays nobody; as a canary it decides its share."""

import threading
import time

import pytest
from starlette.testclient import TestClient

from pointsman.classifier.aliases import AliasFolder, Challenger, Pointer
from pointsman.classifier.errors import InferenceError
from pointsman.classifier.limits import Caller
from pointsman.serving import trial as trials
from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings
from pointsman.serving.telemetry import Telemetry
from pointsman.serving.trial import Trial

from .bundles import promoted, variant
from .clients import RACE, TYPO
from .conftest import wait_until_ready
from .fakes import FakeAssessor, fake_router
from .test_bundle_watch import eventually

POINTER = Pointer("a" * 64, "fake-2", "2026-11-22T00:00:00.000000Z", "test")


class Worried(FakeAssessor):
    """Holds everything for risky."""

    version = "fake-2"
    risk_bound = None

    def _assessment(self, turn):
        return super()._assessment(turn.__class__(prompt="race"))


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def challenger():
    return Worried()


@pytest.fixture
def start(challenger, telemetry):
    """Start a trial as a test wants it."""
    started = []

    def start(**how):
        started.append(Trial(challenger, Challenger(POINTER, **how), telemetry))
        return started[-1]

    yield start
    challenger.gate.set()
    for trial in started:
        trial.stop()
        trial.join(5)


def decided(router, prompt, session, **options):
    turn = router.read({"prompt": prompt, "session_id": session})
    return turn, router.decide_turn(turn, **options)


def offer(trial, router, prompt, session):
    turn, decision = decided(router, prompt, session)
    trial.offer(turn, decision, decision.assessment)


def test_shadow_is_compared_head_by_head(start, telemetry):
    trial, router = start(shadow_share=1.0), fake_router()
    offer(trial, router, RACE, "a")
    offer(trial, router, TYPO, "b")
    eventually(lambda: trial.describe()["n_assessed"] == 2)
    described = trial.describe()
    assert described["agreement"] == {"category": 0.5, "risk": 0.5, "scope": 1.0, "turn": 1.0}
    assert described["care"] == {"raised": 1, "lowered": 0}
    text = telemetry.exposition().decode()
    assert 'pointsman_shadow_agreements_total{head="category"} 1.0' in text
    assert 'pointsman_shadow_care_disagreements_total{direction="raised"} 1.0' in text


def test_slow_shadow_delays_nobody_and_what_it_misses_is_counted(start, challenger, telemetry, monkeypatch):
    monkeypatch.setattr(trials, "_MAX_QUEUED", 4)
    challenger.gate.clear()
    trial, router = start(shadow_share=1.0), fake_router()
    for number in range(20):
        offer(trial, router, RACE, f"s{number}")
    assert trial.describe()["n_dropped"] >= 15
    assert "pointsman_shadow_dropped_total" in telemetry.exposition().decode()
    assert challenger.n_calls == 0  # every offer came back while the first was still being assessed


def test_failure_in_the_shadow_is_counted_and_the_thread_goes_on(start, challenger):
    challenger.error = InferenceError("the runtime failed")
    trial, router = start(shadow_share=1.0), fake_router()
    offer(trial, router, RACE, "a")
    eventually(lambda: trial.describe()["n_failed"] == 1)
    challenger.error = None
    offer(trial, router, RACE, "b")
    eventually(lambda: trial.describe()["n_assessed"] == 1)


def test_shadow_of_no_share_assesses_nothing(start, challenger):
    trial, router = start(shadow_share=0.0), fake_router()
    for number in range(10):
        offer(trial, router, RACE, f"s{number}")
    trial.stop()
    trial.join(5)
    assert challenger.n_calls == 0


def test_canary_decides_its_share_of_the_sessions_and_says_so(start):
    router = fake_router()
    router.canary = start(shadow_share=0.0, canary_share=0.3)
    decisions = [decided(router, TYPO, f"session-{number}")[1] for number in range(400)]
    chosen = [decision for decision in decisions if "canary" in decision.codes]
    assert 0.2 < len(chosen) / len(decisions) < 0.4
    assert {decision.model_version for decision in chosen} == {"fake-2"}
    assert all(decision.assessment.category.label == "debugging" for decision in chosen)


def test_session_stays_on_its_side_of_the_canary(start):
    router = fake_router()
    router.canary = start(shadow_share=0.0, canary_share=0.5)
    for session in ("a", "b", "c", "d"):
        versions = {decided(router, f"{TYPO} {number}", session)[1].model_version for number in range(10)}
        assert len(versions) == 1


def test_canary_by_key_decides_for_that_key_alone(start):
    router = fake_router()
    router.canary = start(shadow_share=0.0, canary_keys=("k1",))
    ours = decided(router, TYPO, "a", caller=Caller(key_id="k1"))[1]
    others = decided(router, TYPO, "b", caller=Caller(key_id="k2"))[1]
    assert (ours.model_version, others.model_version) == ("fake-2", "fake-1")


def test_canary_that_fails_costs_the_champions_answer_and_no_safe_default(start, challenger, telemetry):
    challenger.error = InferenceError("the runtime failed")
    router = fake_router()
    router.canary = start(shadow_share=0.0, canary_share=1.0)
    decision = decided(router, TYPO, "a")[1]
    assert (decision.model_version, decision.assessment.category.label) == ("fake-1", "docs")
    assert "canary" not in decision.codes
    assert router.n_failures == 0
    assert "pointsman_canary_failures_total 1.0" in telemetry.exposition().decode()


def test_tool_loop_of_a_canary_turn_keeps_its_model_when_the_trial_ends(start):
    router = fake_router()
    router.canary = start(shadow_share=0.0, canary_share=1.0)
    first = decided(router, TYPO, "a")[1]
    router.canary = None
    again = decided(router, TYPO, "a")[1]
    assert (again.model, again.decision_id) == (first.model, first.decision_id)


@pytest.fixture
def aliases(tmp_path, tiny_bundle):
    """A champion, and a challenger that decides every session."""
    folder = AliasFolder(tmp_path / "aliases")
    promoted(folder.path, tiny_bundle)
    pointer = folder.add(variant(tiny_bundle, tmp_path / "second", "tiny-2"))
    folder.challenge(Challenger(pointer, shadow_share=1.0))
    return folder


def test_server_tries_the_challenger_of_its_alias_folder(sqlite_url, aliases):
    settings = load_settings(database_url=sqlite_url, bundle=aliases.path, reload_s=0.05, max_bundle_slowdown=1e9)
    with TestClient(create_app(settings)) as client:
        wait_until_ready(client)
        eventually(lambda: client.get("/info").json()["challenger"] is not None)
        answer = client.post("/v1/decide", json={"prompt": TYPO, "session_id": "a"}).json()
        eventually(lambda: client.get("/info").json()["challenger"]["n_assessed"] == 1)
        assert answer["model_version"] == "tiny-1"
        pointer = aliases.challenger().pointer
        aliases.challenge(Challenger(pointer, canary_share=1.0))
        eventually(lambda: client.get("/info").json()["challenger"]["canary_share"] == 1.0)
        answer = client.post("/v1/decide", json={"prompt": TYPO, "session_id": "b"}).json()
        assert (answer["model_version"], "canary" in answer["codes"]) == ("tiny-2", True)
        record = client.get(f"/v1/decisions/{answer['decision_id']}").json()
        assert "canary" in record["codes"]
        aliases.challenge(None)
        eventually(lambda: client.get("/info").json()["challenger"] is None)
    assert not [thread for thread in threading.enumerate() if thread.name == "pointsman-shadow" and not _ends(thread)]


def _ends(thread):
    thread.join(5)
    time.sleep(0)
    return not thread.is_alive()
