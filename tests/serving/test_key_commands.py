"""The command line for keys and the audit log, as an operator uses it."""

import json
import os
import re

import pytest

from pointsman.classifier.commands import main
from pointsman.serving.key_store import read_keys
from pointsman.serving.keys import ROLES
from pointsman.serving.store import Store


@pytest.fixture
def run(sqlite_url, capsys, monkeypatch):
    """Run a command on a fresh store; its status and what it prints."""
    monkeypatch.setenv("POINTSMAN_DATABASE_URL", sqlite_url)

    def run(*argv):
        status = main([str(arg) for arg in argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def listed(run):
    return {key["key_id"]: key for key in json.loads(run("keys", "list", "--json")[1])}


def test_created_key_is_printed_alone_and_once(run, sqlite_url):
    status, out, err = run("keys", "create", "gateway", "--role", "decide", "--role", "feedback")
    assert status == 0
    assert re.fullmatch(r"psm_[0-9a-f]{12}_[0-9a-f]{64}\n", out)
    assert "for gateway: decide, feedback. It is shown this once." in err
    store = Store(sqlite_url)
    assert [key.matches(out.strip()) for key in read_keys(store)] == [True]
    store.close()
    assert out.strip().split("_")[2] not in run("keys", "list")[1] + run("keys", "list", "--json")[1]


def test_list_shows_state_roles_and_rate(run):
    run("keys", "create", "gateway", "--role", "decide", "--rate", "600/minute", "--days", "30")
    run("keys", "create", "board", "--role", "review")
    run("keys", "revoke", "board")
    lines = run("keys", "list")[1].splitlines()
    assert lines[0].split() == ["key_id", "state", "name", "roles", "rate", "created_at", "expires_at", "replaces"]
    assert [line.split()[1:5] for line in lines[1:]] == [
        ["active", "gateway", "decide", "600/minute"],
        ["revoked", "board", "review", "-"],
    ]


@pytest.mark.parametrize(
    ("name", "value", "is_told"),
    [("KEYS", "auto", True), ("KEYS", "off", True), ("KEYS", "on", False), ("HOST", "0.0.0.0", False)],
)
def test_command_tells_where_no_key_would_be_asked_for(run, monkeypatch, name, value, is_told):
    monkeypatch.setenv(f"POINTSMAN_{name}", value)
    assert ("asks for no key" in run("keys", "create", "gateway", "--role", "decide")[2]) is is_told


def test_rotated_key_stands_beside_the_old_one(run):
    run("keys", "create", "gateway", "--role", "decide")
    (old,) = listed(run)
    status, out, err = run("keys", "rotate", "gateway", "--grace-hours", "2")
    assert (status, len(out.split("_"))) == (0, 3)
    assert f"replaces {old}, good for 2 h" in err
    assert [key["state"] for key in listed(run).values()] == ["active", "active"]


def test_audit_log_tells_who_did_what(run):
    run("keys", "create", "gateway", "--role", "decide")
    run("keys", "rotate", "gateway", "--grace-hours", "0")
    run("keys", "revoke", "gateway")
    acts = [json.loads(line) for line in run("audit", "--json")[1].splitlines()]
    assert [act["action"] for act in acts] == ["keys.create", "keys.rotate", "keys.revoke"]
    assert all("@" in act["actor"] for act in acts)
    assert run("audit", "--last", "1")[1].count("keys.revoke") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["keys", "revoke", "nobody"], "no active key is called 'nobody'. 'pointsman keys list' shows them all."),
        (["keys", "rotate", "nobody"], "no active key is called 'nobody'."),
        (["keys", "rotate", "x", "--grace-hours", "-1"], "--grace-hours -1 is no grace; expected 0 to 8760."),
        (["keys", "create", "x", "--role", "decide", "--rate", "many"], "--rate 'many' is no rate; expected a count"),
        (["keys", "create", "x", "--role", "decide", "--days", "0"], "--days 0 is no time to live; expected"),
        (["keys", "create", "x", "--role", "decide", "--days", "nan"], "--days nan is no time to live; expected"),
        (["audit", "--last", "0"], "--last 0 shows nothing; expected 1 or more."),
        (["keys", "list", "--database-url", "mysql://h/d"], "POINTSMAN_DATABASE_URL: names the database 'mysql'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said_in_one_line(run, arguments, message):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"pointsman: {message}")
    assert err.count("\n") == 1


def test_role_that_is_none_is_refused_with_the_ones_there_are(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("keys", "create", "x", "--role", "root")
    err = capsys.readouterr().err
    assert all(role in err for role in ROLES)


def test_first_key_makes_the_database(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/new/records.sqlite"
    assert main(["keys", "create", "gateway", "--role", "decide", "--database-url", url]) == 0
    assert capsys.readouterr().out.startswith("psm_")
    assert os.path.exists(tmp_path / "new" / "records.sqlite")
