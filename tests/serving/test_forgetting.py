"""A session's records can be had and can be gone: from tables, files and Redis; old ones go by themselves."""

import asyncio
import json
import os
import stat
from datetime import UTC, datetime, timedelta

import pytest
import redis
from starlette.testclient import TestClient

from pointsman.classifier.commands import main
from pointsman.serving.app import create_app
from pointsman.serving.audit import read_acts
from pointsman.serving.errors import DecisionNotFoundError, StoreUnavailableError
from pointsman.serving.key_store import format_time
from pointsman.serving.privacy import delete_older, export_session, forget_session, subject_of
from pointsman.serving.redis_sessions import RedisSessions
from pointsman.serving.retention import delete_expired, keep_retention
from pointsman.serving.settings import load_settings
from pointsman.serving.spool import open_spool
from pointsman.serving.store import Store

from .clients import RACE, TYPO, claude_body
from .conftest import wait_until_ready
from .fakes import fake_router
from .redis_server import RedisServer
from .rows import decision_row, feedback_row

PLANTED = "planted-words-of-a-person"


@pytest.fixture
def redis_server():
    server = RedisServer().start()
    yield server
    server.remove()


def days_ago(days):
    return format_time(datetime.now(UTC) - timedelta(days=days))


def stored(store, session_id, *, n_feedback=1, **changes):
    """Put a decision with feedback into the store; its id."""
    row = decision_row(session_id=session_id, **changes)
    store.append([row], [feedback_row(row.decision_id) for _ in range(n_feedback)])
    return row.decision_id


def is_there(store, decision_id):
    try:
        store.decision(decision_id)
    except DecisionNotFoundError:
        assert store.feedback_of(decision_id) == []
        return False
    return True


def acts_on(store, subject):
    return [(act.action, dict(act.details)) for act in read_acts(store) if act.subject == subject]


def test_forgetting_takes_one_session_and_leaves_the_others(store):
    mine, other = stored(store, "mine", n_feedback=2), stored(store, "mine/agent")
    deleted = forget_session(store, "mine", actor="me")
    assert (deleted.n_decisions, deleted.n_feedback) == (1, 2)
    assert [is_there(store, decision_id) for decision_id in (mine, other)] == [False, True]


def test_forgetting_leaves_nothing_in_the_files_of_the_database(sqlite_url, tmp_path):
    store = Store(sqlite_url)
    for _ in range(50):
        stored(store, "mine", prompt=PLANTED * 20)
    stored(store, "other")
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert PLANTED.encode() in content
    forget_session(store, "mine", actor="me")
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert PLANTED.encode() not in content
    assert b"other" in content
    store.close()


def test_session_with_a_long_name_is_found(store):
    name = "n" * 300
    with TestClient(create_app(load_settings(database_url=str_url(store)), fake_router())) as client:
        wait_until_ready(client)
        client.post("/v1/decide", json={"prompt": RACE, "session_id": name})
    assert forget_session(store, name, actor="me").n_decisions == 1


def str_url(store):
    return store.engine.url.render_as_string(hide_password=False)


def test_export_holds_each_record_as_stored_with_its_feedback(store):
    early, late = stored(store, "mine", created_at=days_ago(2)), stored(store, "mine", created_at=days_ago(1))
    stored(store, "other")
    rows = export_session(store, "mine", actor="me")
    assert [(row["record"], row["decision_id"]) for row in rows] == [
        ("decision", early),
        ("feedback", early),
        ("decision", late),
        ("feedback", late),
    ]
    assert rows[0] == store.decision(early).to_json()


def test_audit_log_proves_what_was_done_without_the_name(store):
    stored(store, "a-name-to-forget")
    export_session(store, "a-name-to-forget", actor="me")
    forget_session(store, "a-name-to-forget", actor="me")
    assert acts_on(store, subject_of("a-name-to-forget")) == [
        ("export", {"n_records": 2}),
        ("forget", {"n_decisions": 1, "n_feedback": 1}),
    ]
    assert "a-name-to-forget" not in str(read_acts(store))


def test_old_records_go_and_new_ones_stay(store):
    old, new = stored(store, "s", created_at=days_ago(8)), stored(store, "s", created_at=days_ago(6))
    deleted = delete_expired(store, 7)
    assert (deleted.n_decisions, deleted.n_feedback) == (1, 1)
    assert [is_there(store, decision_id) for decision_id in (old, new)] == [False, True]


def test_more_than_one_batch_goes(store, monkeypatch):
    monkeypatch.setattr("pointsman.serving.privacy._BATCH_SIZE", 3)
    rows = [decision_row(created_at=days_ago(9)) for _ in range(8)]
    store.append(rows, [])
    before = days_ago(1)
    assert delete_older(store, before, actor="me").n_decisions == 8
    counts = [details["n_decisions"] for _, details in acts_on(store, f"before {before}")]
    assert counts == [3, 3, 2]


