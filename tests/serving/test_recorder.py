"""Records reach the store in order and once; what cannot is counted, logged and told."""

import logging
import threading
import time

import pytest

from pointsman.classifier.errors import InputError
from pointsman.serving.errors import DecisionNotFoundError, RecordRejectedError, StoreUnavailableError
from pointsman.serving.recorder import Recorder
from pointsman.serving.spool import Spool
from pointsman.serving.store import Written
from pointsman.serving.telemetry import (
    RECORDS_LOST,
    RECORDS_SPOOLED,
    RECORDS_WRITTEN,
    SPOOL_FAILED,
    SPOOL_RECORDS,
    STORE_FAILURES,
    STORE_UP,
    Telemetry,
)

from .rows import decision_row, feedback_row


class FakeStore:
    """Keeps what it gets; is away or choosy when told to, and slow until `gate` opens."""

    def __init__(self):
        self.decisions, self.feedback, self.n_transactions = [], [], 0
        self.away = False
        self.refuses = set()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def append(self, decisions, feedback):
        self.entered.set()
        assert self.gate.wait(10)
        if self.away:
            raise StoreUnavailableError("away")
        if self.refuses & {row.decision_id for row in (*decisions, *feedback)}:
            raise RecordRejectedError("DataError")
        self.n_transactions += 1
        self.decisions += decisions
        self.feedback += feedback
        return Written(len(decisions), len(feedback))


@pytest.fixture
def fake():
    return FakeStore()


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def recorder(fake, telemetry):
    recorder = Recorder(fake, telemetry, max_queued=5)
    recorder.start()
    yield recorder
    fake.gate.set()
    fake.away = False
    recorder.stop(5)


def value(telemetry, name, **labels):
    return telemetry.registry.get_sample_value(name, labels) or 0


def block(fake, recorder):
    """Keep the writer busy with one decision, so that the rest stays in the queue."""
    fake.gate.clear()
    recorder.submit(decision_row())
    assert fake.entered.wait(5)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_stop_writes_what_is_queued(fake, telemetry):
    recorder = Recorder(fake, telemetry, max_queued=100)
    rows = [decision_row() for _ in range(50)]
    for row in rows:
        recorder.submit(row)
    recorder.start()
    recorder.stop(5)
    assert fake.decisions == rows
    assert value(telemetry, RECORDS_WRITTEN, table="decisions") == 50


def test_queued_records_share_a_transaction(fake, recorder):
    block(fake, recorder)
    for _ in range(5):
        recorder.submit(decision_row())
    fake.gate.set()
    until(lambda: len(fake.decisions) == 1 + 5)
    assert fake.n_transactions == 2


def test_same_decision_is_queued_once(fake, recorder):
    row = decision_row()
    recorder.submit(row)
    recorder.submit(row)
    recorder.stop(5)
    assert fake.decisions == [row]


def test_decision_is_readable_until_committed(fake, recorder):
    fake.gate.clear()
    row = decision_row()
    recorder.submit(row)
    assert recorder.waiting(row.decision_id) == row
    fake.gate.set()
    until(lambda: recorder.waiting(row.decision_id) is None)
    assert fake.decisions == [row]


def test_feedback_is_acknowledged_only_once_committed(fake, recorder):
    fake.gate.clear()
    committed = recorder.submit_feedback(feedback_row("d"))
    with pytest.raises(TimeoutError):
        committed.result(0.05)
    fake.gate.set()
    assert committed.result(5) is None
    assert len(fake.feedback) == 1


def test_feedback_does_not_wait_for_company(recorder, monkeypatch):
    monkeypatch.setattr("pointsman.serving.recorder._LINGER_S", 60)
    recorder.submit(decision_row())
    recorder.submit_feedback(feedback_row("d")).result(10)


