"""`Router.decide` in process, beside the bare tokeniser and ONNX run on the same texts; decisions without inference.

Processor time of the one thread that works. A run of the graph leaves the processor's caches full of weights, and what
comes after it runs cold, as it does in life: the two take turns, so each begins where the other ended.
"""

from itertools import count

import numpy as np
import orjson
import pytest
from tokenizers import Tokenizer

from pointsman.classifier import Router
from pointsman.classifier.bundle import TOKENIZER
from pointsman.classifier.text import build_text

from .rows import Goal, take_turns
from .texts import LONGEST, digest_of, recorded, turn_of

pytestmark = pytest.mark.benchmark
PART = "In process"
N_SESSIONS = 211


@pytest.fixture(scope="module")
def router():
    return Router.load()


@pytest.fixture(scope="module")
def bare(router):
    """The tokeniser's and the runtime's own interfaces, and nothing around them."""
    bundle = router.assessor.bundle
    tokenizer = Tokenizer.from_file(str(bundle.file(TOKENIZER)))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # The router's own: a second one would keep its weights out of the cache.
    session = router.assessor._encoder._session

    def run(prompt, context):
        # One string for the prompt, one for what stood before it: a pair, as BERT reads it.
        encoding = tokenizer.encode(prompt, context)
        inputs = {
            "input_ids": np.array([encoding.ids]),
            "attention_mask": np.array([encoding.attention_mask]),
            "token_type_ids": np.array([encoding.type_ids]),
        }
        return session.run(None, inputs)

    run.n_tokens = lambda prompt, context: len(tokenizer.encode(prompt, context).ids)
    return run


@pytest.mark.parametrize("n_tokens", [16, 64, 128, LONGEST])
def test_decide_beside_bare_inference(router, bare, report, n_tokens):
    bodies = iter([digest_of(n_tokens, f"bench-{n_tokens}-{n}") for n in range(N_SESSIONS)])
    text = build_text(turn_of(n_tokens))
    pair = text.prompt, " ".join(text.context) or None
    assert bare.n_tokens(*pair) == n_tokens

    def decide():
        return router.decide(next(bodies))

    samples = take_turns(decide, lambda: bare(*pair), N_SESSIONS - 11).scaled(1e3)
    assert decide().assessment is not None
    row = report(samples.row(PART, f"decide, {n_tokens} tokens", "ms", "tokeniser + ONNX", goal=Goal("ratio", 1.10)))
    assert row.ratio < 2


BODIES = {"tool_loop": "claude_tool_result", "background": "claude_title"}
SESSION_HEADER = "X-Claude-Code-Session-Id"


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("is_cold", [False, True], ids=["in a row", "right after an inference"])
def test_decisions_without_inference(router, bare, report, kind, is_cold):
    """Reading the parsed body and deciding it, in one session after another."""
    request, first, numbers = recorded(BODIES[kind]), recorded("claude_first"), count()
    raw = orjson.dumps(request["body"])
    headers = [request["headers"] | {SESSION_HEADER: f"{kind}-{is_cold}-{n}"} for n in range(N_SESSIONS)]
    for own in headers:
        router.decide(first["body"], own, path=first["path"])
    decided = []

    def decide():
        decided.append(router.decide(request["body"], headers[next(numbers)], path=request["path"]))

    between = (lambda: bare("fix the race in the handler", None)) if is_cold else (lambda: None)
    samples = take_turns(decide, lambda: orjson.loads(raw), N_SESSIONS - 10, between=between).scaled(1e6)
    assert len({decision.decision_id for decision in decided}) == N_SESSIONS
    assert {decision.kind for decision in decided} == {kind}
    what = f"{kind.replace('_', ' ')}, parsed body, {'right after an inference' if is_cold else 'in a row'}"
    row = report(samples.row(PART, what, "us", "parsing the body", goal=Goal("ours", 150)))
    assert row.ours < 1_500
