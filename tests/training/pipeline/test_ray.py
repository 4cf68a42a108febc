"""On a real Ray cluster the pipeline writes the files that one machine writes, also when a worker is killed midway."""

import contextlib
import importlib.util
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

# Looked for, not imported: Ray would put a time stamp of its own into every log record of the tests beside these.
if importlib.util.find_spec("ray") is None:
    pytest.skip("tests of the Ray engine need the ray extra: pip install -e '.[ray]'", allow_module_level=True)

from pointsman.classifier.commands import main
from pointsman.training.pipeline.config import PipelineConfig
from pointsman.training.pipeline.run import run_pipeline

from .turns import contents, read_copies, read_output, turn, write_turns

pytestmark = [pytest.mark.ray, pytest.mark.timeout(280)]

N_TURNS = 1_200
#: The cluster lets in who has this token: none that lies on this machine counts.
ENVIRONMENT = os.environ | {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_gcs_server_request_timeout_seconds": "240",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster of one node with two cores; the id of its first process and its address."""
    log = tmp_path_factory.mktemp("ray") / "log"
    process, address = started(log)
    yield process.pid, address
    end(process)


def end(process):
    """Kill a cluster; asked to end, it takes half a minute."""
    parents = parents_of_all()
    for pid in [process.pid, *(pid for pid in parents if process.pid in ancestors(pid, parents))]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(60)


def parents_of_all():
    """Return the parent of every process of the machine."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return parents


def started(log):
    """Start a cluster; Ray gives up after 30 s, which a busy machine may need several times."""
    while True:
        options = [f"--port={free_port()}", "--num-cpus=2", "--include-dashboard=false"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *options]
        with log.open("wb") as out:
            process = subprocess.Popen(command, env=ENVIRONMENT, stdout=out, stderr=out, start_new_session=True)
        while process.poll() is None:
            if found := re.search(r"--address='(.+?)'", log.read_text()):
                return process, found[1]
            time.sleep(0.2)
        assert "timed out during startup" in log.read_text()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rows = [turn(n) for n in range(N_TURNS)]
    rows += [turn(n) | {"id": f"again{n}", "group": "other"} for n in range(0, N_TURNS, 10)]
    return write_turns(tmp_path_factory.mktemp("data") / "turns.jsonl", rows)


@pytest.fixture(scope="module")
def expected(file, tmp_path_factory, tiny_bundle):
    """What one machine writes."""
    output = tmp_path_factory.mktemp("local")
    run_pipeline(PipelineConfig((str(file),), output, bundle=tiny_bundle, n_workers=2, part_bytes=20_000))
    return contents(output)


def start(file, output, bundle, address):
    code = (
        "import sys; from pathlib import Path; from pointsman.training.pipeline.config import PipelineConfig as C; "
        "from pointsman.training.pipeline.run import run_pipeline; source, output, bundle, address = sys.argv[1:]; "
        "options = {'bundle': Path(bundle), 'part_bytes': 20_000, 'engine': 'ray', 'address': address}; "
        "run_pipeline(C((source,), Path(output), **options))"
    )
    return subprocess.Popen([sys.executable, "-c", code, str(file), str(output), str(bundle), address], env=ENVIRONMENT)


def busy_workers(root):
    """Return the processes under `root` that run a task now, by id."""
    parents = parents_of_all()
    return [pid for pid in parents if root in ancestors(pid, parents) and runs_a_task(pid)]


def runs_a_task(pid):
    try:
        name = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return name.startswith("ray::") and "_apply" in name


def ancestors(pid, parents):
    while pid := parents.get(pid, 0):
        yield pid


def kill_a_busy_worker(process, root, folder, *, after):
    """Wait until some parts are there, then kill a worker in the midst of another one."""
    while process.poll() is None:
        if len(list(folder.glob("*.parquet"))) >= after:
            for pid in busy_workers(root)[:1]:
                os.kill(pid, signal.SIGKILL)
                return pid
        time.sleep(0.005)
    return None


def test_cluster_writes_what_one_machine_writes(cluster, file, expected, tmp_path, tiny_bundle):
    process = start(file, tmp_path, tiny_bundle, cluster[1])
    assert process.wait() == 0
    assert contents(tmp_path) == expected


@pytest.mark.parametrize("step", ["work", "turns"], ids=["while reading", "while scoring"])
def test_killed_worker_loses_and_doubles_no_row(cluster, file, expected, tmp_path, tiny_bundle, step):
    process = start(file, tmp_path, tiny_bundle, cluster[1])
    killed = kill_a_busy_worker(process, cluster[0], tmp_path / step, after=3)
    assert process.wait() == 0
    assert killed is not None
    assert contents(tmp_path) == expected
    kept, copies = read_output(tmp_path), read_copies(tmp_path)
    assert (len(kept), len(copies), len({*kept, *copies})) == (N_TURNS, N_TURNS // 10, N_TURNS * 11 // 10)


def test_absent_cluster_is_told_by_its_address(tmp_path, capsys):
    address = f"127.0.0.1:{free_port()}"
    given = ["pipeline", str(tmp_path), "--output", str(tmp_path / "out"), "--engine", "ray", "--address", address]
    assert main(given) == 2
    assert f"no Ray cluster at {address}" in capsys.readouterr().err


def test_cluster_that_does_not_start_is_told_with_what_to_do(tmp_path, capsys, monkeypatch):
    def late(**_):
        msg = "The current node timed out during startup. This could happen because"
        raise Exception(msg)

    monkeypatch.setattr("ray.init", late)
    assert main(["pipeline", str(tmp_path), "--output", str(tmp_path / "out"), "--engine", "ray"]) == 2
    told = capsys.readouterr().err
    assert "Ray did not start on this machine (The current node timed out during startup); expected it" in told
    assert "ray start --head" in told
