"""`pointsman tune`: the file it writes is the policy it measured."""

import json

import pytest

from pointsman.classifier.commands import main
from pointsman.classifier.policy import Policy

from .test_labelled_turns import FIELDS, ROWS


@pytest.fixture
def source(tmp_path, tiny_bundle):
    path = tmp_path / "turns.jsonl"
    more = [(f"{group}{n}", *row) for n in range(3) for group, *row in ROWS]
    path.write_text("\n".join(json.dumps(dict(zip(FIELDS, row, strict=True))) for row in more))
    return ["--data", str(path), "--bundle", str(tiny_bundle)]


@pytest.fixture
def run(capsys, source):
    def run(command, *argv):
        status = main([command, *source, *map(str, argv)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_written_policy_does_what_was_measured(run, tmp_path):
    path = tmp_path / "tuned.yaml"
    status, out, _ = run("tune", "--max-missed", 0, "--output", path, "--json")
    chosen = json.loads(out)["chosen"]
    assert status == 0
    assert Policy.load(path).loss_usd == tuple(chosen["loss_usd"].values())
    rows = {row["name"]: row for row in json.loads(run("replay", "--policy", path, "--json")[1])["rows"]}
    assert rows["tuned"]["spend_usd"] == pytest.approx(chosen["spend_usd"])
    assert rows["tuned"]["care_missed"] == chosen["care_missed"] == 0


def test_file_says_where_it_comes_from(run, tmp_path):
    path = tmp_path / "tuned.yaml"
    run("tune", "--max-missed", 0.5, "--output", path)
    text = path.read_text()
    assert "`pointsman tune --max-missed 0.5 --policy balanced`" in text
    assert "9 labelled turns" in text
    assert "extends: balanced" in text


def test_difference_names_both_files_and_the_losses(run, tmp_path):
    path = tmp_path / "tuned.yaml"
    _, out, _ = run("tune", "--max-missed", 0.99, "--policy", "careful", "--output", path)
    assert "--- careful\n" in out
    assert f"+++ {path}\n" in out
    assert "-  high: 120\n" in out


def test_policy_of_ones_own_is_extended_from_where_the_new_file_lies(run, tmp_path):
    ours, folder = tmp_path / "ours.yaml", tmp_path / "new"
    ours.write_text("extends: balanced\nnovelty_weight: 0\n")
    folder.mkdir()
    status, _, err = run("tune", "--max-missed", 0.5, "--policy", ours, "--output", folder / "tuned.yaml")
    assert status == 0, err
    assert "extends: ../ours.yaml" in (folder / "tuned.yaml").read_text()
    assert Policy.load(folder / "tuned.yaml").novelty_weight == 0


def test_table_shows_the_frontier_between_both_ends(run):
    _, out, _ = run("tune", "--max-missed", 0)
    names = [line.split()[0] for line in out.splitlines() if line[:1].strip()]
    assert names.index("all-premium") < names.index("chosen") < names.index("all-cheap")


def test_unreachable_target_is_status_1_and_writes_nothing(run, tmp_path):
    path = tmp_path / "tuned.yaml"
    status, out, _ = run("tune", "--budget", 0.0001, "--output", path)
    assert status == 1
    assert "meets the target" in out
    assert not path.exists()


def test_budget_counts_the_turns_of_a_month(run):
    def month(n):
        return json.loads(run("tune", "--budget", 1000, "--turns-a-month", n, "--json")[1])["target"]["turns_a_month"]

    assert month(50) == 50
    assert json.loads(run("tune", "--budget", 1000, "--json")[1])["target"]["turns_a_month"] == 9


def test_file_that_is_there_is_not_overwritten(run, tmp_path):
    path = tmp_path / "tuned.yaml"
    path.write_text("mine")
    status, _, err = run("tune", "--max-missed", 0.5, "--output", path)
    assert status == 2
    assert "is there already" in err
    assert path.read_text() == "mine"


def test_target_that_makes_no_sense_is_one_line(run):
    status, _, err = run("tune", "--max-missed", 3)
    assert status == 2
    assert "--max-missed 3: expected a share" in err
