"""Gates of the contest on chosen assessments, and the verdict as files."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pointsman.classifier.aliases import AliasFolder
from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.errors import InputError
from pointsman.classifier.labels import HEADS
from pointsman.training.config import ContestConfig, ParityLimits
from pointsman.training.contest import contest, gates_of, parity_gate
from pointsman.training.contest_files import ContestFiles, contest_files
from pointsman.training.datasets import Example
from pointsman.training.paired import Side, compare
from pointsman.training.verdict import markdown, read_judgement, write_verdict

CONFIG = ContestConfig(n_draws=200)
LABELS = {"category": "docs", "risk": "low", "scope": "file", "turn": "new"}


def turns(n, *, lang="en", **labels):
    """Turns of as many groups."""
    return [Example(f"{lang}{labels}{i}", f"g{labels}{i}", lang, "do it", (), LABELS | labels, 1.0) for i in range(n)]


def side(examples, wrong=(), *, care=None, confidence=0.9):
    """A bundle that is right but on the rows of `wrong`, where the next label gets the probability."""
    probabilities = {}
    for head, labels in HEADS.items():
        rows = np.full((len(examples), len(labels)), (1 - confidence) / (len(labels) - 1))
        for row, example in enumerate(examples):
            column = labels.index(example.labels[head])
            rows[row, (column + 1) % len(labels) if row in wrong else column] = confidence
        probabilities[head] = rows
    known = np.array([float(example.needs_care) for example in examples])
    return Side(examples, probabilities, known if care is None else np.asarray(care, dtype=float))


def gate(examples, champion, challenger, name):
    found = compare(champion, challenger, CONFIG)
    (one,) = [gate for gate in gates_of("gold", found, CONFIG) if gate.name == name]
    return one


def test_label_that_loses_recall_fails_with_the_label_and_both_figures():
    examples = turns(60) + turns(60, category="tests")
    found = gate(examples, side(examples), side(examples, wrong=range(12)), "recall on gold")
    assert not found.passed
    assert "category docs 1.000 -> 0.800" in found.reason


def test_gate_says_value_limit_and_interval_of_what_came_off_worst():
    examples = turns(60) + turns(60, category="tests")
    found = gate(examples, side(examples), side(examples, wrong=range(12)), "recall on gold").measure
    assert (found.about, found.limit, found.is_most) == ("category docs", -CONFIG.max_recall_drop, False)
    assert found.value == pytest.approx(-0.2)
    assert found.interval[0] < found.value < found.interval[1] < 0


def test_drop_within_noise_passes():
    examples = turns(40)
    champion, challenger = side(examples, wrong=range(8)), side(examples, wrong=range(2, 12))
    assert gate(examples, champion, challenger, "recall on gold").passed


def test_drop_of_two_points_passes():
    examples = turns(100)
    assert gate(examples, side(examples), side(examples, wrong=range(2)), "recall on gold").passed


def test_label_of_few_rows_is_not_judged():
    examples = turns(200) + turns(5, category="tests")
    challenger = side(examples, wrong=range(200, 205))
    assert gate(examples, side(examples), challenger, "recall on gold").passed


def test_language_that_loses_fails():
    examples = turns(60) + turns(60, lang="zh", category="tests")
    found = gate(examples, side(examples), side(examples, wrong=range(60, 75)), "languages on gold")
    assert (found.passed, "zh 1.000 -> 0.750" in found.reason) == (False, True)


def test_turn_needing_care_that_is_missed_fails():
    examples = turns(80) + turns(20, category="security", risk="high")
    care = np.linspace(0, 1, 100)
    worse = care.copy()
    worse[80:86] = -1  # ranked below all that need none
    found = gate(examples, side(examples, care=care), side(examples, care=worse), "needs care, missed at 30% of gold")
    assert not found.passed
    assert "missed more often: 0.000 -> 0.300" in found.reason


def test_same_care_passes():
    examples = turns(80) + turns(20, category="security", risk="high")
    care = np.linspace(0, 1, 100)
    same = side(examples, care=care)
    assert gate(examples, same, same, "needs care, missed at 30% of gold").passed


def test_calibration_that_gets_worse_fails():
    examples = turns(200)
    wrong = range(20)
    champion, challenger = side(examples, wrong), side(examples, wrong, confidence=0.99)
    assert not gate(examples, champion, challenger, "category calibration on gold").passed


def test_set_without_turns_that_need_care_judges_nothing():
    examples = turns(30)
    found = gate(examples, side(examples), side(examples), "needs care, missed at 50% of gold")
    assert (found.passed, "nothing was judged" in found.reason) == (True, True)


def test_interval_of_a_difference_is_paired():
    """Rows that both get wrong cancel out: the interval is that of the rows they differ on."""
    examples = turns(200)
    found = compare(side(examples, wrong=range(100)), side(examples, wrong=range(102)), CONFIG)
    low, high = found.figures["category accuracy"].interval
    assert -0.03 < low <= found.figures["category accuracy"].rise <= high <= 0


def test_figures_are_cut_by_day():
    examples = turns(40)
    days = ["2026-11-21"] * 20 + ["2026-11-22"] * 20
    found = compare(side(examples), side(examples, wrong=range(20, 30)), CONFIG, days=days)
    assert [found.days[day].challenger for day in sorted(set(days))] == [1.0, 0.5]


def test_bundle_without_proof_of_parity_fails(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    unproved = replace(bundle, manifest=replace(bundle.manifest, metrics={}))
    assert parity_gate(bundle, bundle, ParityLimits()).passed
    assert "no proof of parity" in parity_gate(unproved, bundle, ParityLimits()).reason


def test_bundle_whose_int8_strays_fails(tiny_bundle):
    bundle = load_bundle(tiny_bundle)
    assert not parity_gate(bundle, bundle, ParityLimits(min_int8_agreement=1.01)).passed


@pytest.mark.parametrize(
    ("drop", "by_chance", "passes"),
    [(0.009, 0.0, True), (0.05, 0.3, True), (0.05, 0.01, False), (0.05, None, False)],
    ids=["small", "within noise", "beyond noise", "of an older bundle"],
)
def test_loss_of_int8_counts_beyond_noise(tiny_bundle, drop, by_chance, passes):
    bundle = load_bundle(tiny_bundle)
    parity = bundle.manifest.metrics["parity"] | {"fp32_to_int8_macro_f1_drop": {"risk": drop}}
    parity |= {} if by_chance is None else {"fp32_to_int8_drop_by_chance": {"risk": by_chance}}
    changed = replace(bundle, manifest=replace(bundle.manifest, metrics={"parity": parity}))
    assert parity_gate(changed, bundle, ParityLimits()).passed is passes


@pytest.fixture
def verdict(tiny_assessor):
    examples = turns(20) + turns(20, category="security", risk="high")
    config = ContestConfig(n_draws=20, max_slowdown=1e9)
    return contest(tiny_assessor, tiny_assessor, {"gold": examples}, config, recent=examples, days=["2026-11-22"] * 40)


def test_bundle_against_itself_keeps_the_champion_for_want_of_a_gain(verdict):
    assert [gate.name for gate in verdict.gates if not gate.passed] == ["gain"]
    assert not verdict.promotes


def test_contest_judges_gold_and_recent_turns(verdict):
    names = {gate.name for gate in verdict.gates}
    assert {"recall on gold", "recall on recent", "latency", "size", "parity", "promise", "gain"} <= names
    assert list(verdict.sets["recent"].days) == ["2026-11-22"]


def test_verdict_is_a_page_and_json_that_a_promotion_reads(verdict, tmp_path, tiny_bundle):
    page = write_verdict(tmp_path, verdict).read_text()
    assert page.startswith("# Keep the champion")
    assert "| gain | **failed** |" in page
    assert "## recent: 40 turns" in page
    judgement = read_judgement(tmp_path)
    assert (judgement.promotes, judgement.challenger) == (False, load_bundle(tiny_bundle).digest)
    assert markdown(verdict) == page
    assert f"1 of {len(verdict.gates)} gates failed: gain." in page
    gates = {gate["name"]: gate for gate in json.loads((tmp_path / "verdict.json").read_text())["gates"]}
    assert gates["size"]["measure"] | {"value": 1.0, "limit": 1.25, "unit": "ratio"} == gates["size"]["measure"]
    assert gates["promise"]["measure"] is None


def test_contest_of_an_alias_folder_leaves_its_verdict_there(tmp_path, tiny_bundle, labelled_file):
    folder = AliasFolder(tmp_path / "aliases")
    folder.promote(folder.add(tiny_bundle), reason="first")
    files = ContestFiles((labelled_file,), folder.path, challenger=tiny_bundle)
    verdict = contest_files(files, ContestConfig(n_draws=20))
    (kept,) = folder.verdicts()
    assert kept["reason"] == verdict.reason
    assert [gate["name"] for gate in kept["gates"]] == [gate.name for gate in verdict.gates]


@pytest.mark.parametrize(
    ("names", "told"),
    [(("a/gold.jsonl", "b/gold.jsonl"), "two gold sets named 'gold'"), (("recent.jsonl",), "the newest turns")],
    ids=["one name twice", "name of the newest turns"],
)
def test_gold_set_that_another_set_would_hide_is_refused(tmp_path, tiny_bundle, labelled_file, names, told):
    gold = tuple(tmp_path / name for name in names)
    for path in gold:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(labelled_file.read_bytes())
    with pytest.raises(InputError, match=told):
        contest_files(ContestFiles(gold, tmp_path / "aliases", tiny_bundle, tiny_bundle), ContestConfig(n_draws=20))
