"""Fuzz with coverage as the guide: `make fuzz`, or `python -m tests.fuzz.run TARGET N` for one target.

Runs atheris (libFuzzer) in a process for each target, from seeds that lie in the tests, and prints how many inputs were
tried. A crash, a hang of 10 s, 2 GB of memory or a wrong exception ends it, and leaves the input as a file.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Of the inputs asked for, how many go to each target: cheap ones get more.
SHARES = {
    "request_bytes": 0.58,
    "request_shapes": 0.32,
    "bundle_manifest": 0.06,
    "policy_file": 0.015,
    "service": 0.015,
    "catalog_file": 0.005,
    "bundle_parts": 0.005,
}
SEEDS = {
    "request_bytes": "tests/data/requests/*.json",
    "policy_file": "classifier/policies/*.yaml",
    "catalog_file": "classifier/profiles/*.yaml",
    "bundle_manifest": "tests/data/bundles/format-1/manifest.json",
}
#: Whole lines of YAML that say nothing to a reader of files, and would be most of what is mutated.
_COMMENT = re.compile(rb"^ *#.*\n|^\n", re.MULTILINE)
LIMITS = ["-timeout=60", "-rss_limit_mb=2048", "-print_final_stats=1", "-max_len=8192"]


def fuzz(name, n_inputs):
    """Fuzz one target in this process; does not return."""
    import atheris

    with atheris.instrument_imports(include=["pointsman.classifier", "pointsman.serving"]):
        from .targets import TARGETS
    atheris.Setup([sys.argv[0], *_options(name, n_inputs)], TARGETS[name])
    atheris.Fuzz()


def _options(name, n_inputs):
    corpus = Path(tempfile.mkdtemp(prefix=f"pointsman-corpus-{name}-"))
    for number, seed in enumerate(sorted(ROOT.glob(SEEDS.get(name, "none")))):
        # The first byte of a request says how it is packed and where it goes.
        first = bytes([4 * (number % 5)]) if name == "request_bytes" else b""
        (corpus / seed.name).write_bytes(first + _COMMENT.sub(b"", seed.read_bytes()))
    return [str(corpus), f"-runs={n_inputs}", f"-artifact_prefix={corpus}/found-", *LIMITS]


def fuzz_all(n_inputs):
    """Fuzz every target in a process of its own; return the exit status."""
    total = 0
    for name, share in SHARES.items():
        command = [sys.executable, "-m", "tests.fuzz.run", name, str(round(n_inputs * share))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
        n_tried = int(next(iter(re.findall(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)), 0))
        print(f"{name:<16}{n_tried:>9} inputs  {'ok' if done.returncode == 0 else 'FOUND'}", flush=True)
        if done.returncode or n_tried < n_inputs * share * 0.99:
            print(f"exit status {done.returncode}", done.stderr[-6000:])
            return 1
        total += n_tried
    print(f"{'together':<16}{total:>9} inputs")
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 3:
        fuzz(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit(fuzz_all(int(sys.argv[1])))
