"""Each client's log gives the person's prompts, their context, and what the agent did."""

import csv
import json

import pytest

from pointsman.training.importers.protocol import Location, Problems
from pointsman.training.importers.run import IMPORTERS

from . import logs


class Plain:
    """Masks nothing, so that a test sees what the reader read."""

    def clean(self, text):
        return text

    def learn_path(self, path):
        pass


def read(kind, path):
    problems = Problems()
    return list(IMPORTERS[kind].turns(Location(str(path)), Plain(), problems)), problems


def claude(tmp_path, log):
    return read("claude-code", log.write(tmp_path))[0]


def prompts(turns):
    return [turn.prompt for turn in turns]


def test_claude_prompts_are_a_persons(tmp_path):
    turns = claude(tmp_path, logs.claude_session())
    assert [text.split()[0] for text in prompts(turns)] == ["The", "Still", "thanks,"]
    assert [turn.position for turn in turns] == [0, 1, 2]


def test_claude_context_is_what_was_said_before(tmp_path):
    last = claude(tmp_path, logs.claude_session())[-1]
    assert [(m.role, m.text[:9]) for m in last.context] == [
        ("user", "The baske"),
        ("assistant", "I clamped"),
        ("user", "Still wro"),
        ("assistant", "Fixed the"),
    ]


def test_claude_tools_are_counted(tmp_path):
    turns = claude(tmp_path, logs.claude_session())
    assert [(turn.n_tool_calls, turn.n_tool_errors) for turn in turns] == [(1, 0), (1, 1), (0, 0)]


def test_claude_usage_is_counted_once_per_message(tmp_path):
    log = logs.ClaudeLog().prompt("Sweep the yard")
    log.answer("One", message_id="msg_x", output_tokens=40).answer("Two", message_id="msg_x", output_tokens=40)
    [turn] = claude(tmp_path, log)
    assert (turn.usage.n_messages, turn.usage.output_tokens, turn.usage.cache_read_tokens) == (1, 40, 100)


def test_claude_reminders_and_meta_rows_are_no_prompts(tmp_path):
    log = logs.ClaudeLog().prompt("<system-reminder>be brief</system-reminder>").prompt("Caveat", isMeta=True)
    assert prompts(claude(tmp_path, log.prompt("Mend the fence"))) == ["Mend the fence"]


def test_claude_legacy_rows_are_read(tmp_path):
    log = logs.ClaudeLog()
    blocks = [
        {"type": "text", "text": "<system-reminder>git status</system-reminder>"},
        {"type": "text", "text": "Mend it"},
    ]
    log.rows.append({"type": "summary", "summary": "Fences", "leafUuid": "x"})
    assert prompts(claude(tmp_path, log.add("user", {"role": "user", "content": blocks}))) == ["Mend it"]


def test_claude_local_command_is_no_prompt(tmp_path):
    log = logs.ClaudeLog().prompt("<local-command-caveat>Caveat: local</local-command-caveat>", isMeta=True)
    log.prompt("<command-name>/model</command-name>\n<command-args></command-args>")
    log.prompt("<local-command-stdout>Set model</local-command-stdout>").prompt("Mend the gate")
    assert prompts(claude(tmp_path, log)) == ["Mend the gate"]


def test_claude_expanded_command_is_one_prompt(tmp_path):
    log = logs.ClaudeLog().prompt("<command-name>/fixbug</command-name>\n<command-args>123</command-args>")
    log.add(
        "user", {"role": "user", "content": [{"type": "text", "text": "Fix bug 123 as the tracker says"}]}, isMeta=True
    )
    assert prompts(claude(tmp_path, log.answer("ok"))) == ["/fixbug 123\nFix bug 123 as the tracker says"]


def test_claude_summary_of_a_compaction_is_context(tmp_path):
    log = logs.ClaudeLog().prompt(
        "This session is being continued from a previous conversation. Fences.", isCompactSummary=True
    )
    [turn] = claude(tmp_path, log.answer("Going on.").prompt("Now paint it"))
    assert [message.role for message in turn.context] == ["user", "assistant"]


