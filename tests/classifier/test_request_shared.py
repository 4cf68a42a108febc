"""The same reading on requests recorded from real clients, where those lie beside the repository."""

import json
from pathlib import Path

import pytest

from pointsman.classifier.request import read_request

FOLDER = Path(__file__).parents[3] / "shared" / "fixtures"

# name, kind, background
RECORDED = [
    ("cc_compact", "background", "summary"),
    ("cc_continue_at_file", "task", None),
    ("cc_count_tokens", "background", "count_tokens"),
    ("cc_interactive_main", "task", None),
    ("cc_main_first", "task", None),
    ("cc_review_fork", "task", None),
    ("cc_slash_command", "task", None),
    ("cc_sonnet45_legacy_layout", "task", None),
    ("cc_subagent", "subagent", None),
    ("cc_task_notification", "tool_loop", None),
    ("cc_title", "background", "title"),
    ("cc_toolresult", "tool_loop", None),
    ("cc_unknown_model", "task", None),
    ("codex_first", "task", None),
    ("codex_toolresult", "tool_loop", None),
    ("opencode_main", "task", None),
    ("opencode_title", "background", "title"),
    ("opencode_toolresult", "tool_loop", None),
]
SAME_TURN = [
    ("cc_toolresult", "cc_task_notification"),
    ("codex_first", "codex_toolresult"),
    ("opencode_main", "opencode_toolresult"),
]

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no recorded requests beside the repository")


def read(name):
    sent = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return read_request(json.dumps(sent["body"]).encode(), sent["headers"], path=sent["path"])


@pytest.mark.parametrize(("name", "kind", "background"), RECORDED, ids=[row[0] for row in RECORDED])
def test_recorded_request(name, kind, background):
    turn = read(name)
    assert (turn.kind, turn.background, turn.reason) == (kind, background, None)
    assert bool(turn.prompt) == (background is None)
    assert not turn.prompt.startswith(("<", '"'))
    assert turn.session_id


@pytest.mark.parametrize(("one", "other"), SAME_TURN)
def test_recorded_requests_of_one_turn_share_its_key(one, other):
    assert read(one).key == read(other).key
