"""Heads of training rows that lack labels."""

from dataclasses import replace

import numpy as np
import pytest

from pointsman.classifier.labels import HEADS
from pointsman.training.config import HeadsConfig
from pointsman.training.datasets import Example
from pointsman.training.heads import fit_heads, label_ids


def rows_of(risks):
    """Turns with these labels of risk, and embeddings that tell them apart; of the other heads three labels each."""
    rng = np.random.default_rng(0)
    examples = [
        Example(str(i), f"g{i}", "en", "do it", (), {head: labels[i % 3] for head, labels in HEADS.items()}, 1.0)
        for i in range(len(risks))
    ]
    examples = [replace(one, labels=one.labels | {"risk": risk}) for one, risk in zip(examples, risks, strict=True)]
    places = 3.0 * np.eye(3)[label_ids(examples, "risk")] + rng.normal(size=(len(risks), 3))
    return places.astype(np.float32), examples


def fitted(embedding, examples):
    return fit_heads(embedding, examples, HeadsConfig(inverse_regularisation=(1.0,)), validation=(embedding, examples))


@pytest.mark.parametrize("risks", [("low", "high"), ("low", "medium"), ("low", "medium", "high")], ids="-".join)
def test_head_tells_the_labels_of_its_rows_apart(risks):
    embedding, examples = rows_of(risks * 20)
    found = fitted(embedding, examples)["risk"].logits(embedding).argmax(axis=1)
    assert np.mean(found == label_ids(examples, "risk")) > 0.85


def test_head_of_two_labels_is_as_sure_as_what_was_fitted():
    embedding, examples = rows_of(("low", "high") * 20)
    head = fitted(embedding, examples)["risk"]
    logits = head.logits(embedding)[:, [HEADS["risk"].index("low"), HEADS["risk"].index("high")]]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert shares == pytest.approx(head.estimator.predict_proba(embedding), abs=1e-6)


@pytest.mark.parametrize("risks", [("medium",), ("low", "high")], ids="-".join)
def test_label_that_no_row_has_stays_improbable(risks):
    embedding, examples = rows_of(risks * 20)
    logits = fitted(embedding, examples)["risk"].logits(embedding)
    present = np.isin(HEADS["risk"], risks)
    assert (logits[:, ~present].max(axis=1) < logits[:, present].max(axis=1) - 2).all()
