"""A copy taken while the service works holds whole records, and a service starts on it (serving/OPERATIONS.md)."""

import re
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store

from ..postgres import PostgresServer
from ..processes import ROOT, serving

GUIDE = (ROOT / "serving" / "OPERATIONS.md").read_text(encoding="utf-8")


class Traffic:
    """Decides and judges until the block ends; remembers what was acknowledged."""

    def __init__(self, service):
        self._service, self.judged = service, []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._thread.start()
        self._service.until(lambda: len(self.judged) > 10)
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join(60)

    def _work(self):
        while not self._is_over.is_set():
            decision_id = self._service.decide(session_id=f"s{len(self.judged)}")["decision_id"]
            assert self._service.judge(decision_id, f"k-{decision_id}").status_code == 201
            self.judged.append(decision_id)


def command_in_guide(pattern):
    """Return the command that the guide gives, so that it is this one that is tried."""
    (found,) = re.findall(pattern, GUIDE)
    return found


def kept(store, decision_ids):
    return [decision_id for decision_id in decision_ids if len(store.feedback_of(decision_id)) == 1]


def test_sqlite_is_copied_while_it_is_written_and_restored(tmp_path, sqlite_url):
    statement = command_in_guide(r"sqlite3 pointsman\.sqlite \"(VACUUM INTO 'copy\.sqlite')\"")
    copy = tmp_path / "copy.sqlite"
    with serving(tmp_path, sqlite_url) as service, Traffic(service) as traffic:
        before = list(traffic.judged)
        with closing(sqlite3.connect(tmp_path / "records.sqlite")) as connection:
            connection.execute(statement.replace("copy.sqlite", str(copy)))
        service.until(lambda: len(traffic.judged) > len(before) + 10)
    restored = tmp_path / "restored"
    restored.mkdir()
    shutil.copy(copy, restored / "records.sqlite")
    url = f"sqlite:///{restored / 'records.sqlite'}"
    with serving(restored, url) as service:
        assert service.judge(before[0], "after the restore").status_code == 201
        assert service.judge(before[1], f"k-{before[1]}").status_code == 201  # sent again: kept once
        service.stop()
    store = Store(url)
    assert kept(store, before[1:]) == before[1:]
    store.close()


@pytest.mark.postgres
@pytest.mark.fault
def test_postgres_is_dumped_while_it_is_written_and_restored(tmp_path):
    options = command_in_guide(r"pg_dump (--format=custom) ")
    server, fresh = PostgresServer().start(), PostgresServer().start()
    try:
        dump = Path(server.folder) / "dump"
        with serving(tmp_path, server.url) as service, Traffic(service) as traffic:
            before = list(traffic.judged)
            server.run([server.binaries / "pg_dump", options, f"--file={dump}", f"--dbname={server.url}"])
        dump.chmod(0o644)
        copy = shutil.copy(dump, fresh.folder / "dump")
        fresh.run([fresh.binaries / "pg_restore", "--exit-on-error", f"--dbname={fresh.url}", copy])
        with serving(tmp_path, fresh.url) as service:
            assert service.judge(before[0], "after the restore").status_code == 201
            service.stop()
        store = Store(load_settings(database_url=fresh.url).database_url)
        assert kept(store, before[1:]) == before[1:]
        store.close()
    finally:
        server.remove()
        fresh.remove()


def test_guide_names_every_fault_that_is_tried():
    tried = [path.name for path in Path(__file__).parent.glob("test_*.py")]
    assert [name for name in tried if name.removesuffix(".py") not in GUIDE] == []
