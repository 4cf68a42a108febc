"""What counts as a person's words, and which earlier messages are read with them."""

import pytest

from pointsman.classifier.assessment import Kind, Message
from pointsman.classifier.request import NO_PROMPT, read_request


def prompt_of(*texts, before=()):
    blocks = [*before, *({"type": "text", "text": text} for text in texts)]
    return read_request({"messages": [{"role": "user", "content": blocks}]}).prompt


TAGS = [
    "system-reminder",
    "local-command-stdout",
    "local-command-caveat",
    "environment_context",
    "skills_instructions",
    "permissions instructions",
    "user_instructions",
    "task-notification",
]


@pytest.mark.parametrize("tag", TAGS)
def test_block_that_starts_with_a_client_tag_is_dropped(tag):
    assert prompt_of(f"  \n<{tag}>\nsomething\n</{tag}>\n", "Fix the intake") == "Fix the intake"


@pytest.mark.parametrize("tag", TAGS)
def test_quoted_tag_in_a_sentence_is_kept(tag):
    text = f"Why does the log show <{tag}>x</{tag}> twice?"
    assert prompt_of(text) == text


@pytest.mark.parametrize("tag", TAGS)
def test_words_behind_a_leading_element_are_kept(tag):
    assert prompt_of(f"<{tag}>a</{tag}>\n<{tag}>b</{tag}>\nFix the intake") == "Fix the intake"


@pytest.mark.parametrize(
    "text",
    [
        "<system-reminder>end it with </system-reminder> as always </system-reminder>",
        "<system-reminder>never closed, and the text goes on",
        "<system-reminder>one <system-reminder>inside</system-reminder> never closed",
        "[SYSTEM NOTIFICATION - NOT USER INPUT]\nA task ended.",
        "[Request interrupted by user]",
        "[Request interrupted by user for tool use]",
        "# AGENTS.md instructions for /srv/app\n\n<INSTRUCTIONS>\nUse tabs. Quote </INSTRUCTIONS> so.\n</INSTRUCTIONS>",
        "# AGENTS.md instructions for /srv/app\n\nUse tabs.",
        "<image name=[Image #1]>",
        "</image>",
        "Attached image(s) from tool result:",
        "<command-message>relabel</command-message>",
        "   \n\t ",
        "",
    ],
    ids=lambda text: text[:28] or "empty",
)
def test_block_without_words_of_a_person(text):
    assert prompt_of(text, "Fix the intake") == "Fix the intake"
    turn = read_request({"messages": [{"role": "user", "content": text}]})
    assert (turn.prompt, turn.reason) == ("", NO_PROMPT)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("<system-reminder>a <system-reminder>b</system-reminder> c</system-reminder> Go on", "Go on"),
        ("Fix it\n\n<system-reminder>\ntabs\n</system-reminder>\n", "Fix it"),
        ("Fix it\n<system-reminder>a</system-reminder>\n\n <system-reminder>b</system-reminder>", "Fix it"),
        ("Fix it <system-reminder>a</system-reminder>", "Fix it <system-reminder>a</system-reminder>"),
        ("Why\n<system-reminder>a</system-reminder>\ntwice?", "Why\n<system-reminder>a</system-reminder>\ntwice?"),
        ("Quote </system-reminder>", "Quote </system-reminder>"),
        ("[Request interrupted by user] Use the queue", "Use the queue"),
        ("# AGENTS.md instructions for /srv\n<INSTRUCTIONS>tabs</INSTRUCTIONS>\nFix it", "Fix it"),
        ("# Context from my IDE setup:\n## Open tabs: a.py\n## My request for Codex:\nFix it", "Fix it"),
        ("# Context from my IDE setup: what is it?", "# Context from my IDE setup: what is it?"),
        ("<system-reminders> is no tag of yours", "<system-reminders> is no tag of yours"),
        ('"Fix the intake"', "Fix the intake"),
        ('"Print \\"north\\" first"', 'Print "north" first'),
        ('"north" or "south"', '"north" or "south"'),
        ('"', '"'),
        ('""', '""'),
    ],
)
def test_words_left_over(text, prompt):
    assert prompt_of(text) == prompt


@pytest.mark.parametrize(
    "content",
    [
        "Fix the intake",
        ["Fix the intake"],
        [{"type": "input_text", "text": "Fix the intake"}],
        [{"text": "Fix the intake"}],
        {"type": "text", "text": "Fix the intake"},
        [{"type": "image", "source": {}}, None, 3, {"type": "text", "text": "Fix the intake"}],
    ],
    ids=["string", "bare strings", "input_text", "untyped", "one block", "among others"],
)
def test_content_of_every_shape(content):
    assert read_request({"messages": [{"role": "user", "content": content}]}).prompt == "Fix the intake"


def test_several_blocks_are_one_prompt():
    assert prompt_of("First this.\n", "Then that.\n") == "First this.\nThen that."


def test_prompt_is_not_the_last_message():
    items = [
        {"role": "user", "content": "Fix the intake"},
        {"role": "system", "content": "Env."},
        {"type": "reasoning"},
    ]
    assert read_request({"input": items}).prompt == "Fix the intake"


