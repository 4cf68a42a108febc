"""Memory that was freed in a thread goes back to the system; what a start makes is not looked through for garbage."""

import gc
import subprocess
import sys

import pytest

from pointsman.serving import heap

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


@pytest.fixture
def thawed():
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_what_a_start_makes_is_not_looked_through():
    with heap.made_to_stay():
        assert not gc.isenabled()
        made = [object()]
    assert gc.isenabled()
    assert not any(known is made for known in gc.get_objects())


@pytest.mark.usefixtures("thawed")
def test_a_start_that_fails_leaves_the_search_for_garbage_on():
    with pytest.raises(OSError, match="port"), heap.made_to_stay():
        raise OSError("port")
    assert gc.isenabled()
