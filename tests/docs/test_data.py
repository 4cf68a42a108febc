"""The turns in `data/` are what the datasheet says: well formed, each its own, written and not generated."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import pytest

from pointsman.classifier.labels import HEADS
from pointsman.training.datasets import read_examples, read_readings

DATA = Path(__file__).parents[2] / "data"
FILES = sorted([*DATA.glob("turns/*.jsonl"), *DATA.glob("held_out/*.jsonl"), *DATA.glob("*.jsonl")])
TABLES = sorted([*DATA.glob("lexicon/*.tsv"), *DATA.glob("readings/*.tsv")])
ATTACKS = sorted(DATA.glob("attacks/*.jsonl"))
FIELDS = ["id", "group", "source", "license", "lang", "context", "prompt", *HEADS]

#: Share of distinct word trigrams among the first 20 words of the prompts, in the real labelled turns
#: (4,787 rows, 2026-11-22): 0.87. Text from templates falls far below it.
REAL_TRIGRAM_DIVERSITY = 0.87
#: Share of the commonest two-word opening there: 0.017.
REAL_OPENING_SHARE = 0.017


def lines_of(file):
    # Not splitlines: prompts may hold U+2028 and its like.
    return [line for line in file.read_text(encoding="utf-8").split("\n") if line]


def words(text):
    return re.findall(r"\w+", text.lower())


def shingles(text, n=4):
    tokens = words(text)
    return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}


@pytest.fixture(scope="module")
def rows():
    return [json.loads(line) for file in FILES for line in lines_of(file)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(DATA)))
def test_file_reads_as_labelled_turns(file):
    assert read_examples([file])


def test_rows_have_the_fields_and_nothing_else(rows):
    assert [row["id"] for row in rows if list(row) != FIELDS] == []


def test_ids_are_unique(rows):
    assert [name for name, n in Counter(row["id"] for row in rows).items() if n > 1] == []


def test_context_is_at_most_four_cut_messages(rows):
    wrong = [
        row["id"]
        for row in rows
        if len(row["context"]) > 4
        or any(m["role"] not in {"user", "assistant"} or len(m["text"]) > 600 for m in row["context"])
    ]
    assert wrong == []


def test_no_two_prompts_are_nearly_the_same(rows):
    sets = {row["id"]: shingles(row["prompt"]) for row in rows}
    holders = defaultdict(list)
    for name, own in sets.items():
        for shingle in own:
            holders[shingle].append(name)
    shared = Counter(pair for names in holders.values() if len(names) < 50 for pair in combinations(names, 2))
    near = [pair for pair, n in shared.items() if n >= 3 and n / len(sets[pair[0]] | sets[pair[1]]) > 0.4]
    assert near == []


def test_prompts_are_as_diverse_as_real_ones(rows):
    trigrams = [gram for row in rows for gram in _trigrams(words(row["prompt"])[:20])]
    assert len(set(trigrams)) / len(trigrams) >= REAL_TRIGRAM_DIVERSITY


def test_openings_repeat_no_more_than_real_ones(rows):
    openings = Counter(" ".join(words(row["prompt"])[:2]) for row in rows)
    assert openings.most_common(1)[0][1] / len(rows) <= REAL_OPENING_SHARE


def _trigrams(tokens):
    return list(zip(tokens, tokens[1:], tokens[2:], strict=False))


def test_checksums_are_current():
    listed = dict(reversed(line.split("  ")) for line in (DATA / "SHA256SUMS").read_text().splitlines())
    found = {
        str(file.relative_to(DATA)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in [*FILES, *TABLES, *ATTACKS]
    }
    assert listed == found, "run: cd data && sha256sum */*.jsonl *.jsonl */*.tsv > SHA256SUMS"


def test_datasheet_counts_are_current(rows):
    sheet = (DATA / "README.md").read_text(encoding="utf-8")
    for file in [*FILES, *ATTACKS]:
        n_rows = len(lines_of(file))
        assert re.search(rf"`{re.escape(str(file.relative_to(DATA)))}` \| {n_rows:,} \|", sheet), file.name


def test_paraphrases_come_in_pairs_with_the_same_labels():
    pairs = defaultdict(list)
    for line in lines_of(DATA / "paraphrases.jsonl"):
        row = json.loads(line)
        pairs[row["group"]].append([row[head] for head in HEADS])
    assert len(pairs) >= 120
    assert [group for group, labels in pairs.items() if len(labels) != 2 or labels[0] != labels[1]] == []


def groups_of(pattern):
    return {json.loads(line)["group"] for file in DATA.glob(pattern) for line in lines_of(file)}


@pytest.mark.parametrize("measuring", ["held_out/*.jsonl", "paraphrases.jsonl", "stakes.jsonl"])
def test_what_is_for_measuring_shares_no_group_with_training_turns(measuring):
    assert groups_of(measuring)
    assert groups_of(measuring).isdisjoint(groups_of("turns/*.jsonl"))


@pytest.mark.parametrize("file", sorted(DATA.glob("lexicon/*.tsv")), ids=lambda file: file.stem)
def test_lexicon_has_a_term_and_a_plain_gloss_on_each_line(file):
    entries = [line.split("\t") for line in lines_of(file)]
    wrong = [entry for entry in entries if len(entry) != 2 or not re.fullmatch(r"[a-z0-9' .,-]+", entry[1])]
    assert wrong == []
    assert [term for term, n in Counter(entry[0] for entry in entries).items() if n > 1] == []


@pytest.mark.parametrize("file", sorted(DATA.glob("lexicon/*.tsv")), ids=lambda file: file.stem)
def test_lexicon_counts_of_the_datasheet_are_current(file):
    sheet = (DATA / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"\b{file.stem} {len(lines_of(file)):,}\b", sheet)


@pytest.mark.parametrize("file", sorted(DATA.glob("readings/*.tsv")), ids=lambda file: file.stem)
def test_readings_have_labels_of_the_guide(file):
    readings = read_readings([file])
    assert [name for name, row in readings.items() for head in HEADS if row[head] not in HEADS[head]] == []
    assert f"{len(readings):,} real turns" in (DATA / "README.md").read_text(encoding="utf-8")
