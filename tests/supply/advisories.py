"""Checks pinned requirements against a local copy of the OSV database: `python tests/supply/advisories.py LOCK OSV`.

For machines without a network. OSV is a folder of JSON advisories, or the `all.zip` that osv.dev publishes for PyPI;
fetch it where there is a network and carry it over. With a network, pip-audit asks the same database (`make audit`).
"""

import json
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


def main(lock: str, source: str) -> int:
    """Print what is known; 1 when there is something, 2 when nothing could be looked at."""
    versions = pinned(Path(lock).read_text())
    findings, n_read, newest = check(versions, read_advisories(Path(source)))
    if not n_read or not versions:
        print(f"{source}: {n_read} advisories, {lock}: {len(versions)} packages; expected some of both.")
        return 2
    age = (datetime.now(UTC) - datetime.fromisoformat(newest)).days if newest else None
    print(f"{len(versions)} packages against {n_read} advisories, the newest {age} days old: {len(findings)} findings")
    for finding in findings:
        fixed = f"fixed in {', '.join(finding.fixed)}" if finding.fixed else "no fix known"
        print(f"{finding.package} {finding.version}: {finding.advisory}, {fixed}")
    return 1 if findings else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python tests/supply/advisories.py LOCK OSV")
    sys.exit(main(*sys.argv[1:]))
