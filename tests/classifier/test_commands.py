"""The command line as a person uses it: readable answers, one-line errors, exit status 2."""

import io
import json
import re
from dataclasses import replace

import pytest

from pointsman.classifier.bundle import load_bundle, write_manifest
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.commands import build_parser, main
from pointsman.classifier.labels import CATEGORIES
from pointsman.classifier.policy import Policy
from pointsman.classifier.records import DecisionRecord, FeedbackRecord, utc_now
from pointsman.classifier.risk_bound import RiskBound
from pointsman.classifier.router import Router
from tests.fakes import FakeAssessor, asked, assessed

COMMANDS = (
    *("serve", "decide", "classify", "models", "replay", "tune", "savings"),
    *("evaluate", "pretrain", "train", "doctor"),
)


@pytest.fixture
def tiny(tiny_bundle):
    return ["--bundle", str(tiny_bundle)]


def run(capsys, *argv):
    status = main([str(arg) for arg in argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        build_parser().parse_args([command, "--help"])
    assert f"pointsman {command}" in capsys.readouterr().out


def test_decide_takes_a_prompt(capsys, tiny):
    status, out, _ = run(capsys, "decide", "fix the crash in the parser", *tiny)
    assert status == 0
    assert "category" in out
    assert "expected cost" in out


def test_decide_takes_a_request_file(capsys, tiny, tmp_path):
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "write tests for the parser"}]}
    path = tmp_path / "body.json"
    path.write_text(json.dumps(body))
    status, out, _ = run(capsys, "decide", path, "--json", *tiny)
    answer = json.loads(out)
    assert status == 0
    assert next(iter(answer)) == "model"
    assert answer["kind"] == "task"
    assert answer["category"]["probabilities"].keys() >= {"tests", "debugging"}


def test_decide_takes_stdin(capsys, tiny, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": "explain how the cache does work"}')))
    status, out, _ = run(capsys, "decide", "-", "--json", *tiny)
    assert status == 0
    assert json.loads(out)["risk"]["label"] in {"low", "medium", "high"}


def test_decide_keeps_to_the_models_named(capsys, tiny):
    _, out, _ = run(capsys, "decide", "fix it", "--models", "claude-opus-5-5", "--json", *tiny)
    assert json.loads(out)["model"] == "claude-opus-5-5"


def test_decide_on_a_missing_file_says_so(capsys, tiny):
    status, _, err = run(capsys, "decide", "no-such-body.json", *tiny)
    assert status == 2
    assert "no such file: no-such-body.json" in err


def test_classify_reads_context(capsys, tiny):
    status, out, _ = run(capsys, "classify", "yes continue", "--context", "assistant:add endpoint", "--json", *tiny)
    assert status == 0
    assert set(json.loads(out)) == {"category", "risk", "scope", "turn", "novelty"}


def test_classify_refuses_an_unknown_role(capsys, tiny):
    status, _, err = run(capsys, "classify", "yes", "--context", "tool:output", *tiny)
    assert status == 2
    assert "expected user:TEXT or assistant:TEXT" in err


def test_models_shows_each_cell_with_trials_and_interval(capsys):
    status, out, _ = run(capsys, "models", "claude-haiku-5-5")
    assert status == 0
    assert "claude-haiku-5-5  (anthropic, cheap)" in out
    assert re.search(r"^  debugging        0\.340  0\.\d{3} to 0\.\d{3}     8\.0$", out, flags=re.M)
    assert "claude-opus" not in out
    cells = json.loads(run(capsys, "models", "--json")[1])["models"][0]["belief"]
    assert set(cells) == {"*", *CATEGORIES}
    assert all(cell["low"] < cell["failure"] < cell["high"] for cell in cells.values())


def test_models_counts_the_outcomes_of_records(capsys, tmp_path):
    router = Router(FakeAssessor(default=assessed("docs", "low")), Catalog.load("kimi"), Policy.load("balanced"))
    decision = DecisionRecord.of(asked(), router.decide_turn(asked()), created_at=utc_now())
    feedback = FeedbackRecord(
        feedback_id="f", decision_id=decision.decision_id, created_at=utc_now(), outcome="failure"
    )
    path = tmp_path / "records.jsonl"
    path.write_text("\n".join(json.dumps(row.to_json()) for row in (decision, feedback)))
    arguments = ["models", decision.model, "--catalog", "kimi", "--json"]
    plain = json.loads(run(capsys, *arguments)[1])["models"][0]["belief"]["docs"]
    told = json.loads(run(capsys, *arguments, "--records", path)[1])["models"][0]["belief"]["docs"]
    assert told["failure"] > plain["failure"]
    assert told["trials"] == pytest.approx(plain["trials"] + 1)


def test_models_names_what_it_cannot_read(capsys, tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"record": "decision"}\n')
    assert "records.jsonl:1: found no record" in run(capsys, "models", "--records", path)[2]
    assert "found no model 'gpt-9'; expected any of claude-opus-5-5" in run(capsys, "models", "gpt-9")[2]


def test_doctor_decides_once(capsys, tiny):
    status, out, _ = run(capsys, "doctor", *tiny)
    assert status == 0
    assert "bundle tiny-1, verified" in out
    assert "a decision in" in out
    assert "none  policy balanced asks for at most 8%, and the bundle promises nothing" in out
    assert "no risk bound of 2%: 10 calibration turns need care; 114 are needed to promise 2.0%" in out


def test_doctor_shows_the_risk_bound(capsys, tiny_bundle_copy):
    bound = RiskBound(0.08, 0.9, 0.21, 500, 160, 0.4, None)
    wider = replace(bound, max_missed=0.2, threshold=0.4)
    write_manifest(tiny_bundle_copy, replace(load_bundle(tiny_bundle_copy).manifest, risk_bounds=(bound, wider)))
    out = run(capsys, "doctor", "--bundle", tiny_bundle_copy)[1]
    assert f"ok    {bound.describe()}\n      {wider.describe()}" in out


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        (0.02, "ok    policy balanced asks for at most 8%; kept is a promise that is stricter"),
        (0.2, "weak  policy balanced asks for at most 8%; kept is a promise that is wider, as the bundle cannot"),
    ],
    ids=["stricter", "wider"],
)
def test_doctor_says_when_another_promise_is_kept(capsys, tiny_bundle_copy, promise, said):
    bound = RiskBound(promise, 0.9, 0.21, 500, 160, 0.4, None)
    write_manifest(tiny_bundle_copy, replace(load_bundle(tiny_bundle_copy).manifest, risk_bounds=(bound,)))
    assert said in run(capsys, "doctor", "--bundle", tiny_bundle_copy)[1]


def test_missing_bundle_is_one_line_on_stderr(capsys, tmp_path):
    status, out, err = run(capsys, "doctor", "--bundle", tmp_path)
    assert status == 2
    assert "no bundle at" in err
    assert "Traceback" not in out + err


def test_wrong_policy_is_one_line_on_stderr(capsys, tiny, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("loss_usd: lots\n")
    status, _, err = run(capsys, "decide", "fix it", "--policy", policy, *tiny)
    assert status == 2
    assert "policy.yaml:1" in err
    assert "loss_usd" in err
