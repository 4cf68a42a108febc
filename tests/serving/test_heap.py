"""Memory that was freed in a thread goes back to the system."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, threading
from pathlib import Path
from pointsman.serving import heap

def mib():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) // 1024

heap.share_arenas()
before = mib()
kept = []

def work():
    blocks = [bytearray(50_000) for _ in range(2_000)]
    kept.append(blocks[-1])

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
gc.collect()
heap.give_back()
print(mib() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the heap of glibc, on Linux")
def test_threads_that_ended_leave_little_behind():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30
