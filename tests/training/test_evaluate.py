"""Evaluation of a bundle: figures by hand on a chosen assessor, and the command on a real one."""

import json

import numpy as np
import pytest

from pointsman.classifier.assessment import Assessment, HeadResult
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.commands import main
from pointsman.classifier.labels import HEADS
from pointsman.training.datasets import Example
from pointsman.training.evaluate import assess_examples, evaluate, render, to_json


def result(head, label, confidence):
    labels = HEADS[head]
    rest = (1 - confidence) / (len(labels) - 1)
    return HeadResult(head, tuple(confidence if name == label else rest for name in labels))


def assessment(category="docs", risk="low", scope="file", confidence=0.9):
    labels = {"category": category, "risk": risk, "scope": scope, "turn": "new"}
    heads = {head: result(head, labels[head], confidence) for head in HEADS}
    return Assessment(**heads, novelty=0.0, model_version="fixed")


class FixedAssessor:
    """Answers "debugging, medium" to prompts that say bug, "docs, low" to the rest."""

    version = "fixed"

    def assess_texts(self, texts):
        return [
            assessment("debugging", "medium") if "bug" in text.prompt else assessment("docs", "low") for text in texts
        ]


def example(prompt, category, risk, group="g"):
    labels = {"category": category, "risk": risk, "scope": "file", "turn": "new"}
    return Example(prompt, group, "en", prompt, (), labels, 1.0)


EXAMPLES = [
    example("bug one", "debugging", "medium"),
    example("bug two", "docs", "low"),
    example("readme", "docs", "low", "h"),
    example("refunds", "debugging", "high", "h"),
]


def test_figures_by_hand():
    report = evaluate(FixedAssessor(), EXAMPLES, n_bootstrap=50)
    assert report.n_groups == 2
    assert report.heads["category"].accuracy == 0.5
    assert report.heads["turn"].accuracy == 1.0
    assert report.heads["category"].labels["docs"].recall == 0.5
    assert report.care.n_needs_care == 2
    assert report.care.auc == 0.5
    assert report.care.recall["50%"] == 0.5
    assert report.care.high_risk_missed["50%"] == 1.0


def test_intervals_by_group_are_wider_where_groups_agree():
    rows = [example(f"bug {i}", "debugging" if i < 20 else "docs", "medium", str(i // 20)) for i in range(40)]
    interval = evaluate(FixedAssessor(), rows, n_bootstrap=200).heads["category"].accuracy_interval
    assert interval.by_group == (0.0, 1.0)
    assert interval.by_row[0] > 0.25


def test_macro_f1_of_frequent_labels_and_of_all_differ():
    rows = [example("bug", "debugging", "medium", str(i)) for i in range(10)]
    head = evaluate(FixedAssessor(), [*rows, example("css", "ui", "low")], n_bootstrap=5).heads["category"]
    assert head.macro_f1 == 1.0
    assert head.macro_f1_all == 0.5


def test_confusion_counts_true_label_first():
    head = evaluate(FixedAssessor(), EXAMPLES, n_bootstrap=5).heads["category"]
    debugging, docs = HEADS["category"].index("debugging"), HEADS["category"].index("docs")
    assert head.confusion[docs][debugging] == 1
    assert sum(map(sum, head.confusion)) == len(EXAMPLES)


def test_manifest_keeps_tables_in_short():
    report = evaluate(FixedAssessor(), EXAMPLES, n_bootstrap=5)
    for head, found in report.heads.items():
        short = to_json(report)["heads"][head]
        filled = np.zeros((len(HEADS[head]),) * 2, dtype=int)
        for row, column, n in short["confusion"]:
            filled[row, column] = n
        assert filled.tolist() == found.confusion
        assert all(n > 0 for _, _, n in short["confusion"])
        assert sum(share for share, _, _ in short["reliability"]) == pytest.approx(1, abs=1e-3)
    assert to_json(report, complete=True)["heads"]["risk"]["confusion"] == report.heads["risk"].confusion


def test_assessments_come_back_in_order():
    labels = [a.category.label for a in assess_examples(FixedAssessor(), EXAMPLES)]
    assert labels == ["debugging", "debugging", "docs", "docs"]


def test_turns_are_assessed_as_they_are_served_one_at_a_time():
    assessor = Assessor.load()
    rows = [example("fix the crash " + "of the parser " * n, "debugging", "low") for n in range(6)]
    assert assess_examples(assessor, rows) == [assessor.assess_texts([row.text])[0] for row in rows]


def test_care_orders_turns_as_the_guide_does():
    low, medium_docs = assessment().care_probability, assessment("docs", "medium").care_probability
    medium_bug, high = assessment("debugging", "medium").care_probability, assessment("docs", "high").care_probability
    assert low < medium_docs < medium_bug < high


def test_care_counts_repository_wide_work():
    assert (
        assessment("feature", "medium", "repo").care_probability
        > assessment("feature", "medium", "file").care_probability
    )


def test_report_is_plain_json_without_nan():
    assert "NaN" not in json.dumps(to_json(evaluate(FixedAssessor(), EXAMPLES[:1], n_bootstrap=5)))


def test_table_names_every_head_and_label():
    text = render(evaluate(FixedAssessor(), EXAMPLES, n_bootstrap=5))
    assert all(name in text for name in (*HEADS, *HEADS["category"], "AUC"))


def test_command_prints_figures_of_a_bundle(capsys, tiny_bundle, labelled_file):
    assert (
        main(["evaluate", "--data", str(labelled_file), "--bundle", str(tiny_bundle), "--json", "--draws", "20"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert report["n_rows"] == 120
    assert report["heads"]["category"]["accuracy"] > 0.8


def test_command_on_an_empty_file_says_so(capsys, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert main(["evaluate", "--data", str(empty)]) == 2
    assert "no labelled turns in" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", '{"prompt": 3}'])
def test_command_locates_a_bad_row(capsys, tmp_path, content):
    path = tmp_path / "bad.jsonl"
    path.write_text(content)
    assert main(["evaluate", "--data", str(path)]) == 2
    assert "bad.jsonl:1:" in capsys.readouterr().err
