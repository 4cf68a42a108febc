"""`/v1/decide` in its three forms, and the decision read back."""

import gzip
import json
import zlib

import pytest

from pointsman.classifier.labels import HEADS
from pointsman.serving.schemas import DecisionAnswer, header_value

from .clients import CAREFUL, CLAUDE_HEADERS, RACE, SESSION, TYPO, chat_body, claude_body, responses_body, title_body


def decide(client, body, path="", **options):
    response = client.post(f"/v1/decide{path}", json=body, **options)
    assert response.status_code == 200, response.text
    return response.json()


FORMS = {
    "digest": ("", {"prompt": RACE}),
    "envelope": ("", {"request": claude_body(RACE), "headers": CLAUDE_HEADERS}),
    "envelope around a digest": ("", {"request": {"prompt": RACE}}),
    "envelope around text": ("", {"request": json.dumps(claude_body(RACE))}),
    "raw at the bare path": ("", claude_body(RACE)),
    "messages": ("/v1/messages?beta=true", claude_body(RACE)),
    "chat completions": ("/v1/chat/completions", chat_body(RACE)),
    "responses": ("/v1/responses", responses_body(RACE)),
    "any suffix": ("/some/gateway/of/ours", claude_body(RACE)),
    "suffix with a line break": ("/v1/%0Amessages%0A", claude_body(RACE)),
    "suffix with odd characters": ("/v1/%2e%2e/%E2%82%AC//messages", claude_body(RACE)),
}


@pytest.mark.parametrize(("path", "body"), FORMS.values(), ids=FORMS.keys())
def test_every_form_is_decided(client, path, body):
    answer = decide(client, body, path)
    assert (answer["kind"], answer["category"]["label"], answer["risk"]["label"]) == ("task", "debugging", "high")
    assert answer["model"] in CAREFUL


def test_risky_and_safe_turns_get_different_models(client):
    assert decide(client, {"prompt": RACE})["model"] in CAREFUL
    assert decide(client, {"prompt": TYPO})["model"] not in CAREFUL


def test_answer_is_as_documented_and_model_comes_first(client):
    response = client.post("/v1/decide", json={"prompt": RACE})
    assert response.text.startswith('{"model":"claude-opus-')
    answer = DecisionAnswer.model_validate(response.json())
    assert list(response.json()) == list(DecisionAnswer.model_fields)
    assert answer.latency_ms > 0


def test_heads_give_all_probabilities(client):
    answer = decide(client, {"prompt": RACE})
    for head, labels in HEADS.items():
        probabilities = answer[head]["probabilities"]
        assert tuple(probabilities) == labels
        assert sum(probabilities.values()) == pytest.approx(1)
        assert probabilities[answer[head]["label"]] == answer[head]["probability"] == max(probabilities.values())


def test_expected_cost_adds_up(client):
    for cost in decide(client, {"prompt": RACE})["expected_cost"]:
        assert cost["total"] == pytest.approx(cost["tokens"] + cost["switch"] + cost["failure"])


def test_headers_say_the_same_as_the_body(client):
    response = client.post("/v1/decide/v1/messages", json=claude_body(RACE))
    answer = response.json()
    expected = {
        "x-pointsman-model": answer["model"],
        "x-pointsman-provider": answer["provider"],
        "x-pointsman-category": "debugging",
        "x-pointsman-risk": "high",
        "x-pointsman-decision-id": answer["decision_id"],
        "x-pointsman-kind": answer["kind"],
        "x-route-model": answer["model"],
        "x-route-class": "debugging",
        "x-route-risk": "high",
    }
    assert {name: response.headers[name] for name in expected} == expected


def test_headers_are_there_when_nothing_was_assessed(client):
    response = client.post("/v1/decide/v1/messages", json=title_body(RACE))
    assert (response.headers["x-route-class"], response.headers["x-pointsman-risk"]) == ("none", "none")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("qwen/qwen3-coder:free 100%", "qwen/qwen3-coder:free 100%"),
        ("模型", "%E6%A8%A1%E5%9E%8B"),
        ("a\r\nset-cookie: b", "a%0D%0Aset-cookie: b"),
        ("ünï", "%C3%BCn%C3%AF"),
        ("\ud800", "?"),
        ("", ""),
    ],
)
def test_header_values_are_printable(text, value):
    assert header_value(text) == value


def test_session_comes_from_headers_envelope_and_digest(client):
    assert decide(client, claude_body(RACE), "/v1/messages", headers=CLAUDE_HEADERS)["session_id"] == SESSION
    assert decide(client, {"request": claude_body(TYPO), "headers": CLAUDE_HEADERS})["session_id"] == SESSION
    assert decide(client, {"request": claude_body(TYPO), "session_id": "mine"})["session_id"] == "mine"
    assert decide(client, {"prompt": TYPO, "session_id": "mine"})["session_id"] == "mine"


