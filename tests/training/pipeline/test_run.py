"""The whole pipeline: every row once, the same files however often and wherever it runs, nothing secret on disk."""

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from pointsman.classifier.commands import main
from pointsman.classifier.errors import InputError
from pointsman.classifier.text import text_of
from pointsman.training.importers.run import ImportConfig, import_turns
from pointsman.training.labels_from_next import label_turns
from pointsman.training.pipeline.config import PipelineConfig
from pointsman.training.pipeline.engines import LocalEngine, WorkerLostError
from pointsman.training.pipeline.plan import Part, Piece
from pointsman.training.pipeline.reading import read_part
from pointsman.training.pipeline.run import run_pipeline
from pointsman.training.pipeline.schema import messages_of

from ..importers import logs
from ..importers.test_masking import PLANTED
from .turns import contents, read_copies, read_output, turn, write_turns

LABELS = {"category": "docs", "risk": "low", "scope": "file", "turn": "new"}


@pytest.fixture
def run(tmp_path, tiny_bundle):
    def run(*sources, output="out", **options):
        given = {"n_workers": 1, "part_bytes": 4_000, "bundle": tiny_bundle} | options
        return run_pipeline(PipelineConfig(tuple(map(str, sources)), tmp_path / output, **given))

    return run


@pytest.fixture
def file(tmp_path):
    """120 turns, of which every tenth has a copy, with and without other words at its end."""
    rows = [turn(n) for n in range(120)]
    rows += [turn(n) | {"id": f"again{n}", "group": "other"} for n in range(0, 120, 10)]
    rows += [turn(n) | {"id": f"near{n}", "prompt": turn(n)["prompt"] + " today"} for n in range(5, 120, 10)]
    return write_turns(tmp_path / "turns.jsonl", rows)


def test_every_row_is_kept_or_a_copy_once(run, file, tmp_path):
    summary = run(file)
    kept, copies = read_output(tmp_path / "out"), read_copies(tmp_path / "out")
    read = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert sorted([*kept, *copies]) == sorted(read)
    assert (summary.n_turns, summary.n_kept, summary.n_copies) == (144, 120, {"id": 0, "words": 12, "nearly": 12})
    assert summary.n_parts > 3


def test_copies_name_what_they_are_copies_of(run, file, tmp_path):
    run(file)
    copies = read_copies(tmp_path / "out")
    assert copies["again30"] == ("t30", "words")
    assert copies["near35"] == ("t35", "nearly")


def test_copy_of_a_copy_names_the_first(run, tmp_path):
    words = [f"word{n}" for n in range(60)]
    prompts = [" ".join(words), " ".join([*words, "more"]), " ".join([*words, "more", "still"])]
    run(write_turns(tmp_path / "t.jsonl", [turn(n, prompt) for n, prompt in enumerate(prompts)]), similarity=0.9)
    # Other messages stand before them, so they are no copies; with the same message they are.
    assert read_copies(tmp_path / "out") == {}
    rows = [turn(n, prompt, context=[]) for n, prompt in enumerate(prompts)]
    run(write_turns(tmp_path / "t.jsonl", rows), similarity=0.9)
    assert {first for first, _ in read_copies(tmp_path / "out").values()} == {"t0"}


def test_turn_that_a_person_labelled_is_kept(run, tmp_path):
    rows = [turn(1), turn(1) | {"id": "labelled", "group": "other"} | LABELS]
    run(write_turns(tmp_path / "t.jsonl", rows))
    assert list(read_output(tmp_path / "out")) == ["labelled"]
    assert read_copies(tmp_path / "out") == {"t1": ("labelled", "words")}


def test_rows_without_ids_in_files_of_one_name_are_two(run, tmp_path):
    for n, place in enumerate(("march", "april")):
        (tmp_path / place).mkdir()
        row = {"prompt": turn(n)["prompt"]}
        write_turns(tmp_path / place / "turns.jsonl", [row])
    run(tmp_path / "march" / "turns.jsonl", tmp_path / "april" / "turns.jsonl", scores=False, bundle=None)
    assert {row["prompt"] for row in read_output(tmp_path / "out").values()} == {turn(n)["prompt"] for n in range(2)}


def test_row_with_id_and_group_of_another_is_a_copy(run, tmp_path):
    rows = [turn(1), turn(2) | {"id": "t1", "group": "g1"}, turn(3) | {"id": "t1", "group": "other"}]
    run(write_turns(tmp_path / "t.jsonl", rows))
    found = [row for path in (tmp_path / "out" / "turns").iterdir() for row in pq.read_table(path).to_pylist()]
    assert [row["group"] for row in found] == ["g1", "other"]


