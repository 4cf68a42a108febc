"""Servers to measure, each a process of its own: ours as people start it, and what it is compared with."""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import psutil

from .machine import ROOT

SERVE = ("-m", "pointsman.classifier", "serve", "--port", "0", "--log-level", "warning")
_PATIENCE_S = 60


class Service:
    """One server with its workers."""

    def __init__(self, process, url):
        self.process, self.url = process, url

    def get(self, path):
        return httpx.get(self.url + path, trust_env=False, timeout=_PATIENCE_S)

    def family(self):
        """Return the process and its workers."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def processor_s(self):
        return sum(sum(process.cpu_times()[:2]) for process in self.family())

    def memory_mb(self):
        """Return what the largest of its processes holds in memory."""
        return max(process.memory_info().rss for process in self.family()) / 1e6


def starting(arguments, *, ready, core=None, environment=None):
    """Start a Python program that writes its address on stderr; return it once it answers 200 at `ready`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {})
    pin = [] if core is None else ["taskset", "-c", str(core)]
    process = subprocess.Popen([*pin, sys.executable, *arguments], stderr=subprocess.PIPE, text=True, env=environment)
    written = ""
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", written)):
        line = process.stderr.readline()
        assert line, written
        written += line
    # What it writes from here on must not fill the pipe.
    drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
    process.stderr.close()
    service = Service(process, found.group())
    service.drain = drain
    deadline = time.monotonic() + _PATIENCE_S
    with httpx.Client(trust_env=False) as http:
        while not _answers(http, service.url + ready):
            assert process.poll() is None, written
            assert time.monotonic() < deadline, written
            time.sleep(0.01)
    return service


@contextmanager
def running(arguments, **options):
    """Keep such a server until the block ends."""
    service = starting(arguments, **options)
    try:
        yield service
    finally:
        stop(service)


def stop(service):
    service.process.terminate()
    service.process.wait(_PATIENCE_S)
    service.drain.wait(_PATIENCE_S)


@contextmanager
def ours(folder, *, core=None, **settings):
    """Serve as `pointsman serve` does, with records in a file of this folder."""
    environment = {f"POINTSMAN_{name.upper()}": str(value) for name, value in settings.items()}
    arguments = [*SERVE, "--database-url", f"sqlite:///{folder}/records.sqlite"]
    with running(arguments, ready="/readyz", core=core, environment=environment) as service:
        yield service


def _answers(http, url):
    try:
        return http.get(url).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def raw_inference(bodies, core=None):
    """Keep a process that runs tokeniser and graph; call what this yields with the seconds to do so."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    command = [*pin, sys.executable, "-m", "tests.benchmarks.inference", bodies]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:

        def run(seconds):
            process.stdin.write(f"{seconds}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        run(0.5)
        yield run
        process.stdin.close()