COMMAND = "<command-name>{0}</command-name>\n<command-message>m</command-message>\n<command-args>{1}</command-args>"


@pytest.mark.parametrize(
    ("texts", "prompt"),
    [
        ([COMMAND.format("/relabel", "north"), "Rename it."], "/relabel north\nRename it."),
        ([COMMAND.format("/relabel", "north") + "\nRename it."], "/relabel north\nRename it."),
        ([COMMAND.format("/relabel", "")], "/relabel"),
        ([COMMAND.format("/context", ""), "<local-command-stdout>x</local-command-stdout>"], ""),
        ([COMMAND.format("/context", "")], ""),
        ([COMMAND.format("/compact", "keep the tests")], ""),
        ([COMMAND.format("/mine", ""), "<local-command-stdout>x</local-command-stdout>", "Go"], "Go"),
        (["<local-command-caveat>c</local-command-caveat>", COMMAND.format("/mine", "")], ""),
        ([COMMAND.format("/model", "x"), "<local-command-stdout></local-command-stdout>", "Fix it"], "Fix it"),
        ([COMMAND.format("/status", ""), "Report on the depots."], "/status\nReport on the depots."),
        (["<command-args>cut off"], "<command-args>cut off"),
    ],
    ids=[
        "expanded",
        "one block",
        "bare",
        "local",
        "built in",
        "with args",
        "output",
        "caveat",
        "then",
        "same name",
        "cut",
    ],
)
def test_commands(texts, prompt):
    assert prompt_of(*texts) == prompt


def test_skill_called_by_the_model_is_no_prompt():
    skill = [
        {"type": "tool_result", "tool_use_id": "t", "content": "Launching"},
        {"type": "text", "text": "<command-name>labels</command-name>"},
        {"type": "text", "text": "Base directory for this skill: /srv/skills/labels\nPrint with care."},
    ]
    messages = [{"role": "user", "content": "Print it"}, {"role": "user", "content": skill}]
    turn = read_request({"messages": messages})
    assert (turn.prompt, turn.kind) == ("Print it", Kind.TOOL_LOOP)


def test_skill_called_by_the_person_is_the_prompt():
    body = "Base directory for this skill: /srv/skills/labels\nPrint with care."
    assert prompt_of(COMMAND.format("/labels", "north"), body) == f"/labels north\n{body}"


def test_words_beside_a_tool_result_are_a_new_turn():
    content = [{"type": "tool_result", "tool_use_id": "t", "content": "3 passed"}, {"type": "text", "text": "Ship it"}]
    messages = [{"role": "user", "content": "Test it"}, {"role": "user", "content": content}]
    turn = read_request({"messages": messages})
    assert (turn.prompt, turn.kind) == ("Ship it", Kind.TASK)


SUMMARY = "This session is being continued from a previous conversation that ran out of context. A lock was added."


def test_summary_of_the_client_is_context():
    turn = read_request({"messages": [{"role": "user", "content": [SUMMARY, "Is it slow?"]}]})
    assert (turn.prompt, turn.context) == ("Is it slow?", (Message("user", SUMMARY),))


def test_summary_alone_goes_on_with_the_turn():
    turn = read_request({"messages": [{"role": "user", "content": SUMMARY}]})
    assert (turn.prompt, turn.kind, turn.reason) == ("", Kind.TOOL_LOOP, NO_PROMPT)


def said(role, text):
    return {"role": role, "content": text}


def test_context_is_the_four_messages_before_oldest_first():
    messages = [said("user" if i % 2 == 0 else "assistant", f"m{i}") for i in range(7)]
    assert [m.text for m in read_request({"messages": messages}).context] == ["m2", "m3", "m4", "m5"]


def test_context_joins_what_the_assistant_said_in_one_tool_loop():
    messages = [
        said("user", "Fix it"),
        {"role": "assistant", "content": [{"type": "text", "text": "Looking."}, {"type": "tool_use", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "content": "long output"}]},
        said("assistant", "Fixed."),
        said("user", "Thanks, now test it"),
    ]
    expected = (Message("user", "Fix it"), Message("assistant", "Looking.\nFixed."))
    assert read_request({"messages": messages}).context == expected


def test_context_keeps_the_last_answer_when_a_loop_says_too_much():
    messages = [said("user", "Fix it"), *(said("assistant", c * 400) for c in "abc"), said("user", "Go on")]
    assert read_request({"messages": messages}).context[1].text == "c" * 400


def test_context_is_cut_from_the_head_and_stripped():
    long = "<system-reminder>x</system-reminder>" + "y" * 700
    turn = read_request({"messages": [said("user", long), said("assistant", "z" * 700), said("user", "Go on")]})
    assert turn.context == (Message("user", "y" * 600), Message("assistant", "z" * 600))


def test_context_leaves_out_messages_without_words():
    messages = [
        said("user", "Fix it"),
        said("user", "<system-reminder>x</system-reminder>"),
        said("system", "Environment"),
        said("user", "And test it"),
    ]
    assert read_request({"messages": messages}).context == (Message("user", "Fix it"),)
