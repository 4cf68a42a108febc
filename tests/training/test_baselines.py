"""Baselines: what they see, and that they are fitted on other groups than they are asked about."""

import numpy as np
import pytest

from pointsman.training import baselines
from pointsman.training.datasets import Example, read_examples


def example(prompt, category="docs", group="g"):
    return Example(
        prompt, group, "en", prompt, (), {"category": category, "risk": "low", "scope": "file", "turn": "new"}, 1
    )


@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("rotate the JWT signing secret", "security"),
        ("write a Dockerfile and a helm chart", "infrastructure"),
        ("it crashes with an exception", "debugging"),
        ("centre the button and change its colour", "ui"),
        ("hmm", "other"),
    ],
)
def test_key_words_name_the_category(prompt, category):
    assert baselines.keyword_category(prompt) == category


def test_key_words_of_stakes_rank_a_prompt_higher():
    calm, grave = baselines.by_keywords([example("rename this label"), example("delete customers in production")]).score
    assert grave > calm


def test_constant_takes_the_commonest_training_label():
    training = [example("a", "ui"), example("b", "ui"), example("c", "docs")]
    answer = baselines.constant([example("x")], training)
    assert list(answer.categories) == ["ui"]
    assert "training" in answer.note


def test_length_counts_characters():
    assert baselines.by_length([example("ab"), example("abcd")]).score.tolist() == [2, 4]


def test_learning_baseline_without_training_rows_is_listed_with_what_to_do():
    contenders, skipped = baselines.baselines([example("x")], [])
    assert [contender.name for contender in contenders] == ["constant", "length", "key words"]
    assert "--train" in skipped[0].reason


def test_tfidf_learns_from_training_rows(labelled_file):
    rows = read_examples([labelled_file])
    asked, training = [row for row in rows if row.group == "g0"], [row for row in rows if row.group != "g0"]
    answer = baselines.by_tfidf(asked, training)
    right = [guess == row.labels["category"] for guess, row in zip(answer.categories, asked, strict=True)]
    assert np.mean(right) >= 0.9


def test_tfidf_never_fits_on_measured_groups(labelled_file):
    rows = read_examples([labelled_file])
    asked = [row for row in rows if row.group == "g0"]
    assert f"on {len(rows) - len(asked)} training rows of other groups" in baselines.by_tfidf(asked, rows).note
