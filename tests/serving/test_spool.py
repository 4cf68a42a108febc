"""Decisions that wait on the disk: whole, once, in order, bounded, and for nobody else to read."""

import os
import sqlite3
import stat
import threading
from contextlib import closing

import pytest

from pointsman.serving.settings import load_settings
from pointsman.serving.spool import Spool, left_spool, open_spool

from .rows import decision_row

ROOM = 10 * 1024**2


@pytest.fixture
def path(tmp_path):
    return tmp_path / "spool" / "decisions.sqlite"


@pytest.fixture
def spool(path):
    spool = Spool(path, max_bytes=ROOM)
    yield spool
    spool.close()


def taken_out(spool, most=100):
    return list(spool.oldest(most).values())


def test_records_come_back_as_they_were_and_in_order(spool):
    rows = [decision_row(session_id=name) for name in ("a", "b", "c")]
    assert spool.add(rows) == 3
    assert taken_out(spool, 2) == rows[:2]
    assert len(spool) == 3


def test_records_outlive_the_process(spool, path):
    row = decision_row()
    spool.add([row])
    spool.close()
    with closing(Spool(path, max_bytes=ROOM)) as again:
        assert (len(again), taken_out(again)) == (1, [row])


def test_same_decision_is_kept_once(spool):
    row = decision_row()
    spool.add([row, row])
    spool.add([row])
    assert (len(spool), taken_out(spool)) == (1, [row])


def test_removed_records_are_gone_and_the_file_shrinks(spool, path):
    spool.add([decision_row() for _ in range(200)])
    full = path.stat().st_size
    spool.remove(list(spool.oldest(200)))
    assert (len(spool), path.stat().st_size < full / 2) == (0, True)


def test_nothing_is_taken_beyond_its_room(path):
    rows = [decision_row() for _ in range(100)]
    with closing(Spool(path, max_bytes=100_000)) as spool:
        n_taken = spool.add(rows)
        assert 10 < n_taken < 100
        assert spool.add(rows[n_taken:]) == 0
        assert taken_out(spool) == rows[:n_taken]
        assert path.stat().st_size < 150_000


def test_room_is_there_again_once_records_leave(path):
    with closing(Spool(path, max_bytes=100_000)) as spool:
        n_taken = spool.add([decision_row() for _ in range(100)])
        spool.remove(list(spool.oldest(n_taken)))
        assert spool.add([decision_row()]) == 1


def test_records_are_found_by_id(spool):
    rows = [decision_row() for _ in range(3)]
    spool.add(rows)
    assert spool.find([rows[1].decision_id, "nobody"]) == [rows[1]]


def test_session_is_forgotten_without_a_trace(spool, path):
    spool.add([decision_row(session_id="mine", prompt="planted words"), decision_row(session_id="other")])
    assert [row.prompt for row in spool.records_of("mine")] == ["planted words"]
    assert spool.forget("mine") == 1
    assert spool.records_of("mine") == []
    assert [row.session_id for row in taken_out(spool)] == ["other"]
    assert b"planted words" not in path.read_bytes()


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"], ids=["NUL", "surrogate"])
def test_odd_names_are_kept_as_the_store_keeps_them(spool, name):
    spool.add([decision_row(session_id=name, project=name)])
    assert spool.forget(name) == 1


def test_record_of_a_newer_version_is_told_from_others(spool):
    rows = [decision_row(), decision_row()]
    spool.add(rows)
    spool._connection.execute("UPDATE spool SET record = ? WHERE number = 1", (b'{"schema_version": 99}',))
    assert list(spool.oldest(5).values()) == [None, rows[1]]


def test_file_is_for_this_account_alone(spool, path):
    spool.add([decision_row()])
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


@pytest.mark.parametrize("damage", [b"no database" * 1000, None], ids=["other file", "overwritten middle"])
def test_damaged_file_is_set_aside_and_a_new_one_begun(path, damage, caplog):
    with closing(Spool(path, max_bytes=ROOM)) as spool:
        spool.add([decision_row() for _ in range(50)])
    content = path.read_bytes()
    path.write_bytes(damage or content[:5000] + b"\xff" * 60_000 + content[65_000:])
    with closing(Spool(path, max_bytes=ROOM)) as again:
        assert (len(again), again.add([decision_row()])) == (0, 1)
    assert "damaged and was set aside" in caplog.text
    assert len(list(path.parent.glob("*.damaged-*"))) == 1


def test_process_that_ends_within_a_transaction_takes_nothing_along(spool, path):
    spool.add([decision_row()])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM spool")
    assert len(taken_out(spool)) == 1


def test_processes_may_share_a_file(spool, path):
    def add():
        with closing(Spool(path, max_bytes=ROOM)) as mine:
            for _ in range(5):
                mine.add([decision_row()])

    threads = [threading.Thread(target=add) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken_out(spool)) == 15


def test_each_database_has_its_own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    urls = ["sqlite:////data/a.sqlite", "postgresql://u:p@h/a", "postgresql://u:p@h/b", "postgresql://u@h2/a"]
    paths = [load_settings(database_url=url).spool_path() for url in urls]
    assert str(paths[0]) == "/data/a.sqlite.spool"
    assert len(set(paths)) == 4
    assert load_settings(database_url="postgresql://u:other@h/a").spool_path() == paths[1]


def test_folder_that_cannot_be_made_is_said_and_costs_no_start(caplog):
    assert open_spool(load_settings(spool="/dev/null/spool.sqlite")) is None
    assert "no spool: while the database is away decisions are kept in memory alone" in caplog.text


def test_no_room_means_no_spool(path):
    assert open_spool(load_settings(spool=path, spool_max_bytes=0)) is None
    assert not path.exists()


def test_other_processes_make_no_file(path):
    with left_spool(load_settings(spool=path)) as spool:
        assert spool is None
    assert not path.parent.exists()