def test_title_request_is_background_and_not_assessed(client, assessor):
    answer = decide(client, title_body(RACE), "/v1/messages")
    assert (answer["kind"], answer["category"], answer["novelty"]) == ("background", None, None)
    assert assessor.n_calls == 0


def test_count_tokens_is_told_by_its_path(client, assessor):
    body = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": "foo"}]}
    assert decide(client, body, "/v1/messages/count_tokens?beta=true")["kind"] == "background"
    assert assessor.n_calls == 0


def test_request_sent_again_gets_the_same_decision(client, assessor):
    first = decide(client, claude_body(RACE), "/v1/messages", headers=CLAUDE_HEADERS)
    for _ in range(6):
        again = decide(client, claude_body(RACE), "/v1/messages", headers=CLAUDE_HEADERS)
        assert {**again, "latency_ms": 0} == {**first, "latency_ms": 0}
    assert assessor.n_calls == 1


def test_tool_loop_keeps_its_model_without_inference(client, assessor):
    first = decide(client, claude_body(RACE), "/v1/messages", headers=CLAUDE_HEADERS)
    loop = [
        decide(client, claude_body(RACE, tool_results=n), "/v1/messages", headers=CLAUDE_HEADERS) for n in (1, 2, 3)
    ]
    assert {answer["kind"] for answer in loop} == {"tool_loop"}
    assert {answer["model"] for answer in loop} == {first["model"]}
    assert assessor.n_calls == 1


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)], ids=["gzip", "deflate"]
)
def test_packed_body_is_read(client, encoding, pack):
    body = pack(json.dumps(claude_body(RACE)).encode())
    response = client.post("/v1/decide/v1/messages", content=body, headers={"content-encoding": encoding})
    assert response.json()["category"]["label"] == "debugging"


def test_large_body_is_read(client):
    answer = decide(client, claude_body(RACE, system=[{"type": "text", "text": "word " * 200_000}]), "/v1/messages")
    assert answer["category"]["label"] == "debugging"
    assert answer["context_tokens"] > 100_000


def test_decision_is_read_back_with_the_parts_of_its_time(client):
    answer = decide(client, claude_body(RACE), "/v1/messages", headers=CLAUDE_HEADERS)
    row = client.get(f"/v1/decisions/{answer['decision_id']}").json()
    assert (row["model"], row["session_id"], row["feedback"]) == (answer["model"], SESSION, [])
    assert row["assessment"]["risk"] == answer["risk"]["probabilities"]
    assert {"read", "queue", "classify", "decide", "total"} <= set(row["latency_ms"])
    assert row["latency_ms"]["total"] == pytest.approx(answer["latency_ms"], abs=0.001)
    assert (row["prompt"], row["context"]) == (None, None)


def test_decision_read_back_holds_every_term(client):
    answer = decide(client, claude_body(RACE, tool_results=0), "/v1/messages", headers=CLAUDE_HEADERS)
    row = client.get(f"/v1/decisions/{answer['decision_id']}").json()
    for cost in row["expected_cost"]:
        assert cost["failure"] == pytest.approx(cost["failure_probability"] * row["stakes"]["loss_usd"])
        assert {"tokens", "cached", "switch", "effort"} <= set(cost)
    assert (row["stakes"], row["excluded"], row["codes"]) == (answer["stakes"], answer["excluded"], answer["codes"])
    assert row["catalog_version"].startswith("anthropic-dashscope:")
    assert row["stakes"]["requests"] > 1


def test_person_may_name_the_model_in_a_header_or_the_prompt(client):
    headers = CLAUDE_HEADERS | {"x-pointsman-model": "claude-sonnet-5-5"}
    by_header = decide(client, claude_body(RACE), "/v1/messages", headers=headers)
    by_prompt = decide(client, {"prompt": f"@model:claude-haiku-5-5 {RACE}", "session_id": "other"})
    in_envelope = decide(client, {"request": {"prompt": TYPO}, "headers": {"x-pointsman-policy": "careful"}})
    assert (by_header["model"], by_prompt["model"]) == ("claude-sonnet-5-5", "claude-haiku-5-5")
    assert "explicit_model" in by_header["codes"]
    assert "explicit_model" in by_prompt["codes"]
    assert in_envelope["policy_version"].startswith("careful:")
    assert "explicit_policy" in in_envelope["codes"]


def test_unknown_decision_is_404(client):
    response = client.get("/v1/decisions/nobody")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "decision_not_found")
