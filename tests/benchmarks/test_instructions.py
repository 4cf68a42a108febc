"""Instructions of the hot paths beside the baseline: a few percent show, whatever else the machine does.

A change that is meant to cost more writes the baseline anew: `python -m tests.benchmarks.instructions`.
"""

import json
import shutil

import pytest

from . import instructions
from .rows import Goal, Row

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]
PART = "Instructions"
#: Between runs of the same code: a tenth of a percent. Between compilations of the same sources: nothing.
MAX_RATIO = 1.03


@pytest.fixture(scope="module")
def baseline():
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed: apt install valgrind")
    kept = json.loads(instructions.BASELINE.read_text())
    here = instructions.place()
    if any(kept[name] != here[name] for name in here):
        pytest.skip(f"the baseline is of {kept['machine']} with {kept['versions']}, this is {here}")
    return kept["instructions"]


@pytest.mark.parametrize("name", instructions.PATHS)
def test_path_takes_no_more_instructions(report, baseline, name):
    counted = instructions.count(name)
    what = name.replace("_", " ")
    row = report(Row(PART, what, "per round", counted, 1, "baseline", baseline[name], goal=Goal("ratio", MAX_RATIO)))
    assert row.ratio <= MAX_RATIO
