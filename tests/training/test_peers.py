"""Other routers: adapters against stand-ins of their interfaces, and the process they run in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pointsman.classifier.errors import ClassifierError
from pointsman.training import peers, report_peers
from pointsman.training.contenders import Contender, Skipped
from pointsman.training.datasets import Example
from pointsman.training.report_peers import PeerSettings, run_peers

EXAMPLES = [
    Example(prompt, "g", "en", prompt, (), {"category": "docs", "risk": "low", "scope": "file", "turn": "new"}, 1.0)
    for prompt in ("rename it", "debug the distributed architecture")
]

#: Other routers want an environment of their own: set this to test their adapters against the real ones.
PEERS_PYTHON = Path(os.environ.get("PEERS_PYTHON", sys.executable))


def lesson(prompt, category, risk):
    labels = {"category": category, "risk": risk, "scope": "file", "turn": "new"}
    return Example(prompt, prompt, "en", prompt, (), labels, 1.0)


#: A package with the interface of local-llm-router, so that the process, the JSON and the ranking are the real ones.
STAND_IN = """
print("routers are talkative")
def score_prompt(prompt):
    return "complex" if "architecture" in prompt else "simple"
"""


@pytest.fixture
def environment_with_a_router(tmp_path, monkeypatch):
    package = tmp_path / "local_llm_router"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "complexity.py").write_text(STAND_IN)
    info = tmp_path / "local_llm_router-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: local-llm-router\nVersion: 9.9\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return package


def test_installed_router_is_asked_in_its_own_process(environment_with_a_router):
    contenders, _ = run_peers(EXAMPLES, [], PeerSettings())
    router = next(contender for contender in contenders if contender.name.startswith("local-llm-router"))
    assert router.name == "local-llm-router 9.9"
    assert router.score.tolist() == [0.0, 2.0]
    assert router.careful.tolist() == [False, True]
    assert router.ms_per_call > 0


def test_router_that_is_not_installed_is_listed_with_what_to_do(environment_with_a_router):
    contenders, skipped = run_peers(EXAMPLES, [], PeerSettings())
    reasons = {item.name: item.reason for item in skipped}
    measured = {peer.name for peer in peers.PEERS for c in contenders if c.name.startswith(peer.name)}
    assert set(reasons) | measured == {peer.name for peer in peers.PEERS} | set(peers.UNREACHABLE)
    assert all(
        "pip install" in reasons[peer.name] for peer in peers.PEERS if peer.version is None and peer.name in reasons
    )


def test_router_that_breaks_is_listed_with_its_error(environment_with_a_router):
    (environment_with_a_router / "complexity.py").write_text("raise RuntimeError('no weights')")
    _, skipped = run_peers(EXAMPLES, [], PeerSettings())
    reason = next(item.reason for item in skipped if item.name == "local-llm-router")
    assert "9.9 failed" in reason
    assert "no weights" in reason


def test_router_that_hangs_is_given_up(environment_with_a_router):
    (environment_with_a_router / "complexity.py").write_text("import time\ntime.sleep(60)")
    outcome = report_peers._outcome(
        next(peer for peer in peers.PEERS if peer.module == "local_llm_router"),
        "9.9",
        (EXAMPLES, []),
        PeerSettings(timeout_s=2),
    )
    assert "no answer within 2 s" in outcome.reason


def test_router_that_learns_is_skipped_without_training_rows():
    semantic = next(peer for peer in peers.PEERS if peer.needs_lessons)
    assert "--train" in report_peers._outcome(semantic, "1.0", (EXAMPLES, []), PeerSettings()).reason


def test_routers_that_learn_never_see_measured_groups(monkeypatch):
    seen = []
    monkeypatch.setattr(report_peers, "installed_peers", lambda settings: {peer.name: None for peer in peers.PEERS})
    monkeypatch.setattr(
        report_peers, "_outcome", lambda peer, version, data, settings: seen.extend(data[1]) or Skipped(peer.name, "")
    )
    run_peers(EXAMPLES, [*EXAMPLES, lesson("other", "docs", "low")], PeerSettings())
    assert {row.group for row in seen} == {"other"}


def test_wrong_interpreter_says_what_to_check(tmp_path):
    with pytest.raises(ClassifierError, match="expected a Python interpreter"):
        run_peers(EXAMPLES, [], PeerSettings(python=tmp_path / "python"))


def test_script_needs_nothing_but_the_standard_library():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(peers.__file__).parent)!r}); import peers; print(len(peers.PEERS))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(peers.PEERS)


@pytest.mark.parametrize("is_link", [False, True])
def test_router_finds_none_of_our_modules_by_a_bare_name(environment_with_a_router, monkeypatch, tmp_path, is_link):
    # The script stands beside `datasets.py`, which is also what a library is called that routers import. A strict
    # editable install runs links, and the folder of what a link points to is the one that Python puts first.
    if is_link:
        script = tmp_path / "links" / "peers.py"
        script.parent.mkdir()
        script.symlink_to(Path(peers.__file__).resolve())
        monkeypatch.setattr(report_peers, "_SCRIPT", script)
    (environment_with_a_router / "complexity.py").write_text("import promotion\n")
    _, skipped = run_peers(EXAMPLES, [], PeerSettings())
    reason = next(router.reason for router in skipped if router.name == "local-llm-router")
    assert "No module named 'promotion'" in reason


def test_names_of_routers_are_unique():
    assert len({peer.name for peer in peers.PEERS}) == len(peers.PEERS)


@pytest.fixture(scope="module")
def installed():
    return report_peers.installed_peers(PeerSettings(PEERS_PYTHON))


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.distribution)
def test_adapter_asks_the_real_router(peer, installed):
    version = installed[peer.name]
    if version is None:
        pytest.skip(f"{peer.distribution} is not installed; PEERS_PYTHON names an interpreter that has it")
    lessons = [lesson("the crash in the parser", "debugging", "high"), lesson("write a README", "docs", "low")]
    outcome = report_peers._outcome(peer, version, (EXAMPLES, lessons), PeerSettings(PEERS_PYTHON))
    assert isinstance(outcome, Contender), outcome
    assert len(outcome.score) == len(EXAMPLES)


def test_answers_are_json_whatever_a_router_prints(environment_with_a_router, tmp_path):
    request = json.dumps({"prompts": ["x"], "lessons": []})
    done = subprocess.run(
        [sys.executable, peers.__file__, "run", "local-llm-router"],
        input=request,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert len(json.loads(done.stdout)["answers"]) == 1
    assert "talkative" in done.stderr
