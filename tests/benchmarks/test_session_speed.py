"""A hundred to a million sessions in memory: a decision takes as long, and memory has a bound."""

from itertools import count, cycle

import psutil
import pytest

from pointsman.classifier import Router
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.policy import Policy
from pointsman.classifier.router import DEFAULT_CATALOG, DEFAULT_POLICY
from tests.fakes import FakeAssessor, asked

from .rows import Goal, Row, take_turns

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]
PART = "Sessions in memory"
N_TURNS = 400
_NUMBERS = count()
#: From here on a store forgets as many as it learns.
BOUND = 100_000


def router_of(n_sessions, prefix):
    """Return a router that has decided one turn of each of so many sessions."""
    router = Router(FakeAssessor(), Catalog.load(DEFAULT_CATALOG), Policy.load(DEFAULT_POLICY))
    for number in range(n_sessions):
        router.decide_turn(asked(session=f"{prefix}-{number}"))
    return router


def resident_mb():
    return psutil.Process().memory_info().rss / 1e6


def test_sessions_in_memory(report):
    few = router_of(100, "few")
    before, there = resident_mb(), 0
    many = router_of(0, "many")
    for n_sessions in (1_000, 10_000, 100_000, 1_000_000):
        grow(many, there, n_sessions)
        there = n_sessions
        held = resident_mb() - before
        what = f"{n_sessions:,} sessions"
        report(latency(few, many, what))
        report(Row(PART, f"{what}: kept", "sessions", len(many.sessions), goal=Goal("ours", BOUND)))
        row = report(Row(PART, f"{what}: memory", "MB", held))
        assert row.ours < 2_000


def grow(router, n_before, n_after):
    """Add sessions: decided ones as long as the store keeps them all, then states like theirs, which is faster."""
    for number in range(n_before, min(n_after, BOUND)):
        router.decide_turn(asked(session=f"many-{number}"))
    state = router.sessions.get("many-999")
    for number in range(max(n_before, BOUND), n_after):
        router.sessions.put(f"many-{number}", state)


def latency(few, many, what):
    """Time a further turn of sessions of both, in turns; those of the large store lie all over it."""
    keys = list(many.sessions._states)
    spread, there = cycle(keys[:: max(1, len(keys) // N_TURNS)]), cycle(f"few-{number}" for number in range(100))

    def decide(router, session):
        router.decide_turn(asked(f"Another one {next(_NUMBERS)}", 2, session=session))

    samples = take_turns(lambda: decide(many, next(spread)), lambda: decide(few, next(there)), N_TURNS)
    return samples.scaled(1e6).row(PART, f"{what}: a decision", "us", "100 sessions", goal=Goal("ratio", 1.25))
