"""Short logs: a live router that writes records, and cases by hand."""

from dataclasses import replace
from datetime import UTC, datetime

from pointsman.classifier.assessment import Kind
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.memory_sessions import MemorySessions
from pointsman.classifier.policy import Policy
from pointsman.classifier.records import DecisionRecord
from pointsman.classifier.replay.case import Case
from pointsman.classifier.router import Router
from tests.fakes import FakeAssessor, FrozenClock, asked, assessed

CATALOG = Catalog.load("anthropic-dashscope")
BALANCED = Policy.load("balanced")
CAREFUL, CHEAP, LOCAL = "claude-opus-5-5", "claude-haiku-5-5", "qwen3-coder-plus"

HARD = assessed("debugging", "high", "multi")
EASY = assessed("docs", "low", "file")


class LiveLog:
    """Answers requests as the service does, and keeps what the service would record."""

    def __init__(self, policy=BALANCED, **options):
        self.assessor = FakeAssessor()
        self.clock = FrozenClock(1_790_000_000.0)
        sessions = MemorySessions(clock=self.clock)
        self.router = Router(self.assessor, CATALOG, policy, sessions, clock=self.clock, **options)
        self.records = []

    def ask(self, turn, assessment=EASY, *, after_s=30.0, caller=None, models=None, policy=None):
        self.clock.now += after_s
        self.assessor.default = assessment
        decision = self.router.decide_turn(turn, caller=caller, models=models, policy=policy)
        at = datetime.fromtimestamp(self.clock.now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        record = DecisionRecord.of(turn, decision, created_at=at, allowed=models, policy=policy, caller=caller)
        self.records.append(DecisionRecord.from_json(record.to_json()))
        return decision


def case(n=1, assessment=EASY, truth=None, *, session="s1", turn=None, **fields):
    """The n-th turn of a session."""
    turn = turn or asked(f"prompt {n}", n, session=session)
    return Case(id=f"{session}-{n}", turn=turn, assessment=assessment, truth=truth or assessment, **fields)


def background(n=1, session="s1"):
    turn = replace(asked("title", n, session=session, kind=Kind.BACKGROUND), background="title")
    return Case(id=f"{session}-b{n}", turn=turn, assessment=None, truth=None, begins=False, weighed=False)
