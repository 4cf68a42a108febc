"""Checks pinned requirements against what is known of them: `python tests/supply/advisories.py LOCK [OSV]`.

Without OSV pip-audit asks the package index. For machines without a network OSV is a local copy of the OSV database: a
folder of JSON advisories, or the `all.zip` that osv.dev publishes for PyPI; fetch it where there is a network and carry
it over. Exit status: 0 nothing is known, 1 something is, 2 not every package could be looked up, which is no good news.
"""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

Advisory = dict[str, Any]


@dataclass(frozen=True)
class Finding:
    """One advisory that holds for one pinned version."""

    package: str
    version: str
    advisory: str
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """What is known; what was looked up, in words; and why that is not everything, empty where it is."""

    findings: list[Finding]
    looked_up: str
    problem: str


def pinned(lock: str) -> dict[str, list[str]]:
    """Return the versions of each package in a lock; several where they differ by Python version."""
    found: dict[str, list[str]] = {}
    for line in lock.splitlines():
        if line[:1].isalnum():
            requirement = Requirement(line.rstrip("\\ "))
            (pin,) = requirement.specifier
            found.setdefault(canonicalize_name(requirement.name), []).append(pin.version)
    return found


def read_advisories(source: Path) -> Iterator[Advisory]:
    """Read a folder of JSON files, or a zip of them."""
    if source.is_dir():
        for path in sorted(source.rglob("*.json")):
            yield json.loads(path.read_bytes())
        return
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            yield json.loads(archive.read(name))


def check(versions: dict[str, list[str]], advisories: Iterator[Advisory]) -> tuple[list[Finding], int, str]:
    """Return what is known against the versions, how many advisories were read, and the newest change among them."""
    findings, n_read, newest = [], 0, ""
    for advisory in advisories:
        n_read, newest = n_read + 1, max(newest, advisory.get("modified", ""))
        if advisory.get("withdrawn"):
            continue
        for affected in advisory.get("affected", ()):
            package = affected.get("package", {})
            if package.get("ecosystem") != "PyPI":
                continue
            name = canonicalize_name(package["name"])
            findings += [
                Finding(name, version, advisory["id"], _fixes(affected))
                for version in versions.get(name, ())
                if is_affected(version, affected)
            ]
    return sorted(set(findings), key=lambda finding: (finding.package, finding.advisory)), n_read, newest


def is_affected(version: str, affected: Advisory) -> bool:
    """Say whether a version is listed, or lies within one of the ranges."""
    return version in affected.get("versions", ()) or any(
        _is_in(Version(version), kept["events"]) for kept in affected.get("ranges", ()) if kept["type"] == "ECOSYSTEM"
    )


def _is_in(version: Version, events: list[dict[str, str]]) -> bool:
    is_in = False
    for kind, text in sorted((next(iter(event.items())) for event in events), key=lambda event: _place(event[1])):
        if kind == "introduced" and version >= _place(text):
            is_in = True
        elif (kind == "fixed" and version >= _place(text)) or (kind == "last_affected" and version > _place(text)):
            is_in = False
    return is_in


def _place(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        # No version that pip would install: as if it came before all others, so that doubt counts as affected.
        return Version("0.dev0")


def _fixes(affected: Advisory) -> tuple[str, ...]:
    events = [event for kept in affected.get("ranges", ()) for event in kept["events"]]
    return tuple(event["fixed"] for event in events if "fixed" in event)


def look_up_locally(versions: dict[str, list[str]], source: Path) -> Answer:
    """Look the versions up in a local copy of the OSV database."""
    try:
        findings, n_read, newest = check(versions, read_advisories(source))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        problem = f"{error}; expected a folder of JSON advisories, or the all.zip of osv.dev"
        return Answer([], f"{source} cannot be read", problem)
    age = f", the newest {(datetime.now(UTC) - datetime.fromisoformat(newest)).days} days old" if newest else ""
    problem = "" if n_read and versions else "expected some of both"
    return Answer(findings, f"{len(versions)} packages against {n_read} advisories{age}", problem)


def ask_index(lock: Path) -> Answer:
    """Ask the package index by pip-audit."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--requirement", str(lock)]
    done = subprocess.run([*command, "--format", "json", "--progress-spinner", "off"], capture_output=True, text=True)
    return read_report(done.stdout) or Answer([], "pip-audit gave no report", done.stderr.strip()[-600:])


def read_report(report: str) -> Answer | None:
    """Read the JSON that pip-audit prints; None where it printed none."""
    try:
        rows = json.loads(report)["dependencies"]
    except (ValueError, KeyError):
        return None
    findings = [
        Finding(canonicalize_name(row["name"]), row["version"], known["id"], tuple(known["fix_versions"]))
        for row in rows
        for known in row.get("vulns", ())
    ]
    reasons = sorted({row["skip_reason"].partition(":")[0] for row in rows if "skip_reason" in row})
    n_looked_up = sum("skip_reason" not in row for row in rows)
    problem = "; ".join(reasons) or ("" if rows else "expected some packages")
    return Answer(findings, f"{n_looked_up} of {len(rows)} packages looked up in the index", problem)


def main(lock: str, source: str | None = None) -> int:
    """Print what is known; 1 when there is something, 2 when not everything could be looked up."""
    answer = ask_index(Path(lock)) if source is None else look_up_locally(pinned(Path(lock).read_text()), Path(source))
    print(f"{answer.looked_up}: {len(answer.findings)} findings")
    for finding in answer.findings:
        fixed = f"fixed in {', '.join(finding.fixed)}" if finding.fixed else "no fix known"
        print(f"{finding.package} {finding.version}: {finding.advisory}, {fixed}")
    if answer.problem:
        print(f"Not everything was looked up: {answer.problem}.")
        if source is None:
            print("Where there is no network, ask a local copy of the database: make audit OSV=all.zip")
        return 2
    return 1 if answer.findings else 0


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit("usage: python tests/supply/advisories.py LOCK [OSV]")
    sys.exit(main(*sys.argv[1:]))
