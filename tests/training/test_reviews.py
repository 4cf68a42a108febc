"""What people label in the console is a label, and in the next snapshot of `pointsman retrain`."""

import json

import pytest
import sqlalchemy as sa

from pointsman.classifier.commands import main
from pointsman.serving.console.reviews import save_review, undo_review
from pointsman.serving.migrations import migrate
from pointsman.serving.privacy import export_session
from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store
from pointsman.training.importers.records import settled
from pointsman.training.label_sources import gather, read_rows
from pointsman.training.snapshot import Sources, take_snapshot
from tests.serving.postgres import running_postgres

from .importers.logs import write_lines
from .importers.test_records import decided, judged, rows_from

pytestmark = pytest.mark.training

ANNA = {"category": "debugging", "risk": "high", "scope": "multi", "turn": "new"}
BORIS = ANNA | {"category": "infrastructure"}


@pytest.fixture
def store(tmp_path):
    yield from opened(f"sqlite:///{tmp_path}/records.sqlite")


def opened(url):
    store = Store(url)
    migrate(store.engine)
    yield store
    store.close()


def kept(store, prompt, n=1, **fields):
    """A decision in the store, with its text."""
    decision = decided(prompt, n, minute=n, **fields)
    store.append([decision], [])
    return decision


def url_of(store):
    return store.engine.url.render_as_string(hide_password=False)


def snapshot_of(folder, store):
    snapshot = take_snapshot(folder / "s", Sources(records=(url_of(store),), recent_share=0.0))
    return [json.loads(line) for line in snapshot.train.read_text().splitlines()], snapshot.summary["counts"]


def labelled(folder, store):
    """What `pointsman labels` writes of a store."""
    output = folder / "labelled.jsonl"
    assert main(["labels", url_of(store), "--output", str(output)]) == 0
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_reviewed_turn_is_in_the_snapshot_of_the_next_retraining(tmp_path, store, labelled_file, tiny_bundle):
    save_review(store, kept(store, "Light the lamp").decision_id, "anna", ANNA)
    folders = ["--work", str(tmp_path / "work"), "--aliases", str(tmp_path / "aliases")]
    given = ["--data", str(labelled_file), "--records", url_of(store), "--recent-share", "0"]
    assert main(["retrain", *given, *folders, "--champion", str(tiny_bundle), "--no-track"]) in (0, 3)
    [snapshot] = (tmp_path / "work" / "snapshots").iterdir()
    rows = [json.loads(line) for line in (snapshot / "train.jsonl").read_text().splitlines()]
    [reviewed] = [row for row in rows if row["prompt"] == "Light the lamp"]
    assert {head: reviewed[head] for head in ANNA} == ANNA
    assert reviewed["labels"]["risk"]["sources"] == ["person:anna"]


def test_labels_of_a_store_are_those_of_its_reviewers(tmp_path, store, capsys):
    save_review(store, kept(store, "Light the lamp").decision_id, "anna", ANNA)
    kept(store, "Nobody looked at this", 2)
    [row] = labelled(tmp_path, store)
    assert {head: row[head] for head in ANNA} == ANNA
    assert "person:anna" in capsys.readouterr().out


@pytest.mark.postgres
def test_reviews_in_postgresql_are_labels_as_well(tmp_path):
    with running_postgres() as url:
        for store in opened(load_settings(database_url=url).database_url):
            save_review(store, kept(store, "Light the lamp").decision_id, "anna", ANNA)
            assert labelled(tmp_path, store)[0]["risk"] == "high"
            assert [row["risk"] for row in snapshot_of(tmp_path, store)[0]] == ["high"]


def test_two_reviewers_who_agree_are_surer_than_one(tmp_path, store):
    one, two = kept(store, "Light the lamp"), kept(store, "Dim the lamp", 2)
    save_review(store, one.decision_id, "anna", ANNA)
    for reviewer in ("anna", "boris"):
        save_review(store, two.decision_id, reviewer, ANNA)
    rows, counts = snapshot_of(tmp_path, store)
    certainty = {row["prompt"]: row["labels"]["category"]["certainty"] for row in rows}
    assert certainty["Dim the lamp"] > certainty["Light the lamp"] > 0.8
    assert counts["taken from records, labelled by several people"] == 1


def test_head_that_two_reviewers_differ_on_is_hardly_trusted(tmp_path, store):
    decision = kept(store, "Light the lamp")
    save_review(store, decision.decision_id, "anna", ANNA)
    save_review(store, decision.decision_id, "boris", BORIS)
    [row], _ = snapshot_of(tmp_path, store)
    assert row["labels"]["category"]["certainty"] < 0.6
    assert row["labels"]["risk"]["certainty"] > 0.95


def test_agreement_of_reviewers_is_told(tmp_path, store, capsys):
    for n, second in enumerate([ANNA, ANNA, ANNA, BORIS], 1):
        decision = kept(store, f"Light lamp {n}", n)
        save_review(store, decision.decision_id, "anna", ANNA)
        save_review(store, decision.decision_id, "boris", second)
    people = gather(read_rows([url_of(store)])).summary.heads["category"].people
    assert (people.n_turns, people.n_pairs, people.share) == (4, 4, 0.75)
    # Seven of eight labels are alike, so 50/64 of pairs would be alike by chance: worse than that.
    assert people.beyond_chance == pytest.approx((0.75 - 50 / 64) / (1 - 50 / 64))
    labelled(tmp_path, store)
    assert "people agree on 75% of 4 turns that several labelled" in capsys.readouterr().out


def test_skipped_and_undone_reviews_are_no_labels(tmp_path, store):
    first, second = kept(store, "Light the lamp"), kept(store, "Dim the lamp", 2)
    save_review(store, first.decision_id, "anna", {})
    save_review(store, second.decision_id, "anna", ANNA)
    assert undo_review(store, "anna") == second.decision_id
    assert labelled(tmp_path, store) == []


def test_import_reads_a_store_again_after_a_review(tmp_path, store):
    decision = kept(store, "Light the lamp")
    assert "category" not in rows_from(tmp_path, url_of(store))[0]
    save_review(store, decision.decision_id, "anna", ANNA)
    [row] = rows_from(tmp_path, url_of(store))
    assert row["votes"] == [{"source": "person:anna", **ANNA}]
    save_review(store, decision.decision_id, "anna", BORIS)
    assert rows_from(tmp_path, url_of(store))[0]["category"] == "infrastructure"


def test_store_that_knows_no_reviews_yet_is_read(tmp_path, store):
    decision = kept(store, "Light the lamp")
    store.append([], [judged(decision, labels=ANNA)])
    with store.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE reviews"))
    [row] = rows_from(tmp_path, url_of(store))
    assert row["votes"] == [{"source": "feedback", **ANNA}]


def test_exported_session_keeps_its_reviews(tmp_path, store):
    save_review(store, kept(store, "Light the lamp").decision_id, "anna", ANNA)
    lines = write_lines(tmp_path / "session.jsonl", export_session(store, "s1", actor="anna"))
    [row] = rows_from(tmp_path, lines)
    assert row["votes"] == [{"source": "person:anna", **ANNA}]


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ([("anna", "low"), ("boris", "high"), ("cem", "low")], "low"),
        ([("anna", "low"), ("boris", "high")], "high"),
        ([("anna", "low"), ("boris", "high"), ("anna", "medium")], "medium"),
    ],
    ids=["most", "newest of equals", "her last word"],
)
def test_row_is_labelled_as_most_people_said(said, label):
    assert settled([{"source": f"person:{by}", "risk": risk} for by, risk in said]) == {"risk": label}
