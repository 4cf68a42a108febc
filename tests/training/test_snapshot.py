"""What a retraining learns from: gathered, told apart, frozen under a digest."""

import json

import pytest

from pointsman.classifier.errors import InputError
from pointsman.classifier.records import DecisionRecord, FeedbackRecord
from pointsman.training.datasets import read_examples
from pointsman.training.snapshot import Sources, set_apart, take_snapshot
from tests.fakes import asked, assessed

LABELS = {"category": "docs", "risk": "low", "scope": "file", "turn": "new"}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(number, **values):
    return {"id": f"r{number}", "group": f"g{number}", "prompt": f"prompt {number}"} | LABELS | values


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_same_rows_have_the_same_digest_wherever_they_stand(tmp_path):
    one, other = write(tmp_path / "a.jsonl", row(1), row(2)), write(tmp_path / "b.jsonl", row(1), row(2))
    first, second = (take_snapshot(tmp_path / "s", Sources(data=(path,))) for path in (one, other))
    assert (first.digest, first.folder) == (second.digest, second.folder)
    assert take_snapshot(tmp_path / "s", Sources(data=(write(one, row(1)),))).digest != first.digest


def test_later_source_wins_for_the_same_text_of_a_group(tmp_path):
    old, new = write(tmp_path / "a.jsonl", row(1)), write(tmp_path / "b.jsonl", row(1, id="x", risk="high"))
    (kept,) = rows_of(take_snapshot(tmp_path / "s", Sources(data=(old, new))).train)
    assert kept["risk"] == "high"


def test_rows_like_the_traffic_to_come_are_known_by_their_file(tmp_path):
    live, written = write(tmp_path / "a.jsonl", row(1), row(2)), write(tmp_path / "b.jsonl", row(3))
    snapshot = take_snapshot(tmp_path / "s", Sources(data=(live, written), traffic=(live,)))
    assert snapshot.traffic() == {"r1", "r2"}
    assert take_snapshot(tmp_path / "s", Sources(data=(live, written))).digest != snapshot.digest


def test_correction_of_a_row_like_the_traffic_is_like_it_too(tmp_path):
    live, newer = write(tmp_path / "a.jsonl", row(1)), write(tmp_path / "b.jsonl", row(1, id="x", risk="high"))
    snapshot = take_snapshot(tmp_path / "s", Sources(data=(live, newer), traffic=(live,)))
    assert snapshot.traffic() == {"x"}


def test_traffic_that_is_no_file_of_the_data_is_refused(tmp_path):
    data, other = write(tmp_path / "a.jsonl", row(1)), write(tmp_path / "b.jsonl", row(2))
    with pytest.raises(InputError, match=r"b\.jsonl: named with --traffic alone; expected a file of --data"):
        take_snapshot(tmp_path / "s", Sources(data=(data,), traffic=(other,)))


def test_certainty_of_combined_labels_reaches_training(tmp_path):
    sure = {head: {"label": label, "certainty": 0.6, "sources": ["llm:m"]} for head, label in LABELS.items()}
    data = write(tmp_path / "a.jsonl", row(1, labels=sure))
    [example] = read_examples([take_snapshot(tmp_path / "s", Sources(data=(data,))).train])
    assert example.certainty == pytest.approx(0.6)


def test_same_words_of_another_group_are_another_row(tmp_path):
    data = write(tmp_path / "a.jsonl", row(1, prompt="continue"), row(2, prompt="continue"))
    assert len(rows_of(take_snapshot(tmp_path / "s", Sources(data=(data,))).train)) == 2


def test_imported_turns_without_a_label_or_reading_are_left_out_and_counted(tmp_path):
    bare = {"id": "b", "group": "g", "prompt": "label me"}
    data = write(tmp_path / "a.jsonl", row(1), bare, {"id": "c", "group": "g", "prompt": "nobody does"}, LABELS)
    readings = tmp_path / "r.tsv"
    readings.write_text("id\tcategory\trisk\tscope\tturn\nb\tui\tlow\tfile\tnew\n")
    snapshot = take_snapshot(tmp_path / "s", Sources(data=(data,), readings=(readings,)))
    assert [kept["category"] for kept in rows_of(snapshot.train)] == ["docs", "ui"]
    assert snapshot.summary["counts"]["without labels, left out: a.jsonl"] == 1
    assert snapshot.summary["counts"]["without text, left out: a.jsonl"] == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [("{", "a.jsonl:2: no JSON object"), ("[1]", "a.jsonl:2: no JSON object")],
    ids=["broken", "no object"],
)
def test_broken_line_is_located(tmp_path, line, words):
    data = write(tmp_path / "a.jsonl", row(1))
    data.write_text(data.read_text() + line + "\n")
    with pytest.raises(InputError, match=words):
        take_snapshot(tmp_path / "s", Sources(data=(data,)))


