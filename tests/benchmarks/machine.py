"""What a figure depends on besides the code: machine, versions, bundle and commit."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from pointsman.classifier.bundle import load_bundle

ROOT = Path(__file__).parents[2]
PACKAGES = ("onnxruntime", "tokenizers", "numpy", "orjson", "fastapi", "starlette", "uvicorn", "httptools", "uvloop")


def describe_machine():
    return {"processor": _processor(), "n_cores": len(os.sched_getaffinity(0)), "system": platform.platform()}


def describe_versions():
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def describe_bundle():
    bundle = load_bundle()
    return {"version": bundle.manifest.version, "digest": bundle.digest}


def commit():
    """Return the commit that is measured, with a plus sign where files differ from it; None outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"], cwd=ROOT, capture_output=True, text=True
    )
    return described.stdout.strip() or None


def load_average():
    """Return how many processes ran or waited to, over the last minute; None where the system does not tell."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def now():
    return datetime.now(UTC).isoformat(timespec="seconds")


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in named.items()}
    return f"{fields.get('model name', platform.machine())}, family {fields.get('cpu family')}"
