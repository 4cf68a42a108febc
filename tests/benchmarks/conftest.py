"""Collects the rows of a run: printed always, written with `--results FOLDER`."""

from pathlib import Path

import pytest

from . import results


def pytest_addoption(parser):
    parser.addoption("--results", type=Path, help="folder for <date>.json and its table; printed only when left out")


def pytest_configure(config):
    config.stash[_ROWS] = []


_ROWS = pytest.StashKey[list]()


@pytest.fixture
def report(request):
    """Takes rows as they are measured; returns them, so that a benchmark can look at what it reports."""
    command = f"python -m pytest -m benchmark -s '{request.node.nodeid}'"

    def take(row):
        kept = results.as_json(row, command)
        request.config.stash[_ROWS].append(kept)
        print(f"\n{row.part}: {' | '.join(cell for cell in results.cells(kept) if cell)}", flush=True)
        return row

    return take


def pytest_sessionfinish(session):
    rows, folder = session.config.stash[_ROWS], session.config.getoption("--results", None)
    if rows and folder is not None:
        print(f"\n{results.write(folder, rows)}")