@pytest.mark.parametrize("context", [["x"], "x", {"role": "user"}], ids=["text", "no list", "message"])
def test_context_of_another_form_is_located(tmp_path, context):
    data = write(tmp_path / "a.jsonl", row(1), row(2, context=context))
    with pytest.raises(InputError, match=r"a\.jsonl:2: context: expected a list"):
        take_snapshot(tmp_path / "s", Sources(data=(data,)))


def test_half_a_character_costs_no_row(tmp_path):
    data = write(tmp_path / "a.jsonl", row(1, prompt="mend \ud83d please"))
    (kept,) = rows_of(take_snapshot(tmp_path / "s", Sources(data=(data,))).train)
    assert kept["prompt"] == "mend \N{REPLACEMENT CHARACTER} please"


def test_nothing_labelled_is_refused(tmp_path):
    data = write(tmp_path / "a.jsonl", {"id": "a", "prompt": "bare"})
    with pytest.raises(InputError, match=r"no labelled turn in a\.jsonl; expected rows with category"):
        take_snapshot(tmp_path / "s", Sources(data=(data,)))


def test_newest_share_is_set_apart_with_whole_sessions():
    rows = [{"id": str(n), "at": f"2026-11-{n:02}", "session": f"s{n // 3}"} for n in range(1, 11)]
    train, recent = set_apart([*rows, {"id": "undated"}], 0.2)
    # The two newest lie in session s3, whose first row is older.
    assert [kept["id"] for kept in recent] == ["9", "10"]
    assert [kept["id"] for kept in train] == [*map(str, range(1, 9)), "undated"]
    train, recent = set_apart(rows, 0.1)
    assert [kept["id"] for kept in recent] == ["9", "10"]


def test_only_few_snapshots_stay(tmp_path):
    for number in range(6):
        take_snapshot(tmp_path / "s", Sources(data=(write(tmp_path / "a.jsonl", row(number)),)))
    assert len(list((tmp_path / "s").iterdir())) == 3


def recorded(prompt, session, **labels):
    """A decision with its text, and feedback that corrects some labels."""
    turn = asked(prompt, session=session)
    decision = DecisionRecord(
        decision_id=f"d-{session}",
        created_at="2026-11-22T10:00:00.000000Z",
        kind=turn.kind,
        model="m",
        provider="p",
        fallbacks=(),
        reasons=(),
        sticky=False,
        context_tokens=10,
        model_version="tiny-1",
        policy_version="balanced",
        assessment=assessed(),
        session_id=session,
        turn_key=turn.key,
        request_key=turn.request_key,
        state_key=turn.state_key,
        next_state_key=turn.next_state_key,
    ).with_text(turn)
    feedback = FeedbackRecord(
        feedback_id=f"f-{session}",
        decision_id=decision.decision_id,
        created_at="2026-11-22T10:01:00.000000Z",
        outcome="corrected",
        labels=labels,
    )
    return [decision.to_json(), feedback.to_json()]


@pytest.mark.training
def test_corrected_labels_of_the_service_are_learned_from(tmp_path):
    pytest.importorskip("detect_secrets", reason="masking needs the training extra")
    full = {"category": "ui", "risk": "high", "scope": "file", "turn": "new"}
    records = write(
        tmp_path / "records.jsonl",
        *recorded("move the button", "a", **full),
        *recorded("mail me at somebody@example.com", "b", risk="high"),
        *recorded("nobody judged this one's labels", "c"),
    )
    snapshot = take_snapshot(tmp_path / "s", Sources(records=(str(records),), recent_share=0.0))
    kept = {found["prompt"]: found for found in rows_of(snapshot.train)}
    assert {head: kept["move the button"][head] for head in full} == full
    partly = kept["mail me at <email>"]
    # What the person did not judge is the model's own, and trusted less.
    assert (partly["risk"], partly["category"]) == ("high", "feature")
    assert partly["labels"]["category"] == {"label": "feature", "certainty": 0.85, "sources": ["model"]}
    assert snapshot.summary["counts"]["records without a person's label, left out"] == 1
