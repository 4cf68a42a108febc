"""Labels of every origin are combined, each with its source and its certainty."""

import json

import numpy as np
import pytest

from pointsman.classifier.commands import main
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import CATEGORIES, HEADS
from pointsman.training.datasets import read_examples
from pointsman.training.label_files import Judgement, append_judgement, labels_by
from pointsman.training.label_sources import gather, read_rows

ALL = {"category": "debugging", "risk": "medium", "scope": "file", "turn": "new"}
NEXT = {"gap_s": 1.0, "is_repeat": False, "similarity": 0.4, "n_errors": 0}


def row(name, **fields):
    return {"id": name, "session": fields.pop("session", name), "prompt": f"do {name}", "position": 0} | fields


def file_of(path, rows):
    path.write_text("".join(json.dumps(item) + "\n" for item in rows), encoding="utf-8")
    return path


def accuracy_of(labels, head, name):
    return next(source.accuracy for source in labels.summary.heads[head].sources if source.name == name)


def test_feedback_is_a_label_with_its_source():
    found = gather([row("a", votes=[{"source": "feedback", "category": "security"}])])
    assert found.by_id["a"]["category"].label == "security"
    assert found.by_id["a"]["category"].sources == ("feedback",)
    assert 0.5 < found.by_id["a"]["category"].certainty < 1


def test_classifier_alone_labels_nothing():
    found = gather([row("a", assessed=ALL), row("b")])
    assert found.by_id == {}
    assert found.summary.n_turns == 2


def test_classifier_fills_heads_that_a_person_left_out():
    found = gather([row("a", assessed=ALL, votes=[{"source": "feedback", "risk": "high"}])])
    assert {head: label.label for head, label in found.by_id["a"].items()} == ALL | {"risk": "high"}
    assert found.by_id["a"]["category"].sources == ("model",)
    assert found.summary.n_complete == 1


def test_two_voices_are_surer_than_one(tmp_path):
    file = file_of(
        tmp_path / "a.jsonl", [{"id": "a", "by": "person:anna", **ALL}, {"id": "b", "by": "person:anna", **ALL}]
    )
    found = gather([row("a", assessed=ALL), row("b")], [file]).by_id
    assert found["a"]["category"].certainty > found["b"]["category"].certainty


def test_person_who_disagrees_with_two_machines_is_less_sure_but_kept(tmp_path):
    rows = [row(str(i), assessed=ALL) for i in range(40)]
    people = [{"id": str(i), "by": "person:anna", **ALL} for i in range(40)]
    people[7]["category"] = "feature"
    file = file_of(tmp_path / "a.jsonl", [*people, *({"id": str(i), "by": "llm:m", **ALL} for i in range(40))])
    found = gather(rows, [file]).by_id
    assert found["7"]["category"].certainty < found["8"]["category"].certainty
    assert accuracy_of(gather(rows, [file]), "category", "person:anna") > 0.85


def test_accuracy_of_simulated_labellers_is_found(tmp_path):
    rng = np.random.default_rng(3)
    truth = rng.integers(0, len(CATEGORIES), 1_500)
    wanted = {"person:anna": 0.92, "llm:m": 0.8, "llm:poor": 0.5}
    judgements = []
    for by, accuracy in wanted.items():
        guess = np.where(rng.random(1_500) < accuracy, truth, (truth + rng.integers(1, 14, 1_500)) % 14)
        judgements += [{"id": str(i), "by": by, "category": CATEGORIES[c]} for i, c in enumerate(guess)]
    labels = gather([row(str(i)) for i in range(1_500)], [file_of(tmp_path / "a.jsonl", judgements)])
    assert [accuracy_of(labels, "category", by) for by in wanted] == pytest.approx(list(wanted.values()), abs=0.04)
    right = np.mean([labels.by_id[str(i)]["category"].label == CATEGORIES[c] for i, c in enumerate(truth)])
    assert right > 0.92
    assert labels.summary.heads["category"].certainty == pytest.approx(right, abs=0.03)


def test_what_came_next_labels_the_outcome_and_the_next_turn():
    first = row("a", session="s", next=NEXT | {"says_wrong": True, "repeats_error": True})
    found = gather([first, row("b", session="s", position=1), row("c", next=NEXT | {"approves": True})]).by_id
    assert (found["a"]["outcome"].label, found["a"]["outcome"].sources) == ("failed", ("correction", "repeated_error"))
    assert (found["b"]["turn"].label, found["b"]["turn"].sources) == ("correct", ("says_wrong", "repeats_error"))
    assert found["c"]["outcome"].label == "worked"


def test_first_turn_of_a_session_is_new():
    found = gather([row("a", features={"n_context": 0}), row("b", features={"n_context": 2})]).by_id
    assert found["a"]["turn"].label == "new"
    assert "b" not in found


