"""Real servers that a test may break, and small real disks that it may fill."""

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A file system of its own, of a few megabytes."""

    def __init__(self, folder):
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self):
        with open(self._ballast, "ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                _write_until_full(file, b"\0" * size)

    def empty(self):
        self._ballast.unlink()


def _write_until_full(file, part):
    try:
        while True:
            if file.write(part) < len(part):
                return
    except OSError:
        return


@contextmanager
def small_disk(size):
    folder = Path(tempfile.mkdtemp(prefix="pointsman-disk-"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", folder], capture_output=True)
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"no disk to fill: mounting one is not allowed here ({done.stderr.decode().strip()})")
    try:
        yield Disk(folder)
    finally:
        # Lazily: a process that was just killed may hold a file for a moment.
        subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))