def test_service_deletes_old_records_by_itself(sqlite_url, router):
    store = Store(sqlite_url)
    old = stored(store, "s", created_at=days_ago(8))
    with TestClient(create_app(load_settings(database_url=sqlite_url, retention_days=7), router)) as client:
        wait_until_ready(client)
    assert not is_there(store, old)
    assert [(act.actor, act.action) for act in read_acts(store)] == [("service", "retention")]
    store.close()


def test_nothing_is_deleted_unless_asked_for(settings, router):
    store = Store(settings.database_url)
    old = stored(store, "s", created_at=days_ago(4000))
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
    assert is_there(store, old)
    store.close()


def test_retention_outlives_a_database_that_is_away(store, monkeypatch, caplog):
    def fail(*_):
        raise StoreUnavailableError("away")

    monkeypatch.setattr("pointsman.serving.retention.delete_expired", fail)

    async def story():
        keeping = asyncio.create_task(keep_retention(store, 7))
        while "old records not deleted" not in caplog.text:
            await asyncio.sleep(0.01)
        assert not keeping.done()
        keeping.cancel()

    asyncio.run(story())


@pytest.fixture
def run(sqlite_url, capsys, monkeypatch):
    """Run a command on a fresh store; its status and what it prints."""
    monkeypatch.setenv("POINTSMAN_DATABASE_URL", sqlite_url)

    def run(*argv):
        status = main([str(arg) for arg in argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_export_command_prints_json_lines(run, sqlite_url):
    store = Store(sqlite_url)
    stored(store, "mine")
    status, out, err = run("export", "--session", "mine")
    assert (status, [json.loads(line)["record"] for line in out.splitlines()]) == (0, ["decision", "feedback"])
    assert err == "2 records of the session.\n"
    store.close()


def test_exported_file_is_new_and_its_owners_alone(run, sqlite_url, tmp_path):
    store = Store(sqlite_url)
    stored(store, "mine")
    store.close()
    path = tmp_path / "mine.jsonl"
    assert run("export", "--session", "mine", "--output", path)[0] == 0
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert len(path.read_text().splitlines()) == 2
    status, _, err = run("export", "--session", "mine", "--output", path)
    assert (status, "File exists" in err) == (2, True)


def test_forget_command_says_what_is_gone_and_what_is_not(run, sqlite_url):
    store = Store(sqlite_url)
    stored(store, "mine")
    store.close()
    status, out, err = run("forget", "--session", "mine")
    assert (status, out) == (0, "Deleted 1 decisions, 1 feedback, 0 session states.\n")
    assert "holds the session's last choice, without text, for at most 21600 s" in err
    assert "No record has this session" in run("forget", "--session", "mine")[2]


def test_forget_command_takes_the_session_out_of_redis(run, redis_server, sqlite_url):
    settings = load_settings(database_url=sqlite_url, sessions_url=redis_server.url)
    router = fake_router()
    router.sessions = RedisSessions(redis_server.url, timeout_s=10)
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        for session in ("mine", "mine*", "other"):
            client.post("/v1/decide", json={"prompt": TYPO, "session_id": session})
        headers = {"x-claude-code-session-id": "mine", "x-claude-code-agent-id": "a1"}
        client.post("/v1/decide/v1/messages", json=claude_body(RACE), headers=headers)
    with redis.Redis.from_url(redis_server.url) as connection:
        names = {name.decode().removeprefix("pointsman:session:") for name in connection.scan_iter()}
        assert {"mine", "mine/a1", "mine*", "other"} <= names
        status, out, _ = run("forget", "--session", "mine", "--sessions-url", redis_server.url)
        assert (status, out) == (0, "Deleted 2 decisions, 0 feedback, 2 session states.\n")
        left = {name.decode().removeprefix("pointsman:session:") for name in connection.scan_iter()}
    assert left == names - {"mine", "mine/a1"}


def test_forget_command_deletes_nothing_while_redis_is_away(run, sqlite_url, redis_server):
    redis_server.stop()
    store = Store(sqlite_url)
    mine = stored(store, "mine")
    status, _, err = run("forget", "--session", "mine", "--sessions-url", redis_server.url)
    assert (status, is_there(store, mine)) == (2, True)
    assert err == "pointsman: the session store failed (ConnectionError); nothing was deleted. Check it, then retry.\n"
    store.close()


class TestSpool:
    """Records that still wait for the database are a person's records too."""

    @pytest.fixture
    def spool(self, sqlite_url):
        spool = open_spool(load_settings(database_url=sqlite_url))
        spool.add([decision_row(session_id="mine"), decision_row(session_id="other")])
        yield spool
        spool.close()

    def test_forgetting_takes_them_too(self, spool, sqlite_url, capsys):
        assert main(["forget", "--session", "mine", "--database-url", sqlite_url]) == 0
        assert "Deleted 1 decisions that waited for the database" in capsys.readouterr().out
        assert [row.session_id for row in spool.oldest(5).values()] == ["other"]

    def test_export_shows_them_too(self, spool, sqlite_url, capsys):
        assert main(["export", "--session", "mine", "--database-url", sqlite_url]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line)["session_id"] == "mine"
