"""`pointsman replay --data`: labelled rows through a real bundle, and what is said of wrong calls."""

import json

import pytest

from pointsman.classifier.commands import main

ROWS = [
    ("a", 0, "the worker pool deadlocks under load", "debugging", "high", "multi", "new"),
    ("a", 1, "still hangs", "debugging", "high", "multi", "correct"),
    ("b", 0, "fix the typo in the readme", "docs", "low", "file", "new"),
]
FIELDS = ("group", "position", "prompt", "category", "risk", "scope", "turn")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "turns.jsonl"
    path.write_text("\n".join(json.dumps(dict(zip(FIELDS, row, strict=True))) for row in ROWS))
    return path


@pytest.fixture
def replay(capsys, data, tiny_bundle):
    def run(*argv):
        status = main(["replay", "--data", str(data), "--bundle", str(tiny_bundle), *map(str, argv)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_table_has_policies_references_and_assumptions(replay):
    status, out, _ = replay("--policy", "frugal", "careful")
    assert status == 0
    assert "3 labelled turns in 2 sessions of turns.jsonl" in out
    for name in ("balanced", "frugal", "careful", "all-premium", "all-cheap", "keyword baseline"):
        assert f"\n{name} " in out
    assert "Assumptions:" in out


def test_json_counts_what_the_labels_say(replay):
    _, out, _ = replay("--policy", "frugal", "--json")
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert (rows["all-cheap"]["care_missed"], rows["all-cheap"]["high_missed"]) == (2, 2)
    assert rows["all-premium"]["care_missed"] == 0
    assert rows["keyword baseline"]["care_missed"] == 1


def test_policy_from_a_file_is_named_by_it(replay, tmp_path):
    path = tmp_path / "ours.yaml"
    path.write_text("extends: balanced\nscale: 1000\n")
    _, out, _ = replay("--policy", path, "--json")
    answer = json.loads(out)
    assert answer["rows"][1]["name"] == "ours"
    assert answer["rows"][1]["premium_share"] == 1


def test_start_and_pause_change_the_costs(replay):
    def spent(*argv):
        return json.loads(replay("--policy", "frugal", "--json", *argv)[1])["rows"][0]["spend_usd"]

    assert spent("--start-tokens", 40_000) > spent()
    assert spent("--pause", 3600) > spent()


def test_missing_source_is_one_line(capsys):
    assert main(["replay", "--policy", "frugal"]) == 2
    assert "found none of them; expected --data or --records" in capsys.readouterr().err


def test_two_sources_are_one_too_many(replay):
    status, _, err = replay("--policy", "frugal", "--records")
    assert status == 2
    assert "found --data and --records" in err


def test_missing_file_is_one_line(capsys, tmp_path):
    assert main(["replay", "--policy", "frugal", "--data", str(tmp_path / "gone.jsonl")]) == 2
    assert "gone.jsonl: no such file" in capsys.readouterr().err


def test_file_without_turns_is_one_line(capsys, tmp_path, tiny_bundle):
    path = tmp_path / "empty.jsonl"
    path.write_text("\n")
    assert main(["replay", "--policy", "frugal", "--data", str(path), "--bundle", str(tiny_bundle)]) == 2
    assert "found no turn that was weighed" in capsys.readouterr().err


def test_unknown_policy_is_one_line(replay):
    status, _, err = replay("--policy", "thrifty")
    assert status == 2
    assert "expected a path, or one of balanced, careful, frugal" in err
