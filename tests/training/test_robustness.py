"""Changes of form: what they do to a text, what the reader takes out again, and how flips are counted."""

import random

import pytest

from pointsman.classifier.assessment import Assessment, HeadResult, Message
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.labels import HEADS
from pointsman.training import robustness as r
from pointsman.training.datasets import Example
from pointsman.training.evaluate import Draws

PROMPT = "Fix the parser in app.py. It drops the last line, doesn't it?"


def example(prompt=PROMPT, group="g", lang="en", risk="low"):
    labels = {"category": "debugging", "risk": risk, "scope": "file", "turn": "new"}
    return Example(f"{group}/{prompt}", group, lang, prompt, (Message("assistant", "Which file?"),), labels, 1.0)


def perturbed(name, prompt=PROMPT):
    perturbation = next(p for p in r.PERTURBATIONS if p.name == name)
    return r.read_text(example(), perturbation.apply(random.Random(1), prompt)).prompt


class ByWord:
    """High risk for texts that say "grave", low for the rest."""

    version = "by-word"

    def assess_texts(self, texts):
        return [self._assess("grave" in text.prompt) for text in texts]

    def _assess(self, grave):
        labels = {"category": "debugging", "risk": "high" if grave else "low", "scope": "file", "turn": "new"}
        heads = {h: HeadResult(h, tuple(float(name == labels[h]) for name in HEADS[h])) for h in HEADS}
        return Assessment(**heads, novelty=0.0, model_version=self.version)


@pytest.mark.parametrize(
    "name", [p.name for p in r.PERTURBATIONS if "own block" in p.name or "same block before" in p.name]
)
def test_reminders_that_clients_add_are_taken_out(name):
    assert perturbed(name) == PROMPT


def test_instructions_as_codex_sends_them_are_taken_out():
    assert perturbed("AGENTS.md, as Codex sends it") == PROMPT


def test_pasted_instructions_stay():
    assert perturbed("AGENTS.md, pasted in front").endswith(PROMPT)
    assert "make lint" in perturbed("AGENTS.md, pasted in front")


def test_slips_are_the_same_for_the_same_seed():
    assert r.mistype(random.Random(5), PROMPT * 9) == r.mistype(random.Random(5), PROMPT * 9)


def test_slips_hit_about_one_in_eight_longer_words():
    words = ["parser"] * 4000
    typed = r.mistype(random.Random(2), " ".join(words)).split(" ")
    assert sum(word != "parser" for word in typed) / len(words) == pytest.approx(0.12, abs=0.03)


def test_punctuation_goes_from_the_ends_of_words_only():
    assert r.strip_punctuation(PROMPT) == "Fix the parser in app.py It drops the last line doesn't it"


def test_white_space_changes_nothing_but_white_space():
    assert r.respace(random.Random(3), "a b\nc d").split() == ["a", "b", "c", "d"]


def test_sentences_become_items():
    assert r.as_list(PROMPT).count("\n- ") == 1


def test_earlier_messages_stay_with_every_change():
    assert r.read_text(example(), ["x"]).context == ("assistant: Which file?",)


def test_only_decisions_that_change_sides_count():
    rows = [example("grave one", "a", risk="high"), example("two", "b"), example("three", "c"), example("four", "d")]
    router = ByWord()
    clean = router.assess_texts([row.text for row in rows])
    changed = [router._assess(False), router._assess(True), *clean[2:]]
    change = r.Change("swap", "", rows, clean, changed, 2)
    flips = r.count_flips(change, r.median_score(clean), Draws.of(rows, 10))
    assert (flips.care_flips, flips.risk_flips, flips.category_flips) == (0.5, 0.5, 0.0)
    assert flips.downgraded == 1.0
    assert not flips.within_target


def test_bundle_keeps_its_decisions_where_the_reader_restores_the_text(tiny_assessor):
    rows = [example(f"fix the crash in parser {i}", str(i)) for i in range(6)]
    reports = {flips.name: flips for flips in r.robustness(tiny_assessor, rows, n_bootstrap=5)}
    assert len(reports) == len(r.PERTURBATIONS)
    assert reports["reminder, own block before"].n_changed == 0
    assert reports["reminder, own block before"].care_flips == 0
    assert reports["bait: urgent"].n_changed == 6


def test_pairs_tell_paraphrase_from_translation():
    rows = [
        example("grave", "p1"),
        example("serious", "p1"),
        example("calm", "p2"),
        example("ruhig", "p2", "de"),
    ]
    paraphrase, translation = r.written_pairs(ByWord(), rows, n_bootstrap=5)
    assert (paraphrase.name, paraphrase.n_rows, paraphrase.care_flips) == ("paraphrase", 1, 1.0)
    assert (translation.name, translation.n_rows, translation.care_flips) == ("translation", 1, 0.0)


def test_no_pairs_give_no_rows():
    assert r.written_pairs(ByWord(), [example("alone")], n_bootstrap=5) == []


def test_case_means_nothing_to_an_encoder_without_case():
    rows = [example(f"Fix The Crash In Parser {'and ' * n}", str(n)) for n in range(8)]
    lower = next(flips for flips in r.robustness(Assessor.load(), rows, n_bootstrap=5) if flips.name == "lower case")
    assert lower.n_changed == 8
    assert (lower.care_flips, lower.category_flips, lower.risk_flips) == (0, 0, 0)
