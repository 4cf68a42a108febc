"""Load on a server: as fast as so many connections get answers (wrk), or at a rate that nobody slows down."""

import asyncio
import json
import os
import random
import shutil
import subprocess
import time
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path

import numpy as np
import pytest

from .machine import ROOT

_SCRIPT = Path(__file__).with_name("decide.lua")
_RUNS = count()
N_TEXTS = 400


def cores():
    """Return the core for what is measured and the one for the load; None where there is but one."""
    found = sorted(os.sched_getaffinity(0))
    return (found[0], found[-1]) if len(found) > 1 and shutil.which("taskset") else (None, None)


def texts():
    """Return turns of the project's own data as bodies: prompts of every length, with what stood before them."""
    files = sorted(ROOT.glob("data/turns/*.jsonl"))
    rows = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    return [{"prompt": row["prompt"], "context": row["context"]} for row in random.Random(0).sample(rows, N_TEXTS)]


def written(folder):
    """Write the bodies for wrk; return the path."""
    path = folder / "bodies.jsonl"
    path.write_text("".join(json.dumps(body) + "\n" for body in texts()))
    return path


def require_wrk():
    if shutil.which("wrk") is None:
        pytest.skip("wrk is not installed: apt install wrk")


def wrk(url, n_connections, seconds, bodies, *, again=None):
    """Return `n`, `seconds`, `p50`, `p99` and `p99.9` in milliseconds; no request may have failed.

    `again` names sessions that are kept: what they asked before is recalled.
    """
    core = cores()[1]
    pin = [] if core is None else ["taskset", "-c", str(core)]
    command = [*pin, "wrk", "-t1", f"-c{n_connections}", f"-d{seconds}", "-s", _SCRIPT, url]
    sessions = [f"{os.getpid()}-{next(_RUNS)}-"] if again is None else [again, "again"]
    run = subprocess.run([*command, "--", bodies, *sessions], capture_output=True, text=True, check=True)
    measured = json.loads(run.stdout.splitlines()[-1])
    assert measured["n_errors"] == 0, run.stdout
    return measured


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers to requests that were due at a steady rate; times count from when each was due."""

    latency_ms: np.ndarray
    is_default: np.ndarray
    statuses: dict[int, int]


async def at_rate(url, rate, seconds, body_of):
    """Send requests when they are due, however many are unanswered; body_of(number) is what to send."""
    host, port = url.removeprefix("http://").split(":")
    idle, results = [], []

    async def connection():
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()  # the server had enough of it
            await writer.wait_closed()
        return await asyncio.open_connection(host, int(port))

    async def send(number, due):
        reader, writer = await connection()
        body = body_of(number)
        writer.write(b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        results.append((time.perf_counter() - due, int(head[9:12]), b"x-pointsman-category: none" in head))
        idle.append((reader, writer))

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(send(number, due))
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()
    latency, statuses, defaults = zip(*results, strict=True)
    counted = {status: statuses.count(status) for status in set(statuses)}
    return Answered(np.array(latency) * 1e3, np.array(defaults), counted)


def own_sessions(bodies):
    """Return a function from number to body, each of a session of its own."""
    run, loop = next(_RUNS), cycle(bodies)
    return lambda number: json.dumps(next(loop) | {"session_id": f"{os.getpid()}-{run}-{number}"}).encode()