def test_last_word_of_a_labeller_counts_and_can_be_taken_back(tmp_path):
    path = tmp_path / "labels.jsonl"
    append_judgement(path, Judgement("a", "person:anna", ALL))
    append_judgement(path, Judgement("a", "person:anna", {"category": "feature", "risk": ""}))
    assert labels_by([path]) == {"a": {"person:anna": {"category": "feature", "scope": "file", "turn": "new"}}}


@pytest.mark.parametrize(
    ("name", "text"),
    [("anna.csv", "id,category,risk\na,security,\n"), ("anna.tsv", "id\tcategory\trisk\na\tsecurity\t\n")],
)
def test_table_of_labels_by_id_is_read(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert labels_by([tmp_path / name]) == {"a": {"file:anna": {"category": "security"}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"id": "a", "risk": "huge"}', r"labels.jsonl:1: risk: 'huge' is not one of low, medium, high"),
        ('{"risk": "low"}', r"labels.jsonl:1: no id"),
        ("[]", r"labels.jsonl:1: a row is a JSON object, got list"),
        ("{", r"labels.jsonl:1: not JSON"),
    ],
)
def test_label_file_says_what_is_wrong(tmp_path, text, message):
    (tmp_path / "labels.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        labels_by([tmp_path / "labels.jsonl"])


def test_command_writes_what_train_reads(tmp_path, capsys):
    rows = [row("a"), row("b", assessed=ALL), row("c", next=NEXT | {"approves": True})]
    turns = file_of(tmp_path / "turns.jsonl", rows)
    labels = file_of(tmp_path / "labels.jsonl", [{"id": "a", "by": "person:anna", **ALL}, {"id": "gone", **ALL}])
    output = tmp_path / "labelled.jsonl"
    assert main(["labels", str(turns), "--labels", str(labels), "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    assert "3 turns, 1 labelled by somebody, 1 of all turns with all four labels" in shown
    assert "1 labelled ids belong to no turn" in shown
    [example] = read_examples([output])
    assert example.labels == ALL
    assert 0.8 < example.certainty < 1
    [written] = [json.loads(line) for line in output.read_text().splitlines()]
    assert set(written["labels"]) == {*HEADS}
    assert written["labels"]["risk"]["sources"] == ["person:anna"]


def test_rows_without_an_id_keep_labels_of_their_own(tmp_path):
    turns = file_of(tmp_path / "turns.jsonl", [{"prompt": "a", **ALL}, {"prompt": "b", **ALL, "category": "docs"}])
    output = tmp_path / "labelled.jsonl"
    assert main(["labels", str(turns), "--output", str(output)]) == 0
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(row["id"], row["prompt"], row["category"]) for row in found] == [
        ("turns:1", "a", "debugging"),
        ("turns:2", "b", "docs"),
    ]


def test_row_without_an_id_can_be_labelled_by_its_place(tmp_path):
    turns = file_of(tmp_path / "turns.jsonl", [{"prompt": "a"}, {"id": None, "prompt": "b"}])
    labels = file_of(tmp_path / "labels.jsonl", [{"id": "turns:2", **ALL}])
    assert set(gather(read_rows([turns]), [labels]).by_id) == {"turns:2"}


def test_two_texts_of_one_id_are_refused_with_the_place(tmp_path):
    first = file_of(tmp_path / "a.jsonl", [row("1")])
    other = file_of(tmp_path / "b.jsonl", [row("2"), row("1", prompt="something else")])
    with pytest.raises(InputError, match=r"b.jsonl:2: id '1' is also that of an earlier turn with another text"):
        list(read_rows([first, other]))
    assert [found["id"] for found in read_rows([first, first])] == ["1", "1"]


def test_rows_without_ids_cannot_be_gathered():
    with pytest.raises(InputError, match="turn 2 has no id; expected one a turn"):
        gather([row("a"), {"prompt": "b"}])


def test_partial_labels_are_written_when_asked_for(tmp_path):
    turns = file_of(tmp_path / "turns.jsonl", [row("a"), row("c", next=NEXT | {"approves": True})])
    output = tmp_path / "labelled.jsonl"
    assert main(["labels", str(turns), "--output", str(output), "--partial", "--json"]) == 0
    [written] = [json.loads(line) for line in output.read_text().splitlines()]
    assert written["labels"]["outcome"]["label"] == "worked"


def test_bundle_has_a_say_in_turns_that_somebody_labelled(tmp_path, tiny_bundle, capsys):
    turns = file_of(tmp_path / "turns.jsonl", [row("a"), row("b")])
    labels = file_of(tmp_path / "labels.jsonl", [{"id": "a", "category": "docs"}])
    output = tmp_path / "labelled.jsonl"
    command = ["labels", str(turns), "--labels", str(labels), "--bundle", str(tiny_bundle), "--output", str(output)]
    assert main(command) == 0
    [written] = [json.loads(line) for line in output.read_text().splitlines()]
    assert written["labels"]["risk"]["sources"] == ["model"]
    assert written["id"] == "a"