def test_decision_queued_before_its_feedback_is_found(store, telemetry):
    recorder = Recorder(store, telemetry, max_queued=5)
    row = decision_row()
    recorder.submit(row)
    committed = recorder.submit_feedback(feedback_row(row.decision_id))
    unknown = recorder.submit_feedback(feedback_row("none"))
    recorder.start()
    assert committed.result(10) is None
    with pytest.raises(DecisionNotFoundError):
        unknown.result(10)
    recorder.stop(5)


def test_full_queue_is_counted_and_logged(fake, recorder, telemetry, caplog):
    block(fake, recorder)
    with caplog.at_level(logging.ERROR):
        for _ in range(7):
            recorder.submit(decision_row())
    assert value(telemetry, RECORDS_LOST, cause="queue_full") == 2
    assert "decision records lost" in caplog.text
    fake.gate.set()
    until(lambda: len(fake.decisions) == 1 + 5)


def test_feedback_into_a_full_queue_is_refused(fake, recorder):
    block(fake, recorder)
    for _ in range(5):
        recorder.submit(decision_row())
    with pytest.raises(StoreUnavailableError, match="behind"):
        recorder.submit_feedback(feedback_row("d")).result(5)


def test_decisions_wait_while_the_database_is_away(fake, recorder, telemetry):
    fake.away = True
    row = decision_row()
    recorder.submit(row)
    until(lambda: value(telemetry, STORE_FAILURES) > 0)
    fake.away = False
    until(lambda: fake.decisions == [row])
    assert value(telemetry, RECORDS_LOST, cause="queue_full") == 0


def test_feedback_is_refused_while_the_database_is_away(fake, recorder):
    fake.away = True
    with pytest.raises(StoreUnavailableError, match="away"):
        recorder.submit_feedback(feedback_row("d")).result(5)


def test_record_that_no_database_takes_costs_only_itself(fake, recorder, telemetry):
    block(fake, recorder)
    good, bad = decision_row(), decision_row()
    fake.refuses = {bad.decision_id}
    for row in (good, bad, decision_row()):
        recorder.submit(row)
    refused = recorder.submit_feedback(feedback_row(bad.decision_id))
    fake.gate.set()
    with pytest.raises(InputError, match="cannot hold this feedback"):
        refused.result(5)
    assert good in fake.decisions
    assert value(telemetry, RECORDS_LOST, cause="unwritable") == 1


def test_stop_gives_up_in_time_and_says_what_is_lost(fake, telemetry, caplog):
    recorder = Recorder(fake, telemetry, max_queued=5)
    fake.away = True
    recorder.start()
    recorder.submit(decision_row())
    started = time.monotonic()
    with caplog.at_level(logging.ERROR):
        recorder.stop(0.3)
    assert time.monotonic() - started < 2
    assert value(telemetry, RECORDS_LOST, cause="shutdown") == 1
    assert caplog.records[-1].cause == "shutdown"


def test_recorder_that_writes_nothing_is_not_running(fake, telemetry):
    recorder = Recorder(fake, telemetry, max_queued=5)
    with pytest.raises(StoreUnavailableError, match="has ended"):
        recorder.require_running()
    recorder.start()
    recorder.require_running()
    recorder.stop(5)
    with pytest.raises(StoreUnavailableError, match="has ended"):
        recorder.require_running()


