"""Advisories hold for the versions they name, and a database that is not there is not taken for good news."""

import json
import zipfile

import pytest

from .advisories import Finding, check, is_affected, main, pinned, read_report

LOCK = """\
some-package==1.5.0 \\
    --hash=sha256:00
other==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:00
other==3.0 ; python_full_version >= '3.12' \\
    --hash=sha256:00
"""


def ranged(*events):
    return {"ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}


def advisory(name="Some_Package", **fields):
    affected = ranged({"introduced": "0"}, {"fixed": "1.6"}) | {"package": {"ecosystem": "PyPI", "name": name}}
    return {"id": "TEST-1", "modified": "2026-01-01T00:00:00Z", "affected": [affected], **fields}


def test_lock_is_read_with_every_version():
    assert pinned(LOCK) == {"some-package": ["1.5.0"], "other": ["2.0", "3.0"]}


@pytest.mark.parametrize(
    ("affected", "expected"),
    [
        (ranged({"introduced": "0"}), True),
        (ranged({"introduced": "0"}, {"fixed": "1.5.0"}), False),
        (ranged({"introduced": "0"}, {"fixed": "1.5.1"}), True),
        (ranged({"introduced": "1.6"}), False),
        (ranged({"introduced": "0"}, {"last_affected": "1.5.0"}), True),
        (ranged({"introduced": "0"}, {"last_affected": "1.4"}), False),
        (ranged({"introduced": "1.5"}, {"fixed": "2"}, {"introduced": "0"}, {"fixed": "1.2"}), True),
        (ranged({"introduced": "1.10"}), False),
        ({"versions": ["1.5.0"]}, True),
        ({"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}, False),
    ],
)
def test_version_is_affected_where_a_range_or_list_says_so(affected, expected):
    assert is_affected("1.5.0", affected) is expected


def test_names_are_compared_as_the_registry_does():
    findings, n_read, _ = check(pinned(LOCK), iter([advisory(), advisory("unknown")]))
    assert (findings, n_read) == ([Finding("some-package", "1.5.0", "TEST-1", ("1.6",))], 2)


def test_withdrawn_advisories_do_not_count():
    assert check(pinned(LOCK), iter([advisory(withdrawn="2026-02-01T00:00:00Z")]))[0] == []


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_command_reads_a_folder_or_a_zip(tmp_path, capsys, kind):
    (tmp_path / "lock.txt").write_text(LOCK)
    (tmp_path / "osv").mkdir()
    (tmp_path / "osv" / "TEST-1.json").write_text(json.dumps(advisory()))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(tmp_path / "osv" / "TEST-1.json", "TEST-1.json")
    source = tmp_path / ("osv" if kind == "folder" else "all.zip")
    assert main(str(tmp_path / "lock.txt"), str(source)) == 1
    assert "some-package 1.5.0: TEST-1, fixed in 1.6" in capsys.readouterr().out


def test_empty_database_is_no_good_news(tmp_path, capsys):
    (tmp_path / "lock.txt").write_text(LOCK)
    (tmp_path / "osv").mkdir()
    assert main(str(tmp_path / "lock.txt"), str(tmp_path / "osv")) == 2
    assert "expected some of both" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"no zip"], ids=["missing", "damaged"])
def test_database_that_cannot_be_read_is_no_good_news(tmp_path, capsys, content):
    (tmp_path / "lock.txt").write_text(LOCK)
    if content is not None:
        (tmp_path / "all.zip").write_bytes(content)
    assert main(str(tmp_path / "lock.txt"), str(tmp_path / "all.zip")) == 2
    assert "expected a folder of JSON advisories, or the all.zip" in capsys.readouterr().out


def report(*rows):
    return read_report(json.dumps({"dependencies": rows, "fixes": []}))


def test_package_the_index_does_not_know_is_no_good_news():
    known = {"name": "other", "version": "2.0", "vulns": []}
    skipped = {"name": "some-package", "skip_reason": "Dependency not found: some-package"}
    answer = report(known, skipped)
    assert (answer.findings, answer.problem) == ([], "Dependency not found")
    assert answer.looked_up.startswith("1 of 2 packages")


def test_finding_of_the_index_is_told():
    vulnerability = {"id": "TEST-1", "fix_versions": ["1.6"], "aliases": [], "description": ""}
    answer = report({"name": "Some_Package", "version": "1.5.0", "vulns": [vulnerability]})
    assert (answer.findings, answer.problem) == ([Finding("some-package", "1.5.0", "TEST-1", ("1.6",))], "")


@pytest.mark.parametrize("text", ["", "no JSON", "{}"])
def test_report_that_is_none_is_not_read(text):
    assert read_report(text) is None
