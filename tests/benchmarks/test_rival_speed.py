"""Other routers that run offline, asked about the same prompts on the same machine, each by its own interface.

They are no dependency of this project: `POINTSMAN_PEERS_PYTHON` names an interpreter that has them (`training/peers.py`
lists them); those it lacks are skipped by name. How well they decide is in `pointsman report`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pointsman.classifier.errors import ClassifierError
from pointsman.training import peers
from pointsman.training.datasets import read_examples
from pointsman.training.report_peers import PeerSettings, installed_peers, run_script

from .machine import ROOT
from .rows import Samples

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]
PART = "Other routers, a decision"
# Few lessons: a router that learns encodes each of them first, and of its time for a prompt they are a small part.
N_PROMPTS, N_LESSONS, N_ROUNDS = 100, 100, 3

OURS = """
import json, sys, time
from pointsman.classifier import Router
router, prompts = Router.load(), json.load(sys.stdin)["prompts"]
router.decide({"prompt": "hello", "session_id": "first"})
started = time.perf_counter()
for number, prompt in enumerate(prompts):
    router.decide({"prompt": prompt, "session_id": str(number)})
json.dump({"ms_per_call": (time.perf_counter() - started) * 1000 / len(prompts)}, sys.stdout)
"""


@pytest.fixture(scope="module")
def settings():
    python = os.environ.get("POINTSMAN_PEERS_PYTHON", sys.executable)
    return PeerSettings(Path(python), timeout_s=240)


@pytest.fixture(scope="module")
def installed(settings):
    return installed_peers(settings)


@pytest.fixture(scope="module")
def asking():
    """Prompts of the project's own data, and lessons of other groups for the routers that learn."""
    examples = read_examples(sorted(ROOT.glob("data/turns/*.jsonl")))
    rng = np.random.default_rng(0)
    picked = [examples[i] for i in rng.choice(len(examples), N_PROMPTS + N_LESSONS, replace=False)]
    measured = picked[:N_PROMPTS]
    groups = {example.group for example in measured}
    lessons = [
        {"prompt": e.prompt, "category": e.labels["category"], "needs_care": e.needs_care}
        for e in picked[N_PROMPTS:]
        if e.group not in groups
    ]
    return {"prompts": [example.prompt for example in measured], "lessons": lessons}


def ours_ms(asking):
    run = subprocess.run(
        [sys.executable, "-c", OURS], input=json.dumps(asking), capture_output=True, text=True, check=True
    )
    return json.loads(run.stdout)["ms_per_call"]


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.name)
def test_rival_beside_ours(report, settings, installed, asking, peer):
    version = installed[peer.name]
    if version is None:
        report.skip(PART, peer.name, f"not installed: pip install {peer.distribution}")
    theirs_asked = json.dumps(asking if peer.needs_lessons else asking | {"lessons": []})
    times = []
    for _ in range(N_ROUNDS):
        own = ours_ms(asking)
        try:
            times.append((own, run_script(["run", peer.name], theirs_asked, settings)["ms_per_call"]))
        except ClassifierError as error:
            report.skip(PART, peer.name, f"{peer.distribution} {version} failed: {error}")
    samples = Samples(*np.array(times).T)
    row = report(samples.row(PART, f"Pointsman beside {peer.name} {version}", "ms", peer.runs))
    assert row.ours < 1_000


@pytest.mark.parametrize("name", peers.UNREACHABLE)
def test_rival_that_cannot_be_asked(report, name):
    report.skip(PART, name, peers.UNREACHABLE[name])
