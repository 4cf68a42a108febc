"""`pointsman serve` in a process of its own, to be killed, stopped and starved."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
# The command as a person runs it, around a router with chosen answers. It ends as its parent does.
FAKE_MODEL = f"""
import argparse, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.serving.fakes import fake_router
from pointsman.serving import commands, live_model
live_model.open_router = lambda settings: fake_router(sessions=live_model.open_sessions(settings))
parser = argparse.ArgumentParser()
command = commands.ServeCommand()
command.add_arguments(parser)
sys.exit(command.run(parser.parse_args(sys.argv[1:])))
"""
REAL_MODEL = "import sys; from pointsman.classifier.commands import main; sys.exit(main(['serve', *sys.argv[1:]]))"
PATIENCE_S = 60


class ServeProcess:
    """One service, started again as often as a test likes, on one port and one log."""

    def __init__(self, folder, database_url, *, script=FAKE_MODEL, prefix=(), **settings):
        self.log_path = folder / "serve.log"
        self._command = [*prefix, sys.executable, "-c", script]
        self._environment = os.environ | {"POINTSMAN_DATABASE_URL": database_url, "XDG_DATA_HOME": str(folder)}
        self._environment |= {f"POINTSMAN_{name.upper()}": str(value) for name, value in settings.items()}
        self.port = 0
        self.process = None

    def start(self, *, is_ready=True):
        with open(self.log_path, "ab") as log:
            command = [*self._command, "--port", str(self.port)]
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=self._environment)
        n_before = self.log.count("Pointsman decides on")
        self.until(lambda: self.log.count("Pointsman decides on") > n_before or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        self.port = int(re.findall(r"127\.0\.0\.1:(\d+) \(model", self.log)[-1])
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            trust_env=False,
            timeout=PATIENCE_S,
            transport=httpx.HTTPTransport(retries=5),
        )
        wanted = "/readyz" if is_ready else "/healthz"
        self.until(lambda: self.http.get(wanted).status_code == 200)
        return self

    def fails_to_start(self):
        """Start it and wait for its end; its exit status."""
        with open(self.log_path, "ab") as log:
            command = [*self._command, "--port", str(self.port)]
            return subprocess.run(command, stderr=log, env=self._environment, timeout=PATIENCE_S).returncode

    @property
    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def kill(self):
        self.http.close()
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def stop(self):
        """End it as an orchestrator does; return how long that took."""
        self.http.close()
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)
        return time.monotonic() - started

    def decide(self, prompt="fix the race", **fields):
        response = self.http.post("/v1/decide", json={"prompt": prompt, **fields})
        assert response.status_code == 200, response.text
        return response.json()

    def judge(self, decision_id, key=None, outcome="success"):
        headers = {} if key is None else {"idempotency-key": key}
        body = {"decision_id": decision_id, "outcome": outcome}
        return self.http.post("/v1/feedback", json=body, headers=headers)

    def metric(self, name, **labels):
        shown = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        wanted = f"{name}{{{shown}}} " if labels else f"{name} "
        lines = self.http.get("/metrics").text.splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(wanted)), 0.0)

    def until(self, condition, wait_s=PATIENCE_S):
        deadline = time.monotonic() + wait_s
        while not _holds(condition):
            assert time.monotonic() < deadline, self.log[-4000:]
            time.sleep(0.05)


def _holds(condition):
    try:
        return condition()
    except httpx.TransportError:
        return False


@contextmanager
def serving(folder, database_url, **options):
    """Serve until the block ends."""
    service = ServeProcess(folder, database_url, **options)
    try:
        yield service.start()
    finally:
        if service.process is not None and service.process.poll() is None:
            service.kill()
