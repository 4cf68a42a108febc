"""Shared fixtures: a tiny real bundle, so that tests load and run what production loads and runs."""

import gc
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from pointsman.classifier.assessor import Assessor

# Machines are shared and noisy: a deadline would test the neighbours.
settings.register_profile("pointsman", deadline=None, derandomize=True)
settings.load_profile("pointsman")

#: Trained by the tiny story of `tests/training/conftest.py` at format 1; kept so that format 1 stays readable.
TINY_BUNDLE = Path(__file__).parent / "data" / "bundles" / "format-1"


def pytest_unconfigure() -> None:
    """Thaw what a start in this process froze: duckdb reports what is never collected behind the last line."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def tiny_bundle() -> Path:
    """A real bundle of 130 KB with two layers of 32 dimensions."""
    return TINY_BUNDLE


@pytest.fixture
def tiny_bundle_copy(tmp_path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return Path(shutil.copytree(TINY_BUNDLE, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def tiny_assessor(tiny_bundle) -> Assessor:
    return Assessor.load(tiny_bundle)
