"""The whole import: same sources, same file, however many runs it took; no secret and, if wished, no word in it."""

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from contextlib import closing
from itertools import islice

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from pointsman.classifier.commands import main
from pointsman.classifier.errors import InputError
from pointsman.training.datasets import read_examples, read_readings
from pointsman.training.importers import claude_code
from pointsman.training.importers.lines import as_value
from pointsman.training.importers.protocol import Location, Problems
from pointsman.training.importers.run import IMPORTERS, ImportConfig, _counted, import_turns

from . import logs
from .test_masking import PLANTED
from .test_sources import Plain, sample


def run(tmp_path, *sources, output="turns.jsonl", **options):
    config = ImportConfig(tuple(map(str, sources)), tmp_path / output, **options)
    summary = import_turns(config)
    return summary, [json.loads(line) for line in config.output.read_text().splitlines()]


@pytest.fixture
def folder(tmp_path):
    """A folder with one log of every client."""
    for kind in ("claude-code", "codex", "opencode", "litellm", "specstory", "aider"):
        (tmp_path / "logs" / kind).mkdir(parents=True)
        sample(kind, tmp_path / "logs" / kind)
    return tmp_path / "logs"


def test_folder_of_every_client_is_imported(tmp_path, folder):
    (folder / "notes.md").write_text("# Nothing of ours")
    summary, rows = run(tmp_path, folder)
    expected = {"claude-code": 3, "codex": 2, "opencode": 2, "litellm": 2, "specstory": 2, "aider": 3}
    assert dict(summary.turns) == expected
    assert (summary.n_unrecognised, summary.n_new_turns, len(rows)) == (1, 14, 14)
    assert summary.counts["turn of a subagent"] == 1


def test_second_run_leaves_the_file_as_it_is(tmp_path, folder):
    run(tmp_path, folder)
    before = (tmp_path / "turns.jsonl").read_bytes(), (tmp_path / "turns.jsonl").stat().st_mtime_ns
    summary, _ = run(tmp_path, folder)
    assert (summary.n_unchanged, summary.n_new_turns) == (6, 0)
    assert ((tmp_path / "turns.jsonl").read_bytes(), (tmp_path / "turns.jsonl").stat().st_mtime_ns) == before


def test_grown_log_gives_what_one_import_gives(tmp_path, folder):
    path = folder / "claude-code" / "log.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:5]))
    _, before = run(tmp_path, folder)
    path.write_text("".join(lines))
    summary, after = run(tmp_path, folder)
    _, fresh = run(tmp_path, folder, output="fresh.jsonl")
    assert (summary.n_unchanged, len(after) - len(before)) == (5, 2)
    assert after == fresh


def test_bar_moves_while_a_long_log_is_read(tmp_path):
    path = tmp_path / "turns.jsonl"
    labels = {"category": "docs", "risk": "low", "scope": "file", "turn": "new"}
    path.write_text("".join(json.dumps({"prompt": f"Describe lamp {n}"} | labels) + "\n" for n in range(350)))
    problems, size = Problems(), path.stat().st_size
    with tqdm(total=size, file=io.StringIO()) as bar:
        turns = _counted(IMPORTERS["labelled"].turns(Location(str(path)), Plain(), problems), bar, problems)
        shown = sorted({bar.n for _ in turns})
    assert [round(n / size, 1) for n in shown] == [0.0, 0.3, 0.6, 0.9]


def test_deleted_log_keeps_its_turns(tmp_path, folder):
    _, before = run(tmp_path, folder)
    (folder / "codex" / "log.jsonl").unlink()
    (folder / "aider" / ".aider.chat.history.md").write_text(logs.AIDER + "\n#### One more\n\nDone.\n")
    _, after = run(tmp_path, folder)
    assert len(after) == len(before) + 1
    assert [row for row in after if row["source"] == "codex"] == [row for row in before if row["source"] == "codex"]


def test_resumed_session_is_not_imported_twice(tmp_path):
    log = logs.claude_session()
    log.write(tmp_path)
    log.prompt("One thing more").write(tmp_path, name="copy")
    summary, rows = run(tmp_path, tmp_path / "projects")
    assert len({row["id"] for row in rows}) == len(rows) == 4
    assert summary.counts["copy of a turn in another log"] == 3


