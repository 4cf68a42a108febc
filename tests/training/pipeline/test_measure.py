"""The measuring tool: what it makes, and what it counts."""

import subprocess
import sys

from pointsman.training.pipeline.measure import made_turns, main
from pointsman.training.pipeline.processes import Family

from .turns import turn, write_turns

SEEDS = [turn(n) for n in range(20)]


def words(rows):
    return [(row["prompt"], str(row["context"])) for row in rows]


def test_one_made_turn_in_ten_is_a_copy_and_no_id_comes_twice():
    rows = list(made_turns(SEEDS, 100))
    assert len(set(words(rows))) == 90
    assert len({row["id"] for row in rows}) == 100


def test_words_come_again_after_the_distinct_ones():
    rows = list(made_turns(SEEDS, 60, 20))
    assert words(rows)[:20] == words(rows)[20:40] == words(rows)[40:]
    assert len({row["id"] for row in rows}) == 60


def test_work_of_children_is_counted_also_when_they_have_ended():
    busy = "x = bytearray(300_000_000)\nfor _ in range(20_000_000): pass\nimport time; time.sleep(1.2)"
    with Family() as family:
        subprocess.run([sys.executable, "-c", busy], check=True)
    assert family.peak_bytes > 300_000_000
    assert family.cpu_seconds > 0.1


def test_every_engine_gets_a_row_of_the_same_turns(tmp_path, capsys):
    file = write_turns(tmp_path / "seeds.jsonl", SEEDS)
    given = ["200", "--turns", str(file), "--workers", "1", "2", "--part-mb", "0.02", "--score-at-most", "0"]
    assert main([*given, "--folder", str(tmp_path)]) == 0
    _, _, *rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in capsys.readouterr().out.splitlines()]
    assert [(row[2], row[3]) for row in rows] == [("local, not scored", "1"), ("local, not scored", "2")]
    assert rows[0][:2] == rows[1][:2]
    assert rows[0][4:6] == rows[1][4:6]
    assert int(rows[0][4]) > 1
    assert [path.name for path in tmp_path.iterdir()] == ["seeds.jsonl"]
