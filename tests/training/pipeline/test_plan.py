"""Sources are cut so that every line is in one part, and so that what is added moves nothing else."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.errors import InputError
from pointsman.training.pipeline.config import PipelineConfig
from pointsman.training.pipeline.plan import plan_of

from ..importers import logs
from .turns import turn, write_turns


def plan(*sources, part_bytes=2_000, **options):
    return plan_of(PipelineConfig(tuple(map(str, sources)), Path("unused"), part_bytes=part_bytes, **options))


@given(st.lists(st.integers(1, 400), min_size=1, max_size=30), st.integers(1, 600), st.booleans())
def test_every_byte_is_in_one_part_that_ends_with_its_line(sizes, part_bytes, is_ended):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "turns.jsonl"
        data = b'{"prompt": "a"}\n' + b"".join(b"x" * size + b"\n" for size in sizes)
        path.write_bytes(data if is_ended else data[:-1])
        pieces = [piece for part in plan(path, part_bytes=part_bytes).parts for piece in part.pieces]
        assert [piece.start for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
        assert pieces[-1].end == path.stat().st_size
        assert all(path.read_bytes()[piece.end - 1 : piece.end] == b"\n" for piece in pieces[:-1])


def test_added_lines_leave_earlier_parts_their_keys(tmp_path):
    path = write_turns(tmp_path / "turns.jsonl", [turn(n) for n in range(50)])
    before = [part.key for part in plan(path).parts]
    write_turns(path, [turn(n) for n in range(60)])
    after = [part.key for part in plan(path).parts]
    assert len(before) > 3
    assert after[: len(before) - 1] == before[:-1]


def test_small_logs_share_parts(tmp_path):
    for n in range(40):
        logs.ClaudeLog(session=f"s{n:02}").prompt(f"Light lamp {n}").answer("Lit.").write(tmp_path)
    parts = plan(tmp_path, part_bytes=2**20).parts
    assert sum(len(part.pieces) for part in parts) == 40
    assert len(parts) < 10


def test_new_log_changes_one_part_only(tmp_path):
    for n in range(0, 200, 2):
        logs.ClaudeLog(session=f"s{n:03}").prompt(f"Light lamp {n}").answer("Lit.").write(tmp_path)
    before = {part.key for part in plan(tmp_path, part_bytes=2**30).parts}
    logs.ClaudeLog(session="s101").prompt("Light another lamp").answer("Lit.").write(tmp_path)
    after = {part.key for part in plan(tmp_path, part_bytes=2**30).parts}
    assert len(after - before) <= 2
    assert len(before) > len(before - after)


def test_unknown_file_is_refused_by_name(tmp_path):
    (tmp_path / "notes.md").write_text("nothing of ours")
    with pytest.raises(InputError, match="no log of a known kind"):
        plan(tmp_path / "notes.md")
    assert plan(tmp_path).n_unrecognised == 1
