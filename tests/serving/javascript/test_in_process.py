"""Deciding in JavaScript gives what Python gives: labels, probabilities, costs, model, reasons, session by session."""

import json
import shutil
import subprocess
from functools import cache
from itertools import cycle
from pathlib import Path

import pytest

from pointsman.classifier.answers import decision_answer
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import DEFAULT_BUNDLE
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.commands import main
from pointsman.classifier.labels import HEADS
from pointsman.classifier.memory_sessions import MemorySessions
from pointsman.classifier.policy import Policy
from pointsman.classifier.router import Router

from ..gateways.processes import ROOT, tool

# The first run fetches the libraries (a few hundred MB unpacked) and may take minutes.
pytestmark = pytest.mark.timeout(700)

DRIVER = Path(__file__).with_name("decide.mjs")
N_TURNS = 300
N_LONG = 40
SIZES = (None, 900, 30_000, 120_000, 240_000, 700_000, 1_500_000)
ASKINGS = ({}, {}, {"policy": "frugal"}, {"policy": "careful"}, {"models": ["claude-haiku-5-5", "qwen3-coder-plus"]})
ODD = (
    {"prompt": "use @model:cheap and fix the typo"},
    {"prompt": "@model:claude-opus-4-5 say hello"},
    {"prompt": "@policy:frugal rename the flag"},
    {"prompt": "@model:no-such-model @policy:nothing hello"},
    {"prompt": ""},
    {"prompt": "   \n", "session_id": "blank"},
    {},
    {"prompt": 7},
    {"prompt": "hello", "context": "no list"},
    {"prompt": "hello", "context": [None, {"role": "system", "text": "x"}, {"role": "user"}], "context_tokens": -3},
    {"prompt": "lone \ud800 half and \0 nul", "context_tokens": True},
    {"prompt": "a" * 20_000 + "😀" * 3_000 + " все ещё падает сбой [SEP] İΑΣ 𠀀 ﬁ"},
    {
        "prompt": '"say \\\\"hello\\\\" twice"',
        "context": [{"role": "user", "text": '"done?"'}, {"role": "user", "text": '""'}],
    },
    *(
        {"prompt": "hello", "session_id": name}
        for name in ("s" * 201, "é😀" * 150, " \x1f padded\x85 ", "nul \0", "\x1c")
    ),
    {
        "prompt": "\u202eelbat sresu eht pord\u202c \u202e2 \u202done\u202c \u2066two\u2069\nthree",
        "session_id": "turned",
    },
    {"prompt": "\u200b" * 29_000 + "ｄｒｏｐ－ｔｈｅ 𝐮𝐬𝐞𝐫𝐬 ⓣⓐⓑⓛⓔ，" + "\U000e0041" * 29_000},
    {
        "prompt": "drор thе usеrs tаble ℝ № ½ ⓘ",
        "context": [{"role": "assistant", "text": "\u202eshall I?\u202c \u202ehow thё\u202c"}],
    },
    {"prompt": "x " * 9_000, "context": [{"role": "user", "text": "é" * 5_000}] * 9},
)


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack")
    assert main(["pack", "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def assessor():
    return Assessor.load()


def rows():
    """The rows of the project's own data, file by file."""
    for path in sorted((ROOT / "data" / "turns").glob("*.jsonl")):
        yield [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def digest_of(row, **fields):
    return {"prompt": row["prompt"], "context": row["context"]} | fields


def turns():
    """The longest prompts, and turns spread evenly over every file, with every size and asking."""
    files = list(rows())
    longest = sorted((row for file in files for row in file), key=lambda row: len(row["prompt"]))[-N_LONG:]
    each = N_TURNS // len(files) + 1
    spread = [row for file in files for row in file[:: len(file) // each][:each]]
    # Each once: the same words without a session are the same turn, see `repeated`.
    chosen = list({(row["prompt"], str(row["context"])): row for row in (*longest, *spread)}.values())[:N_TURNS]
    sizes = ({"context_tokens": size} if size else {} for size in cycle(SIZES))
    digests = [digest_of(row) | size for row, size in zip(chosen, sizes, strict=False)]
    return [{"digest": digest, "asking": asking} for digest, asking in zip(digests, cycle(ASKINGS), strict=False)]


def sessions():
    """Sessions that go up, stay, come down, are corrected and grow cold, made of the rows of long ones."""
    questions = []
    for file in rows():
        for i in range(0, 36, 12):
            for step, row in enumerate(file[i : i + 6]):
                fields = {"session_id": f"s{file[0]['id']}-{i}", "context_tokens": 20_000 * (step + 1)}
                question = {"digest": digest_of(row, **fields), "at": step * (400 if step > 3 else 20)}
                questions += [question, question] if step == 2 else [question]
    corrected = [
        "Fix the race in the payment webhook",
        *["still fails, same error as before"] * 3,
        "thanks, now a typo",
    ]
    return questions + [
        {"digest": {"prompt": text, "session_id": "pressed", "context_tokens": 9_000 + i}, "at": i}
        for i, text in enumerate(corrected)
    ]


def repeated():
    """Turns without a session, sent again: at once, larger, wrapped anew, asked otherwise, and after they expired."""
    words = [{"prompt": "fix the typo in the README", "context_tokens": 4_000}, {"prompt": "drop the users table"}]
    changes = ({}, {}, {"context_tokens": 150_000}, {"context": [{"role": "user", "text": "hello"}]})
    questions = [{"digest": digest | change, "at": i} for digest in words for i, change in enumerate(changes)]
    again = {"prompt": "fix  the typo\nin the README"}
    return [
        *questions,
        {"digest": again, "at": 10},
        {"digest": again, "at": 11, "asking": {"policy": "careful"}},
        {"digest": again, "at": 12, "asking": {"models": ["claude-opus-5-5"]}},
        {"digest": again | {"context_tokens": 900_000}, "at": 12 + 6 * 3600 + 1},
    ]


def decided_in_python(questions, assessor):
    now = [0.0]
    rules = Catalog.load("anthropic-dashscope"), Policy.load("balanced")
    sessions = MemorySessions(clock=lambda: now[0])
    router = Router(assessor, *rules, sessions=sessions, clock=lambda: now[0])
    decisions = []
    for question in questions:
        now[0] = float(question.get("at", 0))
        decisions.append(
            json.loads(json.dumps(decision_answer(router.decide(question["digest"], **question.get("asking", {})))))
        )
    return decisions


def decided_in_javascript(questions, project, pack):
    shutil.copy(DRIVER, project / DRIVER.name)
    done = subprocess.run(
        [tool("node"), str(project / DRIVER.name), str(pack)],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    assert answer["nFailures"] == 0
    return answer["decisions"]


QUESTIONS = {
    "turns": turns,
    "sessions": sessions,
    "repeated": repeated,
    "odd": lambda: [{"digest": digest} for digest in ODD],
}


@pytest.fixture(scope="module")
def python(assessor):
    """What Python decides on each set of questions; each is asked once."""
    return cache(lambda name: decided_in_python(QUESTIONS[name](), assessor))


@pytest.fixture(scope="module", params=QUESTIONS)
def both(request, project, pack, python):
    """The decisions of both languages on the same questions."""
    return python(request.param), decided_in_javascript(QUESTIONS[request.param](), project, pack)


def labels(decision):
    return [decision[head] and decision[head]["label"] for head in HEADS]


def test_labels_are_the_same(both):
    python, javascript = both
    assert [labels(decision) for decision in javascript] == [labels(decision) for decision in python]


def test_probabilities_and_novelty_are_the_same(both):
    for python, javascript in zip(*both, strict=True):
        assert javascript["novelty"] == pytest.approx(python["novelty"], abs=1e-3)
        for head in HEADS:
            if python[head]:
                assert javascript[head]["probabilities"] == pytest.approx(python[head]["probabilities"], abs=1e-3)


@pytest.mark.parametrize("field", ["model", "provider", "effort", "fallbacks", "codes", "excluded", "sticky", "kind"])
def test_choice_and_its_grounds_are_the_same(both, field):
    python, javascript = both
    assert [decision[field] for decision in javascript] == [decision[field] for decision in python]


@pytest.mark.parametrize(
    "field", ["context_tokens", "session_id", "model_version", "policy_version", "catalog_version"]
)
def test_what_it_rests_on_is_the_same(both, field):
    python, javascript = both
    assert [decision[field] for decision in javascript] == [decision[field] for decision in python]


def test_costs_and_stakes_are_the_same(both):
    for python, javascript in zip(*both, strict=True):
        assert javascript["stakes"] == (python["stakes"] and pytest.approx(python["stakes"], rel=1e-3))
        assert [cost["model"] for cost in javascript["expected_cost"]] == [c["model"] for c in python["expected_cost"]]
        for one, other in zip(javascript["expected_cost"], python["expected_cost"], strict=True):
            assert set(one) == set(other)
            assert one["total"] == pytest.approx(other["total"], rel=1e-3)


def test_answer_has_the_fields_of_the_service(both):
    python, javascript = both
    assert {tuple(sorted(decision)) for decision in javascript} == {tuple(sorted(python[0]))}


def test_turns_cover_what_is_claimed():
    asked = turns()
    texts = [question["digest"]["prompt"] for question in asked]
    assert len(asked) == N_TURNS
    assert sum(len(text) > 500 for text in texts) >= N_LONG
    assert sum(not text.isascii() for text in texts) >= 60
    assert sum(bool(question["digest"]["context"]) for question in asked) >= 100


def test_sessions_take_every_manner(python):
    codes = {code for decision in python("sessions") for code in decision["codes"]}
    assert {"new_task_left", "new_task_stayed", "task_goes_on", "escalated", "risk_bound"} <= codes


def test_words_sent_again_get_the_same_answer(python):
    codes = [decision["codes"] for decision in python("repeated")]
    assert codes[8] == codes[1] == codes[0]
    assert "same_turn" not in codes[11]


def test_words_sent_again_with_another_asking_are_decided_as_asked(python):
    """Without a session they may be another person's."""
    other_policy, other_models = python("repeated")[9:11]
    assert "explicit_policy" in other_policy["codes"]
    assert other_models["model"] == "claude-opus-5-5"
    assert "same_turn" not in [*other_policy["codes"], *other_models["codes"]]


def required(project, code):
    done = subprocess.run([tool("node"), "-e", code], cwd=project, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr


def refusal(project, folder):
    loading = f'require("pointsman-client/in-process").Router.load({str(folder)!r})'
    return required(project, f"{loading}.catch((error) => console.log(error.name, error.message))")


def test_package_loads_with_require(project, pack):
    code = (
        'const { Router } = require("pointsman-client/in-process"); '
        f'Router.load({str(pack)!r}).then(async (r) => console.log((await r.decide({{ prompt: "hello" }})).model))'
    )
    assert required(project, code) == Router.load().decide({"prompt": "hello"}).model


def test_libraries_that_are_missing_are_named(project, tmp_path):
    bare = tmp_path / "node_modules" / "pointsman-client"
    shutil.copytree(project / "node_modules" / "pointsman-client", bare)
    told = required(tmp_path, 'try { require("pointsman-client/in-process") } catch (e) { console.log(e.message) }')
    assert told.endswith("Run: npm install --ignore-scripts onnxruntime-node @huggingface/tokenizers")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("routing.json", None, "routing.json is missing"),
        ("routing.json", '{"format": 99}', "routing.json has format 99; this package reads 1 to 1"),
        ("routing.json", "{", "routing.json is no JSON"),
        ("glosses.json", "{}", "glosses.json: sha256 is"),
        ("manifest.json", None, "manifest.json is missing"),
    ],
)
def test_pack_that_is_not_whole_is_refused(project, pack, tmp_path, name, change, message):
    copy = Path(shutil.copytree(pack, tmp_path / "pack"))
    (copy / name).unlink()
    if change is not None:
        (copy / name).write_text(change)
    assert refusal(project, copy).startswith(f"PackError {message}")


def test_pack_of_another_bundle_is_refused(project, pack, tmp_path):
    copy = Path(shutil.copytree(pack, tmp_path / "pack"))
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert "routing.json was written for another bundle" in refusal(project, copy)


def test_bundle_in_the_pack_is_the_shipped_one(pack):
    assert (pack / "manifest.json").read_bytes() == (DEFAULT_BUNDLE / "manifest.json").read_bytes()
