"""`/v1/decide` over HTTP beside an empty endpoint, an endpoint that only infers, and inference without HTTP.

Server and inference have one core, the same one; the load has another. All get the same texts, the project's own turns,
each in a session of its own, and take turns in rounds of seconds.
"""

import asyncio
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest

from .rows import Goal, Row, Samples
from .services import ours, raw_inference, running
from .traffic import at_rate, cores, own_sessions, require_wrk, texts, written, wrk

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]
PART = "HTTP, server on one core"
N_ROUNDS, ROUND_S = 4, 2
ENDPOINTS = ("empty", "raw")


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    require_wrk()
    folder, core = tmp_path_factory.mktemp("http"), cores()[0]
    bodies = written(folder)
    with ExitStack() as stack:
        found = {"ours": stack.enter_context(ours(folder, core=core))}
        for name in ENDPOINTS:
            server = running(["-m", "tests.benchmarks.endpoints", name], ready="/", core=core)
            found[name] = stack.enter_context(server)
        infer = stack.enter_context(raw_inference(bodies, core))
        yield SimpleNamespace(**found, bodies=bodies, infer=infer)


def asked(server, n_connections, bodies, *, again=None):
    """Ask a server for a round; return what was measured, its processor time and its safe defaults with it."""
    used = server.processor_s()
    measured = wrk(server.url, n_connections, ROUND_S, bodies, again=again)
    return measured | {"processor_s": server.processor_s() - used}


def rounds(servers, n_connections):
    """Return what each measured in each round."""
    found = {name: [] for name in ("ours", "inference", *ENDPOINTS)}
    for number in range(N_ROUNDS + 1):
        taken = {"inference": servers.infer(ROUND_S)}
        before = n_defaults(servers.ours)
        taken["ours"] = asked(servers.ours, n_connections, servers.bodies)
        taken["ours"]["n_defaults"] = n_defaults(servers.ours) - before
        for name in ENDPOINTS:
            taken[name] = asked(getattr(servers, name), n_connections, servers.bodies)
        if number:  # the first round warms up
            for name, measured in taken.items():
                found[name].append(measured)
    return found


def n_defaults(service):
    """Return how many answers were the safe default so far."""
    lines = service.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("pointsman_safe_defaults_total{"))


def paired(found, ours, reference, figure):
    return Samples(np.array([figure(r) for r in found[ours]]), np.array([figure(r) for r in found[reference]]))


def processor_ms(measured):
    """Return a core's time per answer; its inverse is what a core answers that does nothing else."""
    return measured["processor_s"] / measured["n"] * 1e3


def inferred_per_s(measured):
    return (measured["n"] - measured.get("n_defaults", 0)) / measured["seconds"]


@pytest.mark.parametrize("n_connections", [1, 8, 32, 128])
def test_decide_over_http(servers, report, n_connections):
    found = rounds(servers, n_connections)
    where = f"{n_connections} connection{'s' if n_connections > 1 else ''}"
    for share in ("p50", "p99", "p99.9"):
        of_share = lambda measured, share=share: measured[share]  # noqa: E731
        against = {"empty": "empty FastAPI", "raw": "FastAPI that only infers"}
        for name, beside in against.items():
            report(paired(found, "ours", name, of_share).row(PART, f"{share}, {where}, beside {beside}", "ms", beside))
    bare = "tokeniser + ONNX"
    samples = paired(found, "ours", "inference", lambda measured: measured["p50"])
    report(samples.row(PART, f"p50, {where}, beside {bare}", "ms", bare))
    # Goals are on processor time: on a core of one's own it is the clock's, and other programs do not change it.
    samples = paired(found, "ours", "inference", processor_ms)
    excess = Goal("excess", 0.6) if n_connections == 1 else None
    report(samples.row(PART, f"processor time of a decision, {where}", "ms", bare, goal=excess))
    rates = Samples(1e3 / samples.ours, 1e3 / samples.reference)
    # With more at once than may wait, most answers are early ones, which cost next to nothing.
    goal = Goal("ratio", 0.85, at_least=True) if n_connections == 8 else None
    report(rates.row(PART, f"decisions per second of processor, {where}", "per s", bare, goal=goal))
    report(
        paired(found, "ours", "raw", processor_ms).row(
            PART, f"processor time, {where}, beside HTTP", "ms", against["raw"]
        )
    )
    samples = paired(found, "ours", "inference", inferred_per_s)
    row = report(samples.row(PART, f"decisions with inference, {where}", "per s", bare))
    share = sum(r["n_defaults"] for r in found["ours"]) / sum(r["n"] for r in found["ours"])
    report(Row(PART, f"answered early with the safe default, {where}", "%", 100 * share, N_ROUNDS))
    assert row.ratio > 0.1 or share > 0.5


@pytest.mark.parametrize("n_connections", [1, 8])
def test_recalled_decisions_over_http(servers, report, n_connections):
    """Requests of known turns need no inference: retries here, whose cost is that of a tool loop's."""
    wrk(servers.ours.url, 1, 3 * ROUND_S, servers.bodies, again="recalled")
    found = {"ours": [], "empty": []}
    for _ in range(N_ROUNDS):
        for name in found:
            found[name].append(asked(getattr(servers, name), n_connections, servers.bodies, again="recalled"))
    where = f"{n_connections} connection{'s' if n_connections > 1 else ''}"
    for share in ("p50", "p99"):
        samples = paired(found, "ours", "empty", lambda measured, share=share: measured[share])
        report(samples.row(PART, f"recalled, {share}, {where}", "ms", "empty FastAPI"))
    cost = paired(found, "ours", "empty", processor_ms)
    report(cost.row(PART, f"recalled, processor time, {where}", "ms", "empty FastAPI"))
    row = report(
        paired(found, "ours", "empty", inferred_per_s).row(PART, f"recalled, {where}", "per s", "empty FastAPI")
    )
    assert row.ratio > 0.01


def test_twice_the_capacity(servers, report):
    """Requests that come twice as fast as they can be inferred are answered early, and waits do not grow."""
    capacity = np.median([inferred_per_s(wrk(servers.ours.url, 8, ROUND_S, servers.bodies)) for _ in range(3)])
    answered = asyncio.run(at_rate(servers.ours.url, 2 * capacity, 15, own_sessions(texts())))
    first, second = np.array_split(answered.latency_ms, 2)
    assert set(answered.statuses) == {200}
    report(Row(PART, "requests at twice the capacity", "per s", 2 * capacity, beside="capacity", reference=capacity))
    report(Row(PART, "twice the capacity: answered with the safe default", "%", 100 * answered.is_default.mean()))
    for share in (50, 99, 99.9):
        what = f"twice the capacity: p{share:g}, second half beside the first"
        report(Row(PART, what, "ms", *halves(second, share, first)))
    row = report(
        Row(
            PART,
            "twice the capacity: p99",
            "ms",
            float(np.percentile(answered.latency_ms, 99)),
            len(answered.latency_ms),
            goal=Goal("ours", 2_000),
        )
    )
    assert row.ours < 10_000


def halves(second, share, first):
    return float(np.percentile(second, share)), len(second), "first half", float(np.percentile(first, share))
