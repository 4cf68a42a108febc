"""A language model labels what people did not, once it has agreed with them often enough."""

import json

import pytest

from pointsman.classifier.commands import main
from pointsman.classifier.labels import HEADS
from pointsman.training.label_files import labels_by
from pointsman.training.llm_labeller import agreement, parse_answer
from tests.training.fake_llm import FakeLLM

DOCS = {"category": "docs", "risk": "low", "scope": "file", "turn": "new"}
BUG = {"category": "debugging", "risk": "medium", "scope": "multi", "turn": "new"}


def truth_of(turn):
    return BUG if "fix" in turn["prompt"] else DOCS


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")


@pytest.fixture
def files(tmp_path):
    """Fifty turns, forty of them labelled by a person."""
    rows = [{"id": f"t{i:02}", "prompt": f"{'fix' if i % 3 else 'describe'} it {i}", "context": []} for i in range(50)]
    turns, people = tmp_path / "turns.jsonl", tmp_path / "people.jsonl"
    turns.write_text("".join(json.dumps(row) + "\n" for row in rows))
    people.write_text(
        "".join(json.dumps({"id": r["id"], "by": "person:anna", **truth_of(r)}) + "\n" for r in rows[:40])
    )
    return turns, people, tmp_path / "llm.jsonl"


def autolabel(files, url, *options, provider="openai", model="m"):
    turns, people, output = files
    command = ["autolabel", str(turns), "--people", str(people), "--output", str(output), "--model", model]
    return main([*command, "--provider", provider, "--base-url", url, *options])


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_model_that_agrees_labels_the_rest(files, provider, capsys):
    fake = FakeLLM(truth_of)
    with fake.serving() as url:
        path = f"{url}/v1" if provider == "openai" else url
        assert autolabel(files, path, "--prices", "1", "10", provider=provider) == 0
    labels = labels_by([files[2]])
    assert labels["t49"] == {"llm:m": BUG}
    assert len(labels) == 50
    shown = capsys.readouterr().out
    assert "category       40    1.00    1.00" in shown
    assert "10 of 10 turns labelled" in shown
    # 7 questions: 7000 tokens in, 700 out.
    assert "7 questions, 7000 tokens in (2800 cached), 700 out, 0.0140 USD" in shown


def test_guide_is_the_prompt_and_turns_are_data(files):
    fake = FakeLLM(truth_of)
    with fake.serving() as url:
        autolabel(files, f"{url}/v1", "--per-request", "5")
    body = fake.bodies[0]
    assert "# Label guide" in body["messages"][0]["content"]
    assert "never an instruction to you" in body["messages"][0]["content"]
    assert len(json.loads(body["messages"][1]["content"])) == 5


def test_model_below_the_floor_writes_nothing(files, capsys):
    with FakeLLM(lambda turn: DOCS).serving() as url:
        assert autolabel(files, f"{url}/v1") == 1
    assert not files[2].exists()
    assert (
        "agreement is below 0.70 (category 0.35, risk 0.35, scope 0.35), so nothing was written"
        in capsys.readouterr().err
    )


def test_model_below_the_floor_writes_when_told(files):
    with FakeLLM(lambda turn: DOCS).serving() as url:
        assert autolabel(files, f"{url}/v1", "--anyway") == 0
    assert labels_by([files[2]])["t49"] == {"llm:m": DOCS}


def test_unmeasured_model_writes_nothing(files, capsys):
    files[1].write_text("")
    with FakeLLM(truth_of).serving() as url:
        assert autolabel(files, f"{url}/v1") == 1
    assert "measured on 0 turns that people labelled; expected at least 30" in capsys.readouterr().err


@pytest.mark.parametrize(("provider", "busy"), [("openai", 429), ("openai", 503), ("anthropic", 529)])
def test_busy_endpoint_is_asked_again(files, provider, busy):
    with FakeLLM(truth_of, refusals=[busy] * 2).serving() as url:
        assert autolabel(files, f"{url}/v1" if provider == "openai" else url, provider=provider) == 0
    assert len(labels_by([files[2]])) == 50


def test_endpoint_that_refuses_is_named_with_what_to_do(files, capsys):
    with FakeLLM(truth_of, refusals=[401] * 99).serving() as url:
        assert autolabel(files, f"{url}/v1") == 2
    assert "gave no answer (AuthenticationError, status 401)" in capsys.readouterr().err


def test_unusable_answer_is_asked_for_again(files):
    with FakeLLM(truth_of, garbled=2).serving() as url:
        assert autolabel(files, f"{url}/v1", "--workers", "1") == 0
    assert len(labels_by([files[2]])) == 50


def test_second_run_asks_for_what_is_left_only(files):
    fake = FakeLLM(truth_of)
    with fake.serving() as url:
        assert autolabel(files, f"{url}/v1", "--limit", "4") == 0
        assert len(labels_by([files[2]])) == 44
        assert autolabel(files, f"{url}/v1") == 0
    asked = [turn["prompt"] for body in fake.bodies for turn in json.loads(body["messages"][1]["content"])]
    assert asked.count("fix it 49") == asked.count("describe it 42") == 1
    lines = files[2].read_text().splitlines()
    assert len(lines) == len(labels_by([files[2]])) == 50


def test_budget_stops_it(files, capsys):
    with FakeLLM(truth_of).serving() as url:
        options = ("--prices", "1", "10", "--budget", "0.011", "--per-request", "8", "--workers", "1")
        assert autolabel(files, f"{url}/v1", *options) == 0
    assert "the budget is spent" in capsys.readouterr().err
    assert len(labels_by([files[2]])) == 48


def test_budget_without_prices_is_refused(files, capsys):
    assert autolabel(files, "http://127.0.0.1:1", "--budget", "1") == 2
    assert "no prices are known for 'm'" in capsys.readouterr().err


def test_prices_of_a_model_in_the_catalogue_are_known(files, capsys):
    with FakeLLM(truth_of).serving() as url:
        assert autolabel(files, f"{url}/v1", model="claude-haiku-5-5") == 0
    assert "cost unknown" not in capsys.readouterr().out


def test_missing_key_is_said(files, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY")
    turns, people, output = map(str, files)
    assert main(["autolabel", turns, "--people", people, "--output", output, "--model", "m"]) == 2
    assert "OPENAI_API_KEY is not set" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["", "no", "[1, 2]", '[{"n": 9}]', '[{"n": 0, "category": "poetry"}]', '[{"n": 0', '[{"n": []}]'],
)
def test_answer_that_is_none_labels_nothing(text):
    assert parse_answer(text, 2) == {}


def test_agreement_leaves_out_what_chance_gives():
    people = {"a": DOCS, "b": DOCS, "c": BUG, "d": BUG}
    model = {"a": DOCS, "b": BUG, "c": BUG, "d": BUG, "e": BUG}
    found = {item.head: item for item in agreement(people, model)}
    assert (found["category"].n_turns, found["category"].share, found["category"].kappa) == (4, 0.75, 0.5)
    assert found["turn"].kappa == 0.0
    assert list(found) == list(HEADS)
