"""Deciding in the gateway's own process has the manners of asking the service."""

import asyncio

import pytest

from pointsman.serving.client import Failure
from pointsman.serving.gateways import in_process
from pointsman.serving.gateways.in_process import InProcess

from ..clients import CAREFUL, RACE, TYPO, claude_body
from ..fakes import FakeAssessor, fake_router

SAFE = "the-safe-one"


@pytest.fixture
def assessor():
    assessor = FakeAssessor()
    yield assessor
    assessor.gate.set()


def decided(assessor, *questions, **options):
    """Ask all at once in one event loop."""

    async def ask():
        inside = InProcess(lambda: fake_router(assessor), **{"safe_model": SAFE, "deadline_ms": 20_000} | options)
        choices = await asyncio.gather(*(inside.decide(*question) for question in questions))
        assessor.gate.set()
        return choices, inside.counts

    return asyncio.run(ask())


def test_decision_is_the_one_of_the_router(assessor, headers):
    (choice,), counts = decided(assessor, (claude_body(RACE), headers))
    assert choice.model in CAREFUL
    assert choice.decision["session_id"] == headers["x-claude-code-session-id"]
    assert counts == {"decided": 1}


def test_models_restrict_the_choice_and_translate_it(assessor):
    (choice,), _ = decided(assessor, (claude_body(TYPO),), models={"qwen3-coder-plus": "cheap-group"})
    assert choice.model == "cheap-group"


def test_router_that_hangs_costs_the_safe_model(assessor):
    assessor.gate.clear()
    (choice,), counts = decided(assessor, (claude_body(RACE),), deadline_ms=100)
    assert (choice.model, choice.failure) == (SAFE, Failure.TIMEOUT)
    assert counts == {Failure.TIMEOUT: 1}


def test_router_that_cannot_be_loaded_costs_the_safe_model():
    def load():
        raise OSError("no such bundle")

    choice = asyncio.run(InProcess(load, safe_model=SAFE).decide(claude_body(RACE)))
    assert (choice.model, choice.failure) == (SAFE, Failure.ERROR)


def test_requests_in_wait_are_bounded(assessor, monkeypatch):
    monkeypatch.setattr(in_process, "_MAX_WAITING", 2)
    assessor.gate.clear()
    questions = [({"prompt": f"{RACE} {n}"},) for n in range(5)]
    choices, counts = decided(assessor, *questions, deadline_ms=300)
    assert {choice.model for choice in choices} == {SAFE}
    assert counts == {Failure.BUSY: 3, Failure.TIMEOUT: 2}
