"""Tests, commits and reverts are read off the agent's own tools."""

import json
import sqlite3

import pytest

from pointsman.training.importers.protocol import ImportedTurn
from pointsman.training.importers.run import ImportConfig, import_turns
from pointsman.training.importers.work import note_command, note_output


@pytest.mark.parametrize(
    ("output", "tests"),
    [
        ("....\n===== 12 passed, 1 skipped in 3.20s =====", "passed"),
        ("12 passed in 0.42s", "passed"),
        ("===== 1 failed, 11 passed in 3.20s =====", "failed"),
        ("Ran 4 tests in 0.001s\n\nOK", "passed"),
        ("Ran 4 tests in 0.001s\n\nFAILED (failures=1)", "failed"),
        ("Tests:       2 failed, 5 passed, 7 total", "failed"),
        ("      Tests  7 passed (7)", "passed"),
        ("test result: ok. 9 passed; 0 failed; 0 ignored", "passed"),
        ("test result: FAILED. 8 passed; 1 failed", "failed"),
        ("ok  \texample.org/clock\t0.013s", "passed"),
        ("--- FAIL: TestClock (0.00s)\nFAIL", "failed"),
        ("Tests run: 8, Failures: 0, Errors: 0, Skipped: 0", "passed"),
        ("4 examples, 1 failure", "failed"),
        ("compiled 3 files", None),
    ],
)
def test_end_of_a_test_run_is_read(output, tests):
    turn = ImportedTurn("s", "p")
    note_output(turn, output)
    assert turn.tests == tests


def test_last_test_run_counts():
    turn = ImportedTurn("s", "p")
    for output in ("2 failed in 1.0s", "===== 2 failed in 1.0s =====", "===== 2 passed in 1.0s ====="):
        note_output(turn, output)
    assert turn.tests == "passed"


@pytest.mark.parametrize(
    ("command", "counts"),
    [
        ("git add -A && git commit -m 'fix clock'", (1, 0)),
        (["bash", "-lc", "git -C /srv commit --amend"], (1, 0)),
        ("git revert HEAD", (0, 1)),
        ("git reset --hard HEAD~1", (0, 1)),
        ("git checkout -- src/clock.py", (0, 1)),
        ("git checkout -b feature", (0, 0)),
        ("echo commit", (0, 0)),
        (None, (0, 0)),
    ],
)
def test_commits_and_reverts_are_counted(command, counts):
    turn = ImportedTurn("s", "p")
    note_command(turn, command)
    assert (turn.n_commits, turn.n_reverts) == counts


def claude_rows():
    head = {"sessionId": "s", "timestamp": "2026-01-01T10:00:00Z"}
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "pytest && git commit -m x"}}
    answer = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "content": [{"type": "text", "text": "== 3 passed in 0.1s =="}],
    }
    revert = call | {"id": "t2", "input": {"command": "git revert HEAD"}}
    yield head | {"type": "user", "uuid": "1", "message": {"role": "user", "content": "fix the clock"}}
    yield head | {"type": "assistant", "uuid": "2", "message": {"id": "m1", "role": "assistant", "content": [call]}}
    yield head | {"type": "user", "uuid": "3", "message": {"role": "user", "content": [answer]}}
    yield head | {"type": "user", "uuid": "4", "message": {"role": "user", "content": "take that back"}}
    yield head | {"type": "assistant", "uuid": "5", "message": {"id": "m2", "role": "assistant", "content": [revert]}}


def codex_rows():
    def item(**payload):
        return {"timestamp": "2026-01-01T10:00:00Z", "type": "response_item", "payload": payload}

    def said(text):
        return item(type="message", role="user", content=[{"type": "input_text", "text": text}])

    def ran(command):
        return item(type="function_call", name="shell", arguments=json.dumps({"command": ["bash", "-lc", command]}))

    yield {"timestamp": "2026-01-01T10:00:00Z", "type": "session_meta", "payload": {"id": "s", "cwd": "/srv"}}
    yield from (said("fix the clock"), ran("pytest && git commit -m x"))
    printed = json.dumps({"output": "== 3 passed in 0.1s ==", "metadata": {"exit_code": 0}})
    yield from (item(type="function_call_output", output=printed), said("take that back"), ran("git revert HEAD"))


def opencode_database(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE session (id TEXT, directory TEXT, parent_id TEXT)")
        database.execute("CREATE TABLE message (id TEXT, session_id TEXT, time_created INTEGER, data TEXT)")
        database.execute(
            "CREATE TABLE part (id TEXT, message_id TEXT, session_id TEXT, time_created INTEGER, data TEXT)"
        )
        database.execute("INSERT INTO session VALUES ('s', '/srv', NULL)")
        tools = [("pytest && git commit -m x", "== 3 passed in 0.1s =="), ("git revert HEAD", "")]
        asked = ["fix the clock", "take that back"]
        for n, (prompt, (command, output)) in enumerate(zip(asked, tools, strict=True)):
            state = {"status": "completed", "input": {"command": command}, "output": output}
            parts = [{"type": "text", "text": prompt}, {"type": "tool", "tool": "bash", "state": state}]
            for role, part, at in (("user", parts[0], 2 * n), ("assistant", parts[1], 2 * n + 1)):
                data = json.dumps({"role": role, "time": {"created": 1_767_261_600_000 + at}})
                database.execute("INSERT INTO message VALUES (?, 's', ?, ?)", (f"m{at}", at, data))
                database.execute(
                    "INSERT INTO part VALUES (?, ?, 's', ?, ?)", (f"p{at}", f"m{at}", at, json.dumps(part))
                )
    database.close()


@pytest.fixture(params=["claude-code", "codex", "opencode"])
def log(request, tmp_path):
    if request.param == "opencode":
        opencode_database(tmp_path / "opencode.db")
        return tmp_path / "opencode.db"
    rows = claude_rows() if request.param == "claude-code" else codex_rows()
    path = tmp_path / ("rollout-1.jsonl" if request.param == "codex" else "s.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_tools_of_a_log_are_noted(log, tmp_path):
    import_turns(ImportConfig((str(log),), tmp_path / "turns.jsonl"))
    first, second = (json.loads(line) for line in (tmp_path / "turns.jsonl").read_text().splitlines())
    assert (first["tools"]["tests"], first["tools"]["n_commits"], first["next"]["n_reverts"]) == ("passed", 1, 1)
    assert second["tools"]["n_reverts"] == 1