def test_scores_are_those_of_serving(run, file, tmp_path, tiny_assessor):
    run(file)
    row = read_output(tmp_path / "out")["t17"]
    served = tiny_assessor.assess_texts([text_of(row["prompt"], messages_of(row["context"]))])[0]
    assert row["probabilities"]["category"] == pytest.approx(served.category.probabilities, abs=1e-6)
    assert row["predicted"]["risk"] == served.risk.label
    assert row["care_probability"] == pytest.approx(served.care_probability, abs=1e-6)
    assert row["novelty"] == pytest.approx(served.novelty, abs=1e-6)
    assert np.linalg.norm(np.array(row["embedding"], dtype=np.float32)) == pytest.approx(1.0, abs=1e-2)


def test_second_run_leaves_everything_as_it_is(run, file, tmp_path):
    run(file)
    before = contents(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "turns").iterdir()}
    summary = run(file)
    assert (summary.n_parts_read, summary.n_parts_scored) == (0, 0)
    assert contents(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "turns").iterdir()} == times


def test_workers_give_the_files_that_one_gives(run, file, tmp_path):
    run(file, output="one")
    run(file, output="two", n_workers=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_added_rows_cost_the_last_part_only(run, file, tmp_path):
    n_parts = run(file).n_parts
    with file.open("a") as lines:
        lines.write(json.dumps(turn(999)) + "\n")
    summary = run(file)
    assert (summary.n_parts_read, summary.n_parts_scored) == (1, 1)
    assert (summary.n_parts, summary.n_kept) == (n_parts, 121)


def test_changed_rows_take_the_place_of_the_old(run, file, tmp_path):
    run(file)
    write_turns(file, [turn(n) for n in range(200, 260)])
    run(file)
    run(file, output="fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_killed_run_goes_on_and_gives_the_same(run, tmp_path, tiny_bundle):
    file = write_turns(tmp_path / "t.jsonl", [turn(n) for n in range(1_500)])
    code = (
        "import sys; from pathlib import Path; from pointsman.training.pipeline.config import PipelineConfig as C; "
        "from pointsman.training.pipeline.run import run_pipeline; source, output, bundle = sys.argv[1:]; "
        "run_pipeline(C((source,), Path(output), bundle=Path(bundle), n_workers=1, part_bytes=20_000))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(file), str(tmp_path / "out"), str(tiny_bundle)])
    while len(list((tmp_path / "out" / "turns").glob("part-*.parquet"))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    summary = run(file, part_bytes=20_000)
    run(file, output="fresh", part_bytes=20_000)
    assert summary.n_parts_read == 0
    assert 0 < summary.n_parts_scored < summary.n_parts
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_second_run_at_a_time_is_refused(run, file, tmp_path):
    (tmp_path / "out" / "work").mkdir(parents=True)
    with FileLock(tmp_path / "out" / "work" / "lock"), pytest.raises(InputError, match="another run writes there"):
        run(file)


@pytest.mark.filterwarnings("ignore:A worker stopped:UserWarning")
def test_lost_worker_is_told_with_what_to_do():
    def leave(task):  # in here, so that it travels by value: a worker does not know the tests
        os._exit(1)

    with pytest.raises(WorkerLostError, match="Run the same command again"):
        list(LocalEngine(2).run(leave, [{}, {}, {}]))


def test_broken_rows_are_counted_and_located(run, tmp_path):
    file = write_turns(tmp_path / "t.jsonl", [turn(1), "{", json.dumps({"id": "x"}), turn(2)])
    summary = run(file)
    assert (summary.n_kept, dict(summary.left_out)) == (2, {"not a JSON object": 1, "row without a prompt": 1})
    assert summary.located[0].startswith(f"{file}: byte ")


def test_odd_values_cost_no_row(run, tmp_path):
    odd = {
        "position": "first",
        "usage": 3,
        "models": [1, "m"],
        "next": {"gap_s": "soon"},
        "context": ["?", {"text": 1}],
    }
    run(write_turns(tmp_path / "t.jsonl", [turn(1) | odd]))
    row = read_output(tmp_path / "out")["t1"]
    assert (row["position"], row["usage"], row["models"], row["context"]) == (None, None, ["m"], [])


@pytest.mark.parametrize(
    "odd",
    [{"next": {"similarity": "high"}}, {"next": {"model": "opus"}, "models": 3}, {"position": 2**70}],
    ids=["similarity", "models", "position"],
)
def test_odd_sign_costs_no_row(run, tmp_path, odd):
    run(write_turns(tmp_path / "t.jsonl", [turn(1) | odd]), scores=False, bundle=None)
    assert list(read_output(tmp_path / "out")) == ["t1"]


def test_half_a_character_costs_no_row(run, tmp_path):
    run(write_turns(tmp_path / "t.jsonl", [turn(1, "Mend the emoji \ud83d please")]), scores=False, bundle=None)
    assert read_output(tmp_path / "out")["t1"]["prompt"] == "Mend the emoji \N{REPLACEMENT CHARACTER} please"


def test_file_that_cannot_be_read_costs_no_other(run, tmp_path):
    (tmp_path / "logs").mkdir()
    write_turns(tmp_path / "logs" / "t.jsonl", [turn(1)])
    (tmp_path / "logs" / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    summary = run(tmp_path / "logs", scores=False, bundle=None)
    assert (summary.n_kept, dict(summary.left_out)) == (1, {"file that could not be read": 1})
    assert summary.located == [f"{tmp_path}/logs/gone.jsonl: file that could not be read"]


def test_no_planted_secret_is_on_disk(run, tmp_path):
    rows = [
        turn(n, f"use {secret} now", context=[{"role": "user", "text": secret}])
        for n, secret in enumerate(PLANTED.values())
    ]
    run(write_turns(tmp_path / "t.jsonl", rows))
    written = json.dumps(
        [pq.read_table(path).to_pylist() for path in (tmp_path / "out").rglob("*.parquet")], default=str
    )
    pieces = [secret[:12] for name, secret in PLANTED.items() if name != "jwt"]
    assert "use <secret> now" in written
    assert [piece for piece in pieces if piece in written] == []


def test_no_secret_of_a_column_that_nobody_reads_is_on_disk(run, tmp_path):
    secret = PLANTED["aws"]
    unread = {"answer": f"use {secret}", "next": {"reply": secret}, "tools": {"output": [secret]}, "turn": secret}
    run(write_turns(tmp_path / "t.jsonl", [turn(1, **unread)]), scores=False, bundle=None)
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    told = [pq.read_table(path) for path in written if path.suffix == ".parquet"]
    assert secret not in str([(table.schema.metadata, table.to_pylist()) for table in told])
    assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_logs_give_the_turns_that_import_gives(run, tmp_path):
    logs.claude_session().write(tmp_path / "logs")
    logs.write_lines(tmp_path / "logs" / "codex.jsonl", logs.codex_rollout())
    run(tmp_path / "logs")
    import_turns(ImportConfig((str(tmp_path / "logs"),), tmp_path / "turns.jsonl"))
    imported = [json.loads(line) for line in (tmp_path / "turns.jsonl").read_text().splitlines()]
    found = read_output(tmp_path / "out")
    assert {row["id"]: row["prompt"] for row in imported} == {name: row["prompt"] for name, row in found.items()}
    assert [found[row["id"]]["usage"] for row in imported] == [row["usage"] for row in imported]


def test_imported_turns_are_read_as_their_logs_are(run, tmp_path):
    logs.claude_session().write(tmp_path / "logs")
    import_turns(ImportConfig((str(tmp_path / "logs"),), tmp_path / "turns.jsonl"))
    run(tmp_path / "logs", output="of_logs")
    run(tmp_path / "turns.jsonl", output="of_turns")
    assert read_output(tmp_path / "of_turns") == read_output(tmp_path / "of_logs")


def test_outcomes_are_those_of_labels_from_next(run, tmp_path):
    logs.claude_session().write(tmp_path / "logs")
    import_turns(ImportConfig((str(tmp_path / "logs"),), tmp_path / "turns.jsonl"))
    run(tmp_path / "logs")
    labels, _ = label_turns([json.loads(line) for line in (tmp_path / "turns.jsonl").read_text().splitlines()])
    found = pq.read_table(tmp_path / "out" / "outcomes.parquet").to_pylist()
    expected = [(label.id, label.label, label.confidence, list(label.sources)) for label in labels]
    assert [(row["id"], row["label"], row["confidence"], row["sources"]) for row in found] == expected


def test_without_scores_nothing_is_embedded(run, file, tmp_path):
    summary = run(file, scores=False, bundle=None)
    assert summary.n_kept == 120
    assert not {"embedding", "predicted"} & set(read_output(tmp_path / "out")["t17"])


def test_nothing_to_read_gives_empty_files(run, tmp_path):
    (tmp_path / "logs").mkdir()
    assert run(tmp_path / "logs").n_turns == 0
    assert read_copies(tmp_path / "out") == {}


def test_memory_does_not_grow_with_the_part(tmp_path):
    def peak(n_turns):
        file = write_turns(
            tmp_path / "t.jsonl", (turn(n, " ".join(map(str, range(n, n + 80)))) for n in range(n_turns))
        )
        part = Part(0, (Piece("turns", str(file), "", 0, file.stat().st_size),), "key")
        tracemalloc.start()
        read_part(part, tmp_path / "rows.parquet", with_subagents=False)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # Two blocks of a thousand rows are held at a time; from there on it is flat.
    peak(2_000)
    assert peak(6_000) < 1.4 * peak(2_000)


def test_command_says_what_was_done(file, tmp_path, capsys, tiny_bundle):
    output = str(tmp_path / "out")
    assert main(["pipeline", str(file), "--output", output, "--bundle", str(tiny_bundle), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert f"144 turns read, 120 kept in {output}" in shown
    assert "12  nearly the same words" in shown


def test_address_without_ray_is_refused(tmp_path, capsys):
    assert main(["pipeline", "x", "--output", str(tmp_path / "out"), "--address", "auto"]) == 2
    assert "Add --engine ray" in capsys.readouterr().err