def test_claude_interruption_is_seen(tmp_path):
    log = logs.ClaudeLog().prompt("Paint it red").tool()
    log.add("user", {"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]})
    first, second = claude(tmp_path, log.prompt("Blue instead"))
    assert (first.is_interrupted, second.is_interrupted) == (True, False)


def test_claude_rewind_takes_the_work_back(tmp_path):
    log = logs.ClaudeLog().prompt("Dig a well").answer("Dug.")
    before = log.parent
    log.prompt("Fill it with sand").answer("Filled.").prompt("Add a bucket", parent=before)
    turns = claude(tmp_path, log)
    assert [turn.is_undone for turn in turns] == [False, True, False]
    assert "sand" not in " ".join(message.text for message in turns[2].context)


def test_claude_sidechain_is_a_subagents(tmp_path):
    log = logs.ClaudeLog().prompt("Find the key")
    log.prompt("Search every drawer", isSidechain=True, agentId="a1").answer("Nothing", isSidechain=True, agentId="a1")
    turns = claude(tmp_path, log)
    assert sorted((str(turn.kind), turn.prompt) for turn in turns) == [
        ("subagent", "Search every drawer"),
        ("task", "Find the key"),
    ]


def test_codex_prompts_stand_without_what_the_client_sent(tmp_path):
    turns, _ = read("codex", logs.write_lines(tmp_path / "rollout-1.jsonl", logs.codex_rollout()))
    assert prompts(turns) == ["Make the tuner remember its last station", "Now the volume, too"]
    assert turns[0].session == logs.CODEX_ID


def test_codex_work_is_counted_once(tmp_path):
    first, second = read("codex", logs.write_lines(tmp_path / "r.jsonl", logs.codex_rollout()))[0]
    assert (first.n_tool_calls, first.n_tool_errors, first.models) == (1, 1, ["gpt-5.3-codex"])
    assert (first.usage.input_tokens, first.usage.cache_read_tokens, first.usage.n_messages) == (100, 400, 1)
    assert second.is_interrupted


def test_codex_events_are_read_where_no_messages_are(tmp_path):
    rows = [
        logs.codex_line("session_meta", {"id": "s"}),
        logs.codex_line("event_msg", {"type": "user_message", "message": "Tune it"}),
        logs.codex_line("event_msg", {"type": "agent_message", "message": "Tuned."}),
        logs.codex_line(
            "event_msg",
            {
                "type": "item_completed",
                "item": {"type": "UserMessage", "content": [{"type": "Text", "text": "Louder"}]},
            },
        ),
    ]
    turns, _ = read("codex", logs.write_lines(tmp_path / "r.jsonl", rows))
    assert prompts(turns) == ["Tune it", "Louder"]


def test_codex_first_rollouts_are_read(tmp_path):
    head = {"id": "old", "timestamp": "2025-05-07T10:00:00Z", "instructions": None, "git": {}}
    path = logs.write_lines(
        tmp_path / "r.jsonl", [head, {"record_type": "state"}, logs.codex_message("user", "Tune it")]
    )
    assert IMPORTERS["codex"].recognises(Location(str(path)), path.read_text())
    [turn] = read("codex", path)[0]
    assert (turn.prompt, turn.session) == ("Tune it", "old")


def test_opencode_leaves_synthetic_parts_out(tmp_path):
    turns, _ = read("opencode", logs.opencode_database(tmp_path / "opencode.db"))
    assert [(str(turn.kind), turn.prompt) for turn in turns] == [
        ("task", "Draw the map with hexagons"),
        ("task", "revert that please"),
        ("subagent", "Look for uses of Tile"),
    ]


def test_opencode_usage_and_errors_are_read(tmp_path):
    first = read("opencode", logs.opencode_database(tmp_path / "opencode.db"))[0][0]
    assert (first.usage.output_tokens, first.usage.cache_read_tokens, first.usage.cost_usd) == (10, 900, 0.01)
    assert (first.n_tool_errors, first.models) == (1, ["kimi-k2.5"])


def test_aider_prompts_span_lines_and_commands_are_none(tmp_path):
    path = tmp_path / ".aider.chat.history.md"
    path.write_text(logs.AIDER)
    turns, _ = read("aider", path)
    assert prompts(turns) == [
        "Make the clock strike\nevery half hour",
        "why does it strike twice at noon?",
        "Paint the dial",
    ]
    assert [turn.is_undone for turn in turns] == [True, False, False]


def test_aider_usage_and_interruption_are_read(tmp_path):
    path = tmp_path / ".aider.chat.history.md"
    path.write_text(logs.AIDER)
    first, _, last = read("aider", path)[0]
    assert (first.usage.input_tokens, first.usage.output_tokens, first.usage.cost_usd) == (5800, 142, 0.02)
    assert (first.models, last.is_interrupted, last.position) == (["gpt-5.2"], True, 0)


def test_specstory_messages_are_read_without_tools_and_thoughts(tmp_path):
    path = tmp_path / "a.md"
    path.write_text(logs.SPECSTORY)
    first, second = read("specstory", path)[0]
    assert (first.prompt, second.prompt) == ("Sort the tide table by harbour", "By distance, I meant")
    assert [message.text for message in second.context] == [
        "Sort the tide table by harbour",
        "Sorting by harbour name.",
    ]


def test_specstory_model_time_and_errors_are_read(tmp_path):
    path = tmp_path / "a.md"
    path.write_text(logs.SPECSTORY)
    first = read("specstory", path)[0][0]
    assert (first.models, first.at) == (["claude-opus-4-5"], "2026-05-01T10:00:00Z")
    assert (first.n_tool_calls, first.n_tool_errors) == (1, 1)


@pytest.mark.parametrize("newest_first", [False, True], ids=["oldest first", "newest first"])
def test_litellm_requests_of_a_tool_loop_are_one_turn(tmp_path, newest_first):
    rows = logs.litellm_session()
    turns, problems = read("litellm", logs.write_lines(tmp_path / "s.jsonl", rows[::-1] if newest_first else rows))
    assert prompts(turns) == ["Count the lanterns", "Count them again, that's wrong"]
    assert (turns[0].usage.n_messages, turns[0].usage.cost_usd, turns[0].n_tool_calls) == (2, 1.0, 1)
    assert problems.counts == {"request without a stored prompt (store_prompts_in_spend_logs is off)": 1}


def test_litellm_unnamed_requests_are_one_session(tmp_path):
    turns, _ = read("litellm", logs.write_lines(tmp_path / "s.jsonl", logs.litellm_session()))
    assert turns[0].session == turns[1].session
    assert [turn.position for turn in turns] == [0, 1]


def test_litellm_csv_reads_as_json_lines(tmp_path):
    path = tmp_path / "s.csv"
    with path.open("w", newline="") as file:
        rows = logs.litellm_session()
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            writer.writerow({k: json.dumps(v, indent=1) if isinstance(v, dict) else v for k, v in row.items()})
    assert read("litellm", path)[0] == read("litellm", logs.write_lines(tmp_path / "s.jsonl", rows))[0]


LABELLED = {
    "id": "r1",
    "group": "g",
    "prompt": "Add a lamp",
    "category": "feature",
    "risk": "low",
    "scope": "file",
    "turn": "new",
}


def test_labelled_rows_keep_labels_and_ids(tmp_path):
    [turn], _ = read("labelled", logs.write_lines(tmp_path / "l.jsonl", [LABELLED | {"sure": "m"}]))
    assert (turn.uid, turn.project, turn.labels["category"], turn.labels["sure"]) == ("r1", "g", "feature", "m")


def test_labelled_row_with_an_unknown_label_is_located(tmp_path):
    turns, problems = read("labelled", logs.write_lines(tmp_path / "l.jsonl", [LABELLED | {"risk": "huge"}]))
    assert turns == []
    assert problems.located == [f"{tmp_path}/l.jsonl:1: no known label of risk"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_labelled_tables_read_as_json_lines(tmp_path, suffix):
    import pandas

    context = [{"role": "assistant", "text": "Which one?"}]
    path = tmp_path / f"l.{suffix}"
    if suffix == "csv":
        pandas.DataFrame([LABELLED | {"context": json.dumps(context)}]).to_csv(path, index=False)
    else:
        pandas.DataFrame([LABELLED | {"context": context}]).to_parquet(path)
    lines = logs.write_lines(tmp_path / "l.jsonl", [LABELLED | {"context": context}])
    assert read("labelled", path)[0] == read("labelled", lines)[0]


def sample(kind, folder):
    """A source of each kind that has a file of its own."""
    if kind == "opencode":
        return logs.opencode_database(folder / "opencode.db")
    texts = {"aider": (".aider.chat.history.md", logs.AIDER), "specstory": ("s.md", logs.SPECSTORY)}
    if kind in texts:
        name, text = texts[kind]
        (folder / name).write_text(text)
        return folder / name
    rows = {
        "claude-code": logs.claude_session().rows,
        "codex": logs.codex_rollout(),
        "litellm": logs.litellm_session(),
        "labelled": [LABELLED],
        "records": [{"record": "decision", "schema_version": 1}],
    }
    return logs.write_lines(folder / "log.jsonl", rows[kind])


@pytest.mark.parametrize("kind", IMPORTERS)
def test_source_is_recognised_by_its_importer_only(tmp_path, kind):
    path = sample(kind, tmp_path)
    head = path.read_bytes()[:65536].decode("utf-8", "replace")
    assert [name for name, found in IMPORTERS.items() if found.recognises(Location(str(path)), head)] == [kind]