def test_what_came_next_is_told(tmp_path):
    logs.claude_session().write(tmp_path)
    _, (first, second, last) = run(tmp_path, tmp_path / "projects")
    assert (first["next"]["says_wrong"], first["next"]["repeats_error"], first["next"]["gap_s"]) == (True, True, 60.0)
    assert (second["next"]["approves"], second["next"]["says_wrong"]) == (True, False)
    assert last["next"] is None


def test_rows_can_be_labelled_by_id_and_read(tmp_path):
    logs.claude_session().write(tmp_path)
    _, rows = run(tmp_path, tmp_path / "projects")
    labels = tmp_path / "labels.tsv"
    lines = [f"{row['id']}\tdebugging\tmedium\tfile\tnew\n" for row in rows]
    labels.write_text("id\tcategory\trisk\tscope\tturn\n" + "".join(lines))
    examples = read_examples([tmp_path / "turns.jsonl"], read_readings([labels]))
    assert [example.prompt for example in examples] == [row["prompt"] for row in rows]
    assert len({example.group for example in examples}) == 1


def secretive_session():
    log = logs.ClaudeLog()
    for name, secret in PLANTED.items():
        log.prompt(f"{name}: use {secret} and write to anna.b@example.com").answer("x" * 590 + f" {secret}")
    return log.prompt(f"mkowalska's key in /home/mkowalska/.ssh: {PLANTED['random']}")


@pytest.mark.parametrize("keeps_text", [True, False], ids=["text", "no text"])
def test_no_planted_secret_is_on_disk(tmp_path, keeps_text):
    secretive_session().write(tmp_path)
    run(tmp_path, tmp_path / "projects", output="out/turns.jsonl", keeps_text=keeps_text)
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").glob("turns.jsonl")).decode()
    pieces = [secret[:12] for secret in PLANTED.values() if secret != PLANTED["jwt"]]
    assert [piece for piece in [*pieces, "anna.b@", "mkowalska"] if piece in written] == []


def test_without_text_no_word_is_on_disk(tmp_path, folder):
    _, rows = run(tmp_path, folder, keeps_text=False)
    words = ("basket", "tuner", "hexagons", "lanterns", "harbour", "strike", "mkowalska", "clamped")
    written = "".join(path.read_text() for path in tmp_path.glob("turns.jsonl")).lower()
    assert [word for word in words if word in written] == []
    assert not {"prompt", "context"} & {name for row in rows for name in row}
    assert {"says_wrong", "similarity"}.isdisjoint(rows[0]["next"] or rows[1]["next"])


def test_digests_without_text_cannot_be_compared_without_the_salt(tmp_path, folder):
    digests = [
        {row["digest"] for row in run(tmp_path, folder, output=f"{n}.jsonl", keeps_text=False)[1]} for n in range(2)
    ]
    assert not digests[0] & digests[1]


_LINE = st.one_of(
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")),
    st.sampled_from(
        [b"{", b"[]", b"null", b'{"type": "user"}', b'{"type": "user", "message": 3}', b'{"type": []}', b"\0\0"]
    ),
    st.sampled_from(
        [b'{"type":"assistant","message":{"content":{"a":1},"usage":[]}}', b'{"type":"response_item","payload":[]}']
    ),
)