class TestSpool:
    """With a file to put decisions in while the database is away."""

    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "spool.sqlite"

    @pytest.fixture
    def start(self, fake, telemetry, path):
        """Start a recorder over the file, as often as a service restarts."""
        started = []

        def start(*, max_bytes=10**7, max_queued=50):
            spool = Spool(path, max_bytes=max_bytes)
            recorder = Recorder(fake, telemetry, max_queued=max_queued, spool=spool)
            recorder.start()
            started.append(recorder)
            return recorder

        yield start
        fake.gate.set()
        fake.away = False
        for recorder in started:
            if recorder._thread.is_alive():
                recorder.stop(5)

    def test_decisions_go_to_the_disk_and_drain_in_order_once_it_is_back(self, start, fake, telemetry):
        recorder, rows = start(), [decision_row() for _ in range(20)]
        fake.away = True
        for row in rows:
            recorder.submit(row)
        until(lambda: value(telemetry, SPOOL_RECORDS) == 20)
        assert (value(telemetry, RECORDS_SPOOLED), value(telemetry, STORE_UP)) == (20, 0)
        fake.away = False
        until(lambda: value(telemetry, SPOOL_RECORDS) == 0)
        assert (fake.decisions, value(telemetry, STORE_UP)) == (rows, 1)

    def test_spooled_decisions_survive_a_restart(self, start, fake, telemetry):
        fake.away = True
        rows, recorder = [decision_row() for _ in range(3)], start()
        for row in rows:
            recorder.submit(row)
        recorder.stop(0.3)
        assert value(telemetry, RECORDS_LOST, cause="shutdown") == 0
        fake.away = False
        start()
        until(lambda: fake.decisions == rows)

    def test_writer_that_hangs_at_shutdown_loses_nothing(self, start, fake, telemetry):
        recorder, row = start(), decision_row()
        fake.gate.clear()
        recorder.submit(row)
        assert fake.entered.wait(5)
        recorder.stop(0.2)
        assert value(telemetry, RECORDS_LOST, cause="shutdown") == 0
        assert recorder.spooled(row.decision_id) == row

    def test_feedback_on_a_spooled_decision_finds_it(self, store, telemetry, path):
        spool, row = Spool(path, max_bytes=10**7), decision_row()
        spool.add([*(decision_row() for _ in range(250)), row])
        recorder = Recorder(store, telemetry, max_queued=5, spool=spool)
        committed = recorder.submit_feedback(feedback_row(row.decision_id))
        recorder.start()
        assert committed.result(10) is None
        recorder.stop(5)
        assert len(store.feedback_of(row.decision_id)) == 1

    def test_feedback_is_refused_while_the_database_is_away(self, start, fake):
        fake.away = True
        recorder = start()
        for _ in range(3):
            with pytest.raises(StoreUnavailableError, match="away"):
                recorder.submit_feedback(feedback_row("d")).result(5)

    def test_full_spool_leaves_decisions_in_the_queue(self, start, fake, telemetry, caplog):
        fake.away = True
        recorder, rows = start(max_bytes=100_000), [decision_row() for _ in range(50)]
        with caplog.at_level(logging.ERROR):
            for row in rows:
                recorder.submit(row)
            until(lambda: "the spool is full" in caplog.text)
        fake.away = False
        until(lambda: {row.decision_id for row in fake.decisions} == {row.decision_id for row in rows})
        assert value(telemetry, RECORDS_LOST, cause="queue_full") == 0

    def test_spool_that_fails_leaves_decisions_in_memory(self, start, fake, telemetry, monkeypatch):
        def fail(*_):
            raise OSError("no space left on device")

        monkeypatch.setattr(Spool, "add", fail)
        fake.away = True
        recorder, row = start(), decision_row()
        recorder.submit(row)
        until(lambda: value(telemetry, SPOOL_FAILED) > 0)
        assert recorder.waiting(row.decision_id) == row
        fake.away = False
        until(lambda: fake.decisions == [row])

    def test_record_that_no_database_takes_leaves_the_spool_too(self, start, fake, telemetry):
        fake.away = True
        recorder, good, bad = start(), decision_row(), decision_row()
        recorder.submit(bad)
        recorder.submit(good)
        until(lambda: value(telemetry, SPOOL_RECORDS) == 2)
        fake.refuses = {bad.decision_id}
        fake.away = False
        until(lambda: value(telemetry, SPOOL_RECORDS) == 0)
        assert (fake.decisions, value(telemetry, RECORDS_LOST, cause="unwritable")) == ([good], 1)
