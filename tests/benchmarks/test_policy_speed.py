"""What weighing alone costs: twelve candidates with all terms, limits and reasons, without a model or a store.

Run with `python -m pytest -m benchmark tests/benchmarks/test_policy_speed.py -s`. Times belong to the machine; asserted
is only that a decision stays within so many runs of a plain sum over the same figures, measured beside it.
Processor time, not the clock's: other work on the machine is not this code's.
"""

import time
import timeit

import pytest

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.labels import CATEGORIES, SCOPES
from pointsman.classifier.limits import Limits
from pointsman.classifier.policy import Policy, choose
from pointsman.classifier.session import SessionState
from tests.fakes import asked, assessed

from .rows import Row

pytestmark = pytest.mark.benchmark

CAREFUL = ["claude-opus-5-5", "claude-opus-4-5", "gpt-5.3-codex", "gpt-5.2-codex", "gpt-5.1-codex-max"]
CHEAP = ["claude-haiku-5-5", "claude-haiku-4-5", "qwen3-coder-plus", "kimi-k2.5", "gpt-5.1-codex-mini"]
CHEAP += ["openrouter/qwen/qwen3-coder-next", "openrouter/qwen/qwen3-coder"]
N = 1_000


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "twelve.yaml"
    rows = "\n".join(f"  - {{like: {name}}}" for name in (*CAREFUL, *CHEAP))
    roles = f"roles: {{careful: {CAREFUL}, cheap: {CHEAP}, background: {CHEAP[0]}, default: {CAREFUL[0]}}}"
    path.write_text(f"library: library\nmodels:\n{rows}\n{roles}\n")
    return Catalog.load(path)


def best_us(work):
    return min(timeit.repeat(work, number=N, repeat=5, timer=time.process_time)) / N * 1e6


@pytest.mark.parametrize("in_session", [False, True], ids=["first turn", "in a session"])
def test_weighing_twelve_candidates(report, catalog, in_session):
    policy, turn = Policy.load("balanced"), asked(needs=frozenset({"tools"}))
    assessment = assessed("debugging", "medium", "multi", "follow", sure=0.7, novelty=0.3)
    session = SessionState(model=CHEAP[0], turn_key="t", context_tokens=30_000, assessment=assessment)
    limits = Limits(care_threshold=0.9)
    state = session if in_session else None
    figures = [row.posterior.rates for row in catalog.models]
    weights = [1 / len(CATEGORIES) / len(SCOPES)] * (len(CATEGORIES) * len(SCOPES))

    def plain_sum():
        return [sum(p * q for p, q in zip(weights, rates, strict=True)) for rates in figures]

    def decide():
        return choose(turn, assessment, state, catalog, policy, limits=limits, now=0.0)

    assert len(decide().expected_cost) == len(CAREFUL + CHEAP)
    took, plain = best_us(decide), best_us(plain_sum)
    what = f"weighing 12 candidates, {'in a session' if in_session else 'first turn'}"
    row = report(Row("In process", what, "us", took, 5, "plain sum of the failure term", plain))
    assert row.ratio <= 4
