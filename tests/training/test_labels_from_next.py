"""Each sign of what happened next is a vote of its source alone."""

import json

import pytest

from pointsman.training.importers.run import ImportConfig, import_turns
from pointsman.training.labels_from_next import FAILED, SILENT, SOURCES, WORKED, label_turns, votes_of

QUIET = {"gap_s": 1.0, "is_repeat": False, "similarity": 0.4, "n_errors": 0}


@pytest.mark.parametrize(
    ("row", "source", "vote"),
    [
        ({"next": QUIET | {"says_wrong": True}}, "correction", FAILED),
        ({"next": QUIET | {"asks_undo": True}}, "undo", FAILED),
        ({"is_undone": True, "next": None}, "undo", FAILED),
        ({"next": QUIET | {"repeats_error": True}}, "repeated_error", FAILED),
        ({"next": QUIET | {"is_repeat": True}}, "repeated_request", FAILED),
        ({"next": QUIET | {"n_reverts": 1}}, "revert", FAILED),
        ({"models": ["claude-haiku-5"], "next": QUIET | {"model": "claude-opus-5"}}, "escalation", FAILED),
        ({"models": ["gemini-3-flash"], "next": QUIET | {"model": "gemini-3"}}, "escalation", FAILED),
        ({"tools": {"tests": "passed"}, "next": QUIET}, "tests", WORKED),
        ({"tools": {"tests": "failed"}, "next": QUIET}, "tests", FAILED),
        ({"tools": {"n_commits": 1}, "next": QUIET}, "commit_kept", WORKED),
        ({"is_interrupted": True, "next": None}, "abandoned", FAILED),
        ({"is_interrupted": True, "next": QUIET}, "interrupted", FAILED),
        ({"next": QUIET | {"approves": True}}, "approval", WORKED),
        ({"next": QUIET | {"similarity": 0.0}}, "moved_on", WORKED),
        ({"outcome": "escalated", "next": QUIET}, "feedback", FAILED),
        ({"outcome": "success", "next": QUIET}, "feedback", WORKED),
    ],
)
def test_sign_is_a_vote_of_its_source_alone(row, source, vote):
    [votes] = votes_of([row])
    assert dict(zip(SOURCES, votes.tolist(), strict=True)) == dict.fromkeys(SOURCES, SILENT) | {source: vote}


@pytest.mark.parametrize(
    "row",
    [
        {"models": ["claude-opus-5"], "next": QUIET | {"model": "claude-haiku-5"}},
        {"models": ["gemini-3-pro"], "next": QUIET | {"model": "gemini-3-pro-preview"}},
        {"tools": {"tests": None, "n_commits": 0, "n_reverts": 0}, "next": QUIET},
        {"tools": {"n_commits": 1}, "next": QUIET | {"n_reverts": 1}},
    ],
    ids=["smaller-model", "same-size", "no-tests", "commit-reverted"],
)
def test_no_sign_is_made_of_this(row):
    [votes] = votes_of([row])
    cast = dict(zip(SOURCES, votes.tolist(), strict=True))
    assert {cast["escalation"], cast["tests"], cast["commit_kept"]} == {SILENT}


def test_turn_without_a_sign_gets_no_label():
    labels, reports = label_turns([{"id": "a", "next": QUIET}, {"id": "b", "next": QUIET | {"says_wrong": True}}])
    assert [label.id for label in labels] == ["b"]
    assert {report.name: report.n_votes for report in reports}["correction"] == 1


def test_imported_session_is_labelled(tmp_path):
    said = ["Fix the clock, ValueError: late", "Still wrong, ValueError: late", "thanks, works now"]
    history = "".join(f"#### {text}\n\nDone.\n\n" for text in said)
    path = tmp_path / ".aider.chat.history.md"
    path.write_text(f"# aider chat started at 2026-01-01 10:00:00\n\n{history}")
    import_turns(ImportConfig((str(path),), tmp_path / "turns.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "turns.jsonl").read_text().splitlines()]
    labels, _ = label_turns(rows)
    assert [(label.label, label.sources) for label in labels[:1]] == [("failed", ("correction", "repeated_error"))]
    assert "approval" in labels[1].sources
