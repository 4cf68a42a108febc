"""The report compares files, stores and days, and says what moved."""

import json
from datetime import date, timedelta

import numpy as np
import pytest

from pointsman.classifier.commands import main
from pointsman.serving.migrations import migrate
from pointsman.serving.store import Store
from pointsman.training.drift_report import drift_report, embedding_shift, read_turns, report_markdown
from tests.serving.rows import decision_row, feedback_row

EARLY, LATE = "fix the crash in the parser {}", "переименуй таблицу users в accounts, строка {}"


def rows(n_days, prompt, *, first="2026-11-01", n_each=30, **fields):
    start = date.fromisoformat(first)
    for day in range(n_days):
        for i in range(n_each):
            at = f"{start + timedelta(days=day)}T10:00:{i:02}Z"
            yield {
                "id": f"{prompt[:3]}{day}-{i}",
                "session": f"{day}-{i}",
                "at": at,
                "prompt": prompt.format(i),
                **fields,
            }


def written(path, *parts):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for part in parts for row in part))
    return str(path)


@pytest.fixture
def turns(tmp_path):
    """Ten days in English, then three in Russian."""
    late = rows(3, LATE, first="2026-11-11", category="migration", risk="high", scope="repo", turn="new")
    early = rows(10, EARLY, category="debugging", risk="medium", scope="file", turn="new")
    return written(tmp_path / "turns.jsonl", early, late)


def test_turns_of_one_id_in_two_files_keep_outcomes_of_their_own(tmp_path):
    following = {"gap_s": 1.0, "is_repeat": False, "similarity": 0.4, "n_errors": 0}
    said = [following | {"approves": True}, following | {"says_wrong": True, "is_repeat": True, "similarity": 1.0}]
    files = [
        written(tmp_path / f"{n}.jsonl", [{"id": "1", "session": f"s{n}", "prompt": f"do {n}", "next": found}])
        for n, found in enumerate(said)
    ]
    assert [turn.signals.bins["failure"] for turn in read_turns(files)] == ["worked", "failed"]


def levels(report):
    return {found.signal: found.level for found in report.signals}


def test_change_of_language_and_work_is_seen(turns):
    report = drift_report(read_turns([turns]), recent_days=3)
    assert (report.n_reference, report.n_recent) == (300, 90)
    assert {"script", "category", "risk", "scope"} <= set(report.alerts)
    assert levels(report)["turn"] == "ok"


def test_days_that_are_alike_raise_no_alert(tmp_path):
    report = drift_report(read_turns([written(tmp_path / "t.jsonl", rows(13, EARLY))]), recent_days=3)
    assert report.alerts == []


def test_reference_takes_the_place_of_the_days_before(turns, tmp_path):
    other = written(tmp_path / "trained.jsonl", rows(4, LATE))
    report = drift_report(read_turns([turns]), read_turns([other]))
    assert (report.n_reference, report.n_recent) == (120, 390)
    assert levels(report)["script"] == "alert"


def test_failures_are_read_from_what_came_next(tmp_path):
    good = {"gap_s": 1.0, "similarity": 0.4, "n_errors": 0, "approves": True}
    bad = good | {"approves": False, "says_wrong": True, "asks_undo": True}
    path = written(tmp_path / "t.jsonl", rows(10, EARLY, next=good), rows(3, LATE, first="2026-11-11", next=bad))
    assert levels(drift_report(read_turns([path]), recent_days=3))["failure"] == "alert"


def test_bundle_adds_novelty_and_embedding(turns, tiny_assessor):
    report = drift_report(read_turns([turns], tiny_assessor), recent_days=3)
    assert levels(report)["embedding"] == "alert"
    assert "novelty" in levels(report)


def test_embeddings_of_one_population_do_not_shift():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(400, 32))
    assert embedding_shift(points[:200], points[200:]) < 0.01
    assert embedding_shift(points[:200], points[200:] + 0.5) == pytest.approx(0.25, abs=0.04)


def test_store_without_text_is_enough(tmp_path):
    url = f"sqlite:///{tmp_path / 'records.sqlite'}"
    store = Store(url)
    migrate(store.engine)
    for day in range(1, 9):
        made = [
            decision_row(
                created_at=f"2026-11-{day:02}T10:00:{i:02}.000000Z",
                turn_key=f"{day}-{i}",
                session_id=f"{day}-{i}",
                n_chars=20 if day < 7 else 5_000,
            )
            for i in range(30)
        ]
        store.append(made, [feedback_row(made[0].decision_id, outcome="failure")])
    store.close()
    report = drift_report(read_turns([url]), recent_days=2)
    found = levels(report)
    assert (report.n_reference, report.n_recent) == (180, 60)
    assert (found["length"], found["category"], found["novelty"], found["failure"]) == ("alert", "ok", "ok", "too_few")


def test_report_says_what_moved_and_when(turns):
    text = report_markdown(drift_report(read_turns([turns]), recent_days=3))
    assert "**Alerts: script, category, risk, scope.**" in text
    assert "| script | " in text
    assert "latin 100% → 0%" in text
    assert "| 2026-11-13 | 30 |" in text
    assert "In brackets: too few turns" in text


def test_command_writes_both_forms_and_fails_on_alert(turns, tmp_path):
    markdown, figures = tmp_path / "out" / "drift.md", tmp_path / "drift.json"
    command = ["drift", turns, "--recent-days", "3", "--output", str(markdown), "--json", str(figures)]
    assert main(command) == 0
    assert main([*command, "--fail"]) == 1
    assert markdown.read_text().startswith("# Drift")
    assert "script" in json.loads(figures.read_text())["alerts"]
    assert main([*command, "--fail", "--alert", "99"]) == 0


def test_missing_file_is_said(tmp_path, capsys):
    assert main(["drift", str(tmp_path / "no.jsonl")]) == 2
    assert "no such file; expected turns" in capsys.readouterr().err
