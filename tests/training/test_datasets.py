"""Labelled turns: bad rows are located, splits are by group and stable."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.errors import InputError
from pointsman.training.datasets import Example, position, read_examples, read_readings, split_by_group

ROW = {
    "id": "a",
    "group": "g",
    "lang": "en",
    "context": [],
    "prompt": "fix it",
    "category": "debugging",
    "risk": "medium",
    "scope": "file",
    "turn": "new",
}


def written(tmp_path, *rows):
    path = tmp_path / "turns.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def example(group):
    labels = {head: ROW[head] for head in ("category", "risk", "scope", "turn")}
    return Example("x", group, "en", "p", (), labels, 1.0)


def test_rows_are_read(tmp_path):
    [first] = read_examples([written(tmp_path, ROW)])
    assert first.labels["category"] == "debugging"
    assert first.needs_care


def test_uncertain_readers_count_less(tmp_path):
    sure, unsure = read_examples([written(tmp_path, ROW | {"sure": "h"}, ROW | {"sure": "l"})])
    assert sure.certainty > unsure.certainty


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("{", "2: not JSON"),
        ("[]", "2: a row is a JSON object, got list"),
        (ROW | {"prompt": None}, "2: prompt: expected text, got NoneType"),
        (ROW | {"risk": "huge"}, "2: risk: 'huge' is not one of low, medium, high"),
        (ROW | {"context": "no"}, "2: context: expected a list"),
    ],
    ids=["json", "shape", "prompt", "label", "context"],
)
def test_bad_rows_are_located(tmp_path, row, problem):
    with pytest.raises(InputError, match=f"turns.jsonl:{problem}"):
        read_examples([written(tmp_path, ROW, row)])


def readings_file(tmp_path, text):
    path = tmp_path / "labels.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_reading_labels_a_row_that_has_none(tmp_path):
    bare = {name: value for name, value in ROW.items() if name not in {"category", "risk", "scope", "turn"}}
    labels = readings_file(tmp_path, "id\tcategory\trisk\tscope\tturn\tsure\na\tdocs\tlow\tfile\tnew\tl\n")
    [found] = read_examples([written(tmp_path, bare)], read_readings([labels]))
    assert found.labels == {"category": "docs", "risk": "low", "scope": "file", "turn": "new"}
    assert found.certainty < 1


def test_reading_corrects_a_row(tmp_path):
    labels = readings_file(tmp_path, "id\tcategory\trisk\tscope\tturn\na\tui\tlow\tfile\tnew\n")
    first, second = read_examples([written(tmp_path, ROW, ROW | {"id": "b"})], read_readings([labels]))
    assert (first.labels["category"], second.labels["category"]) == ("ui", "debugging")


def test_reading_with_an_unknown_label_is_located(tmp_path):
    labels = readings_file(tmp_path, "id\tcategory\trisk\tscope\tturn\na\tui\thuge\tfile\tnew\n")
    with pytest.raises(InputError, match=r"turns\.jsonl:1: risk: 'huge' is not one of"):
        read_examples([written(tmp_path, ROW)], read_readings([labels]))


def test_readings_without_a_column_are_refused(tmp_path):
    with pytest.raises(InputError, match="no column scope, turn; expected id, category, risk, scope, turn"):
        read_readings([readings_file(tmp_path, "id\tcategory\trisk\n")])


def test_labels_as_json_lines_are_refused_with_the_way_to_join_them(tmp_path):
    labels = readings_file(tmp_path, '{"id": "a", "by": "person:anna", "category": "ui", "risk": "low"}\n')
    said = r"JSON lines; expected tab-separated text .* pointsman labels TURNS --labels labels\.tsv --output"
    with pytest.raises(InputError, match=said):
        read_readings([labels])


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.jsonl: no such file"):
        read_examples([tmp_path / "no.jsonl"])


@given(st.lists(st.text(min_size=1), min_size=1, max_size=40))
def test_groups_never_cross_the_split_when_rows_are_added(groups):
    train, calibration = split_by_group([example(g) for g in groups], 0.3)
    assert not {e.group for e in train} & {e.group for e in calibration}
    assert all(position(e.group) < 0.3 for e in calibration)


def test_position_is_read_where_there_is_one(tmp_path):
    rows = read_examples([written(tmp_path, ROW, ROW | {"position": 3})])
    assert [row.position for row in rows] == [None, 3]


@pytest.mark.parametrize("value", ["3", 1.5, True], ids=["text", "fraction", "flag"])
def test_position_that_is_no_whole_number_is_located(tmp_path, value):
    with pytest.raises(InputError, match=r"turns\.jsonl:2: position: expected a whole number"):
        read_examples([written(tmp_path, ROW, ROW | {"position": value})])
