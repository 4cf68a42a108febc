"""Other ways to run the service, beside the one that ships: another server, more workers, more threads."""

import importlib.util
from contextlib import ExitStack

import numpy as np
import pytest

from .rows import Samples
from .services import running
from .traffic import cores, require_wrk, written, wrk

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]
PART = "Servers, workers, threads"
N_ROUNDS, ROUND_S = 4, 2
SHIPPED = "uvicorn, 1 worker, 1 thread"
CHOICES = {
    "granian": ({"server": "granian"}, {}),
    "2 workers": ({"workers": 2}, {}),
    "2 threads of inference": ({}, {"n_threads": 2}),
}


def serving(stack, folder, *, core=None, options=None, settings=None):
    """Serve the app by a server's own means, records in a file of the folder."""
    folder.mkdir()
    arguments = ["-m", "tests.benchmarks.endpoints", "ours"]
    arguments += [part for name, value in (options or {}).items() for part in (f"--{name}", str(value))]
    settings = {"database_url": f"sqlite:///{folder}/records.sqlite", "log_level": "warning"} | (settings or {})
    environment = {f"POINTSMAN_{name.upper()}": str(value) for name, value in settings.items()}
    return stack.enter_context(running(arguments, ready="/readyz", core=core, environment=environment))


@pytest.mark.parametrize("choice", CHOICES)
def test_choice_beside_what_ships(report, tmp_path, choice):
    require_wrk()
    if choice == "granian" and importlib.util.find_spec("granian") is None:
        pytest.skip("granian is not installed: pip install granian")
    options, settings = CHOICES[choice]
    # A server is compared on one core; workers and threads are there to use more than one.
    core = cores()[0] if choice == "granian" else None
    bodies = written(tmp_path)
    with ExitStack() as stack:
        other = serving(stack, tmp_path / "other", core=core, options=options, settings=settings)
        shipped = serving(stack, tmp_path / "shipped", core=core)
        for n_connections in (1, 8):
            rounds = []
            for number in range(N_ROUNDS + 1):
                pair = [wrk(server.url, n_connections, ROUND_S, bodies) for server in (other, shipped)]
                if number:
                    rounds.append(pair)
            where = f"{choice}, {n_connections} connection{'s' if n_connections > 1 else ''}"
            for figure, unit in (("p50", "ms"), ("p99", "ms")):
                samples = Samples(*np.array([[side[figure] for side in pair] for pair in rounds]).T)
                report(samples.row(PART, f"{where}: {figure}", unit, SHIPPED))
            rates = np.array([[side["n"] / side["seconds"] for side in pair] for pair in rounds])
            row = report(Samples(*rates.T).row(PART, f"{where}: decisions", "per s", SHIPPED))
            assert row.ratio > 0.2