@given(st.lists(_LINE, max_size=8), st.integers(0, 8), st.sampled_from(["claude-code", "codex"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_broken_lines_cost_no_other_turn(tmp_path, broken, place, kind):
    rows = logs.claude_session().rows if kind == "claude-code" else logs.codex_rollout()
    lines = [json.dumps(row).encode() for row in rows]
    lines[place:place] = broken
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    turns = list(IMPORTERS[kind].turns(Location(str(path)), Plain(), Problems()))
    assert [turn.prompt for turn in turns if turn.prompt] == (
        [row["message"]["content"] for row in rows if row.get("promptSource")]
        if kind == "claude-code"
        else ["Make the tuner remember its last station", "Now the volume, too"]
    )


def test_broken_line_is_counted_and_located(tmp_path):
    path = logs.write_lines(tmp_path / "log.jsonl", [*logs.claude_session().rows, '{"type": "user", "mess'])
    summary, rows = run(tmp_path, path)
    assert (len(rows), summary.counts["not a JSON object"]) == (3, 1)
    assert summary.located == [f"{path}:12: not a JSON object"]


def test_half_a_character_costs_no_turn(tmp_path):
    log = (
        logs.ClaudeLog().prompt("Mend the emoji \ud83d please").answer("Mended \udc00.").prompt("And \ud83d\ude00 too")
    )
    _, (first, second) = run(tmp_path, log.write(tmp_path))
    assert first["prompt"] == "Mend the emoji \N{REPLACEMENT CHARACTER} please"
    assert second["context"][-1]["text"] == "Mended \N{REPLACEMENT CHARACTER}."
    assert second["prompt"] == "And \N{GRINNING FACE} too"


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\uD83D\u0041", rb"\udc00", "\ud83d".encode("utf-8", "surrogatepass")])
def test_value_with_half_a_character_can_be_written(half):
    value = as_value(b'{"a": ["x' + half + rb'y", "\\ud83d", "\ud83d\ude00"]}')
    assert value["a"][1:] == [r"\ud83d", "\N{GRINNING FACE}"]
    assert value["a"][0].startswith("x\N{REPLACEMENT CHARACTER}")
    assert value["a"][0].encode()


def test_link_to_nothing_in_a_folder_costs_no_other_log(tmp_path, folder):
    (folder / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    os.mkfifo(folder / "pipe.jsonl")
    summary, rows = run(tmp_path, folder)
    assert (len(rows), summary.counts["file that could not be read"]) == (14, 1)
    assert summary.located == [f"{folder}/gone.jsonl: file that could not be read"]


def without(monkeypatch, kind, path):
    """Delete a log while it is read, after two of its turns."""
    importer = IMPORTERS[kind]

    def turns(location, cleaner, problems):
        yield from islice(importer.turns(location, cleaner, problems), 2)
        path.unlink()
        yield from importer.turns(location, cleaner, problems)

    lossy = type(importer)()
    monkeypatch.setattr(lossy, "turns", turns)
    monkeypatch.setitem(IMPORTERS, kind, lossy)


def test_log_that_is_lost_while_it_is_read_keeps_what_was_read(tmp_path, folder, monkeypatch):
    with monkeypatch.context() as patch:
        without(patch, "claude-code", folder / "claude-code" / "log.jsonl")
        summary, rows = run(tmp_path, folder)
    assert (summary.turns["claude-code"], len(rows)) == (1, 12)
    assert summary.counts["file that could not be read"] == 1
    sample("claude-code", folder / "claude-code")
    summary, rows = run(tmp_path, folder)
    assert (summary.turns["claude-code"], summary.n_unchanged, summary.counts["file that could not be read"]) == (
        3,
        5,
        0,
    )


def test_log_that_is_lost_while_it_is_read_again_keeps_its_turns(tmp_path, folder, monkeypatch):
    _, before = run(tmp_path, folder)
    with (folder / "codex" / "log.jsonl").open("a") as file:
        file.write("\n")
    without(monkeypatch, "codex", folder / "codex" / "log.jsonl")
    summary, after = run(tmp_path, folder)
    assert after == before
    assert summary.counts["file that could not be read"] == 1


def test_damaged_database_costs_no_other_log(tmp_path, folder):
    path = folder / "opencode" / "opencode.db"
    data = bytearray(path.read_bytes())
    data[4096 * 2 :] = b"\xff" * (len(data) - 4096 * 2)
    path.write_bytes(data)
    summary, _ = run(tmp_path, folder)
    assert summary.n_turns - summary.turns["opencode"] == 12
    assert summary.counts["file that could not be read"] == 1


def test_text_of_a_database_that_is_no_utf8_is_read(tmp_path):
    path = logs.opencode_database(tmp_path / "opencode.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE part SET data = CAST(replace(data, 'hexagons', 'hex' || x'ff') AS TEXT)")
        db.commit()
    assert run(tmp_path, path)[1][0]["prompt"] == "Draw the map with hex\N{REPLACEMENT CHARACTER}"


def test_memory_does_not_grow_with_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(claude_code, "_MAX_KNOWN_ROWS", 200)

    def read(n_turns):
        log = logs.ClaudeLog()
        path = tmp_path / f"{n_turns}.jsonl"
        with path.open("w") as file:
            for n in range(n_turns):
                log.prompt(f"Task {n} " + "word " * 50).tool(text="output " * 50).answer("answer " * 50)
                file.writelines(json.dumps(row) + "\n" for row in log.rows[-4:])
                log.rows[:] = [{}] * len(log.rows)
        yield
        assert sum(1 for _ in IMPORTERS["claude-code"].turns(Location(str(path)), Plain(), Problems())) == n_turns
        yield

    def peak(n_turns):
        reading = read(n_turns)
        next(reading)
        tracemalloc.start()
        next(reading)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # The interpreter keeps up to 2,000 freed tuples of each length: filled before anything is measured.
    list(read(2_000))
    # Whatever else a process does at that moment counts as well, a leak every time: the least of a few.
    assert min(peak(1_500) for _ in range(4)) < 1.3 * min(peak(500) for _ in range(4))


def test_killed_run_goes_on_where_it_was(tmp_path):
    for n in range(30):
        log = logs.ClaudeLog(session=f"{n:08d}-2222-4333-8444-555555555555")
        for m in range(20):
            log.prompt(f"Task {n} {m} " + "word " * 100).answer("Done.")
        log.write(tmp_path)
    code = "import sys; from pointsman.classifier.commands import main; sys.exit(main(sys.argv[1:]))"
    command = [
        sys.executable,
        "-c",
        code,
        "import",
        str(tmp_path / "projects"),
        "--output",
        str(tmp_path / "turns.jsonl"),
    ]
    partial = tmp_path / "turns.jsonl.partial.cursor"
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while child.poll() is None and (not partial.exists() or partial.read_bytes().count(b"\n") < 5):
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kept = (tmp_path / "turns.jsonl.partial").read_bytes()
    run(tmp_path, tmp_path / "projects")
    run(tmp_path, tmp_path / "projects", output="fresh.jsonl")
    assert kept
    assert (tmp_path / "turns.jsonl").read_bytes() == (tmp_path / "fresh.jsonl").read_bytes()
    assert not list(tmp_path.glob("*.partial*"))


def test_torn_partial_files_are_taken_over_as_far_as_they_are_whole(tmp_path, folder):
    run(tmp_path, folder)
    whole = (tmp_path / "turns.jsonl").read_bytes()
    cursor = (tmp_path / "turns.jsonl.cursor").read_bytes().splitlines(keepends=True)
    for name in ("turns.jsonl", "turns.jsonl.cursor"):
        (tmp_path / name).unlink()
    (tmp_path / "turns.jsonl.partial").write_bytes(whole[:-300])
    (tmp_path / "turns.jsonl.partial.cursor").write_bytes(b"".join(cursor[:4]) + cursor[4][:20])
    run(tmp_path, folder)
    assert (tmp_path / "turns.jsonl").read_bytes() == whole


def test_edited_output_is_not_overwritten(tmp_path, folder):
    run(tmp_path, folder)
    with (tmp_path / "turns.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(InputError, match=r"it was changed since\. Name another file"):
        run(tmp_path, folder)


def test_foreign_output_is_not_overwritten(tmp_path, folder):
    (tmp_path / "turns.jsonl").write_text("mine\n")
    with pytest.raises(InputError, match=r"its cursor turns\.jsonl\.cursor is not"):
        run(tmp_path, folder)


def test_second_import_at_a_time_is_refused(tmp_path, folder):
    with (
        FileLock(tmp_path / "turns.jsonl.lock"),
        pytest.raises(InputError, match=r"another import writes to .*turns\.jsonl; expected one at a time"),
    ):
        run(tmp_path, folder)
    assert not (tmp_path / "turns.jsonl").exists()


def test_cursor_is_for_its_owner_alone(tmp_path, folder):
    run(tmp_path, folder)
    (tmp_path / "turns.jsonl.cursor").chmod(0o644)
    run(tmp_path, folder)
    assert (tmp_path / "turns.jsonl.cursor").stat().st_mode & 0o777 == 0o600
    (folder / "codex" / "log.jsonl").unlink()
    (folder / "aider" / ".aider.chat.history.md").write_text(logs.AIDER)
    run(tmp_path, folder)
    assert (tmp_path / "turns.jsonl.cursor").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("postgresql://pm:S3cret@db:5432/pm?sslpassword=x", "postgresql://db:5432/pm"),
        ("postgresql://pm:a/b?c@db/pm", "postgresql://db/pm"),
        ("postgresql:///pm?host=/run/sock&password=S3cret", "postgresql:///pm?host=/run/sock"),
        ("sqlite:////home/a@b:c/records.sqlite?timeout=5", "sqlite:////home/a@b:c/records.sqlite"),
        ("/home/a:b@c?d/log.jsonl", "/home/a:b@c?d/log.jsonl"),
    ],
    ids=["user", "odd password", "option", "SQLite", "file"],
)
def test_name_of_a_source_holds_no_password(address, name):
    assert Location(address).name == name


def test_password_in_an_older_cursor_is_taken_out(tmp_path, folder):
    run(tmp_path, folder / "aider", folder / "codex")
    cursor = tmp_path / "turns.jsonl.cursor"
    old = str(folder / "codex" / "log.jsonl")
    cursor.write_text(cursor.read_text().replace(old, "postgresql://pm:S3cret@db/pm"))
    before = (tmp_path / "turns.jsonl").read_bytes()
    run(tmp_path, folder / "aider")
    assert "S3cret" not in cursor.read_text()
    assert '"address":"postgresql://db/pm"' in cursor.read_text()
    assert (tmp_path / "turns.jsonl").read_bytes() == before


def test_store_that_two_passwords_read_is_one_again(tmp_path, folder):
    _, before = run(tmp_path, folder / "aider", folder / "codex")
    cursor = tmp_path / "turns.jsonl.cursor"
    lines = [json.loads(line) for line in cursor.read_text().splitlines()]
    for n, line in enumerate(lines[1:3]):
        line["segment"] |= {"kind": "records", "address": f"postgresql://pm:S3cret{n}@db/pm"}
    cursor.write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary, after = run(tmp_path, folder / "opencode")
    assert dict(summary.turns) == {"opencode": 2, "records": len(before)}
    assert sorted(row["id"] for row in before) == sorted(row["id"] for row in after if row["source"] != "opencode")


def test_rows_without_ids_in_two_files_of_one_group_are_two(tmp_path):
    labels = {"category": "docs", "risk": "low", "scope": "file", "turn": "new", "group": "team"}
    for month in ("march", "april"):
        logs.write_lines(tmp_path / "logs" / f"{month}.jsonl", [{"prompt": f"Describe {month}"} | labels])
    logs.write_lines(tmp_path / "logs" / "again.jsonl", [{"prompt": "Describe march"} | labels])
    summary, rows = run(tmp_path, tmp_path / "logs")
    assert sorted(row["prompt"] for row in rows) == ["Describe april", "Describe march"]
    assert summary.counts["copy of a turn in another log"] == 1


def test_other_options_are_refused(tmp_path, folder):
    run(tmp_path, folder)
    with pytest.raises(
        InputError, match=r"other options \(--subagents\); expected the same. Give --subagents as it was"
    ):
        run(tmp_path, folder, with_subagents=True)


def test_command_prints_a_summary(tmp_path, folder, capsys):
    assert main(["import", str(folder), "--output", str(tmp_path / "turns.jsonl")]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"14 turns in {tmp_path}/turns.jsonl, +14 in this run\n6 sources, 0 unchanged")
    assert "1  turn of a subagent" in printed


def test_unknown_source_is_refused(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n')
    assert main(["import", str(tmp_path / "a.jsonl"), "--output", str(tmp_path / "t.jsonl")]) == 2
    assert "no log of a known kind; expected one of claude-code, codex" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "b.jsonl"), "--output", str(tmp_path / "t.jsonl")]) == 2
    assert "b.jsonl: no such file or folder" in capsys.readouterr().err


def test_folder_without_any_log_is_refused(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "notes.md").write_text("nothing of ours")
    with pytest.raises(InputError, match=r"logs: no log of a known kind in it; expected one of claude-code, codex"):
        run(tmp_path, tmp_path / "logs")
    assert not (tmp_path / "turns.jsonl").exists()


def test_kind_can_be_set(tmp_path):
    path = tmp_path / "history.txt"
    path.write_text("#### Mend it\n\nDone.\n".join(["# aider chat started at 2026-01-01 10:00:00\n\n", ""]))
    assert [row["prompt"] for row in run(tmp_path, path, kind="aider")[1]] == ["Mend it"]
