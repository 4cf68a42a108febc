"""The npm package as a user installs it, with its libraries fetched into `.cache` once."""

import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from ..gateways.processes import CACHE, ROOT, tool

#: The first two are what in-process inference needs; the others make and check types.
LIBRARIES = (
    "onnxruntime-node@1.30.0",
    "@huggingface/tokenizers@0.2.0",
    "openapi-typescript@7.13.0",
    "typescript@5.9.3",
    "@types/node@22.20.5",
)
SOURCE = ROOT / "serving" / "clients" / "js"
_INSTALL_TIMEOUT_S = 600


@pytest.fixture(scope="session")
def libraries() -> Path:
    """The `node_modules` folder with everything of `LIBRARIES`, or a loud skip."""
    folder = CACHE / "javascript-1"
    if not (folder / "node_modules" / "onnxruntime-node").exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="javascript.") as scratch:
            fresh = Path(scratch) / "libraries"
            fresh.mkdir()
            # No scripts: one of them would fetch CUDA from another host.
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefix", str(fresh))
            command = [tool("npm"), "install", *options, *LIBRARIES]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                pytest.skip(f"in-process JavaScript was NOT run: npm took over {_INSTALL_TIMEOUT_S} s")
            if done.returncode:
                problem = " ".join(done.stderr.split())[-300:]
                pytest.skip(f"in-process JavaScript was NOT run: npm cannot install its libraries here ({problem})")
            # Moved into place whole: a run beside ours never sees half of it.
            with suppress(OSError):
                fresh.rename(folder)
    return folder / "node_modules"


@pytest.fixture(scope="session")
def project(libraries, tmp_path_factory) -> Path:
    """A project that depends on the package as `npm pack` makes it, and on the libraries."""
    folder = tmp_path_factory.mktemp("project")
    modules = folder / "node_modules"
    modules.mkdir()
    subprocess.run(
        [tool("npm"), "pack", "--pack-destination", str(folder), str(SOURCE)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    (packed,) = folder.glob("*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    shutil.move(folder / "package", modules / "pointsman-client")
    for path in libraries.iterdir():
        if not path.name.startswith("."):
            (modules / path.name).symlink_to(path)
    return folder
