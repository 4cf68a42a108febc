"""How long a request takes to read, as ratios: four times the body may take six times as long, never sixteen.

Run with `python -m pytest -m benchmark tests/benchmarks/test_request_speed.py -s`.
"""

import gc
import json
import random
import time
from collections.abc import Callable

import orjson
import pytest

from pointsman.classifier.request import read_request

pytestmark = pytest.mark.benchmark

MB = 1_000_000
MAX_RATIO = 6
WORDS = ["def", "return", "self", "handler", "the", '"quoted"', '{"id": 1}', "path/to/file.py", "error", "//", "<tag>"]


def text(rng: random.Random, n_chars: int) -> str:
    """Lines that need about as many escapes in JSON as code does."""
    line = "    " + " ".join(rng.choices(WORDS, k=9))
    return "\n".join([line] * (n_chars // len(line) + 1))[:n_chars]


def session(n_bytes: int, result_chars: int = 6_000) -> bytes:
    """Return a Claude Code body: a prompt now and then, a tool call and its result again and again."""
    rng = random.Random(7)
    messages: list[dict] = []
    size = 0
    while size < n_bytes:
        start = len(messages)
        prompt = [{"type": "text", "text": f"<system-reminder>\n{text(rng, 300)}\n</system-reminder>"}]
        messages.append({"role": "user", "content": [*prompt, {"type": "text", "text": text(rng, 200)}]})
        for _ in range(10):
            call = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": text(rng, 100)}}
            result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": text(rng, result_chars)}
            messages.append({"role": "assistant", "content": [{"type": "text", "text": text(rng, 200)}, call]})
            messages.append({"role": "user", "content": [result]})
        size += len(json.dumps(messages[start:]))
    return json.dumps({"system": text(rng, 9_000), "max_tokens": 32_000, "messages": messages}).encode()


def best_ms(work: Callable[[], object], n: int = 9) -> float:
    """Best of several runs without the garbage collector: other load and other objects cannot make it worse."""
    times = []
    for _ in range(n):
        gc.collect()
        gc.disable()
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1_000)
        gc.enable()
    return min(times)


@pytest.mark.parametrize("result_chars", [300, 1_500, 6_000, 60_000])
def test_reading_is_linear_in_the_body(result_chars):
    small, large = (orjson.loads(session(size, result_chars)) for size in (MB, 4 * MB))
    ratio = best_ms(lambda: read_request(large)) / best_ms(lambda: read_request(small))
    print(f"\nparsed body, results of {result_chars} characters: 4 MB / 1 MB = {ratio:.1f}")
    assert ratio <= MAX_RATIO


@pytest.mark.parametrize("result_chars", [300, 1_500, 6_000, 60_000])
def test_parsing_and_reading_is_linear_in_the_body(result_chars):
    # From 4 to 16 MB: below, the allocator serves the parser from memory it still has, which flatters the small body.
    bodies = [session(size, result_chars) for size in (MB, 4 * MB, 16 * MB)]
    times = [best_ms(lambda body=body: read_request(body), n=5) for body in bodies]
    print(
        f"\nbytes, results of {result_chars} characters: 1, 4, 16 MB: {', '.join(f'{t:.1f}' for t in times)} ms "
        "(aims: 1 MB 15 ms, 4 MB 60 ms)"
    )
    assert times[2] / times[1] <= MAX_RATIO


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
def test_hostile_text_is_read_in_linear_time(name):
    bodies = [{"messages": [{"role": "user", "content": HOSTILE[name](size)}]} for size in (MB, 4 * MB)]
    small, large = (best_ms(lambda body=body: read_request(body), n=5) for body in bodies)
    print(f"\n{name}: {small:.1f} ms, {large:.1f} ms, ratio {large / small:.1f}")
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
def test_many_tiny_items_are_read_in_linear_time(item):
    small, large = (best_ms(lambda n=n: read_request({"messages": [item] * n}), n=5) for n in (10_000, 40_000))
    print(f"\n{small:.1f} ms, {large:.1f} ms, ratio {large / small:.1f}")
    assert large <= MAX_RATIO * max(small, 1.0)


def test_parsers_compared():
    """Not a test of ours: the reason for the parser that `request.py` uses."""
    msgspec = pytest.importorskip("msgspec")

    class Partial(msgspec.Struct):
        messages: list[dict]
        system: msgspec.Raw = msgspec.Raw()
        tools: msgspec.Raw = msgspec.Raw()

    parsers = {
        "json": json.loads,
        "orjson": orjson.loads,
        "msgspec": msgspec.json.Decoder().decode,
        "msgspec partial": msgspec.json.Decoder(Partial).decode,
    }
    for size in (50_000, MB, 4 * MB):
        body = session(size)
        times = {name: best_ms(lambda parse=parse, body=body: parse(body), n=20) for name, parse in parsers.items()}
        ratios = ", ".join(f"{name} {times['json'] / time_ms:.1f}" for name, time_ms in times.items())
        print(f"\n{len(body) / MB:.2f} MB, standard library {times['json']:.2f} ms; times as fast: {ratios}")
        assert times["orjson"] < times["json"]
