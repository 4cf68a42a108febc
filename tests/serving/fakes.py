"""An assessor with chosen answers, that can be slow or fail; the router around it is the real one."""

import threading

from pointsman.classifier.assessment import Assessment, HeadResult
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.labels import HEADS
from pointsman.classifier.policy import Policy
from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY, Router


def result(head, label):
    """Most of the probability on one label, the rest spread."""
    labels = HEADS[head]
    rest = 0.2 / (len(labels) - 1)
    return HeadResult(head, tuple(0.8 if name == label else rest for name in labels))


class FakeAssessor:
    """Calls everything with "race" in it risky debugging, the rest low-risk docs."""

    version = "fake-1"

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.error = None
        self.n_calls = 0

    def assess(self, turns):
        self.entered.set()
        assert self.gate.wait(20)
        if self.error is not None:
            raise self.error
        self.n_calls += 1
        return [self._assessment(turn) for turn in turns]

    def _assessment(self, turn):
        risky = "race" in turn.prompt
        return Assessment(
            category=result("category", "debugging" if risky else "docs"),
            risk=result("risk", "high" if risky else "low"),
            scope=result("scope", "file"),
            turn=result("turn", "new"),
            novelty=0.1,
            model_version=self.version,
        )


def fake_router(assessor=None, sessions=None, policy=DEFAULT_POLICY):
    """Return a real router around a fake assessor."""
    return Router(assessor or FakeAssessor(), Catalog.load(DEFAULT_CATALOG), Policy.load(policy), sessions)
