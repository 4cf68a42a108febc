"""Collects the rows of a run: printed always, written with `--results FOLDER`."""

from pathlib import Path

import pytest

from . import results


def pytest_addoption(parser):
    parser.addoption("--results", type=Path, help="folder for <date>.json and its table; printed only when left out")


def pytest_configure(config):
    config.stash[_ROWS] = []


_ROWS = pytest.StashKey[list]()


class Report:
    """Takes the rows of one benchmark."""

    def __init__(self, kept, command):
        self._kept, self._command = kept, command

    def __call__(self, row):
        """Keep a row, print it and return it, so that a benchmark can look at what it reports."""
        self._keep(results.as_json(row, self._command))
        return row

    def skip(self, part, what, reason):
        """Keep in the results that something was not measured, and why; ends the benchmark."""
        self._keep(results.skipped_as_json(part, what, reason, self._command))
        pytest.skip(f"{what}: {reason}")

    def _keep(self, row):
        self._kept.append(row)
        print(f"\n{row['part']}: {' | '.join(cell for cell in results.cells(row) if cell)}", flush=True)


@pytest.fixture
def report(request):
    return Report(request.config.stash[_ROWS], f"python -m pytest -m benchmark -s '{request.node.nodeid}'")


def pytest_sessionfinish(session):
    rows, folder = session.config.stash[_ROWS], session.config.getoption("--results", None)
    if rows and folder is not None:
        print(f"\n{results.write(folder, rows)}")
