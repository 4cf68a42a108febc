"""How long a request takes to read, as ratios: four times the body may take six times as long, never sixteen.

Run with `python -m pytest -m benchmark tests/benchmarks/test_request_speed.py -s`.
"""

import gc
import json
import time
from collections.abc import Callable

import orjson
import pytest

from pointsman.classifier.request import read_request

from .rows import Row, take_turns
from .texts import MB, agent_session

pytestmark = pytest.mark.benchmark

PART = "Reading, linear"
MAX_RATIO = 6


def best_ms(work: Callable[[], object], n: int = 9) -> float:
    """Best of several runs in processor time, without the garbage collector: nothing else can make it worse."""
    times = []
    for _ in range(n):
        gc.collect()
        gc.disable()
        start = time.thread_time()
        work()
        times.append((time.thread_time() - start) * 1_000)
        gc.enable()
    return min(times)


@pytest.mark.parametrize("result_chars", [300, 1_500, 6_000, 60_000])
def test_reading_is_linear_in_the_body(report, result_chars):
    small, large = (orjson.loads(agent_session(size, result_chars)) for size in (MB, 4 * MB))
    what = f"parsed body of 4 MB, results of {result_chars} characters"
    row = report(growth(what, best_ms(lambda: read_request(large)), best_ms(lambda: read_request(small)), "1 MB"))
    assert row.ratio <= MAX_RATIO


@pytest.mark.parametrize("result_chars", [300, 1_500, 6_000, 60_000])
def test_parsing_and_reading_is_linear_in_the_body(report, result_chars):
    # From 4 to 16 MB: below, the allocator serves the parser from memory it still has, which flatters the small body.
    small, large = (agent_session(size, result_chars) for size in (4 * MB, 16 * MB))
    what = f"bytes of a body of 16 MB, results of {result_chars} characters"
    times = [best_ms(lambda body=body: read_request(body), n=5) for body in (large, small)]
    row = report(growth(what, *times, "4 MB"))
    assert row.ratio <= MAX_RATIO


HOSTILE = {
    "many reminders": lambda n: "<system-reminder>x</system-reminder>\n" * (n // 38) + "Go",
    "opened, never closed": lambda n: "<system-reminder>" * (n // 17),
    "many marks": lambda n: "[Request interrupted by user] " * (n // 30),
    "many commands": lambda n: "<command-name>/x</command-name>" * (n // 31),
    "command never closed": lambda n: "<command-name>" * (n // 14),
    "white space": lambda n: " \n" * (n // 2) + "Go",
    "many agent files": lambda n: "# AGENTS.md instructions for x\n</INSTRUCTIONS>\n" * (n // 47),
    "quotation marks": lambda n: '"' * n,
    "chinese": lambda n: "修复登录" * (n // 4),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_read_in_linear_time(report, name):
    bodies = [{"messages": [{"role": "user", "content": HOSTILE[name](size)}]} for size in (MB, 4 * MB)]
    small, large = (best_ms(lambda body=body: read_request(body), n=5) for body in bodies)
    report(growth(f"4 MB of hostile text: {name}", large, small, "1 MB"))
    assert large <= MAX_RATIO * max(small, 1.0)


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [{"type": "tool_use", "input": [[]] * 9}]},
        {},
    ],
    ids=["prompts", "calls", "empty"],
)
def test_many_tiny_items_are_read_in_linear_time(report, item, request):
    small, large = (best_ms(lambda n=n: read_request({"messages": [item] * n}), n=5) for n in (10_000, 40_000))
    report(growth(f"40,000 tiny items: {request.node.callspec.id}", large, small, "10,000"))
    assert large <= MAX_RATIO * max(small, 1.0)


def growth(what, large_ms, small_ms, beside):
    return Row(PART, what, "ms", large_ms, 1, beside, small_ms)


@pytest.mark.parametrize("size", [50_000, MB, 4 * MB], ids=lambda size: f"{size / MB:g} MB")
@pytest.mark.parametrize("library", ["json", "msgspec", "msgspec partial"])
def test_parsers_beside_ours(report, library, size):
    """The reason for the parser that `request.py` uses; a partial parse builds neither tools nor system prompt."""
    body = agent_session(size)
    samples = take_turns(lambda: parser(library)(body), lambda: orjson.loads(body), 20, n_warm=2).scaled(1e3)
    row = report(samples.row("Parsers", f"{library}, {size / MB:g} MB", "ms", "orjson"))
    assert row.ratio > 0.5


def parser(library):
    if library == "json":
        return json.loads
    msgspec = pytest.importorskip("msgspec")

    class Partial(msgspec.Struct):
        messages: list[dict]
        system: msgspec.Raw = msgspec.Raw()
        tools: msgspec.Raw = msgspec.Raw()

    return msgspec.json.Decoder(Partial if library == "msgspec partial" else object).decode
