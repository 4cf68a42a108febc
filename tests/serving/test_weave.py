"""The endpoints of Weave Router's `policy_router_v1`, as its published description has them."""

import re
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.weave import decision_id_of

from .clients import RACE, TYPO
from .conftest import wait_until_ready
from .gateways.processes import eventually
from .processes import ServeProcess

OPUS = {
    "roster_id": "anthropic/claude-opus-5-5",
    "catalog_id": "claude-opus-5-5",
    "provider": "anthropic",
    "upstream_id": "claude-opus-5-5",
    "preference_rank": 0,
    "estimated_cost_usd": 0.2,
    "capabilities": {"context_window": 1_000_000, "tier": "high", "supports_tools": True, "supports_images": True},
}
HAIKU = OPUS | {
    "roster_id": "weave/haiku",
    "catalog_id": "claude-haiku-5-5",
    "upstream_id": "claude-haiku-5-5",
    "estimated_cost_usd": 0.01,
    "capabilities": {"tier": "low"},
}


def asked(prompt, **fields):
    return {
        "schema_version": "policy_router_v1",
        "strategy": "pointsman",
        "execution_mode": "serving",
        "route_id": "route-1",
        "client_app": "claude-code",
        "prompt_text": prompt,
        "latest_user_text": prompt,
        "conversation_messages": [{"role": "user", "text": prompt}],
        "available_tools": ["Read", "Edit"],
        "has_tools": True,
        "estimated_input_tokens": 12_000,
        "feedback_key": "session-1",
        "feedback_role": "default",
        "training_allowed": True,
        "debug_enabled": False,
        "candidates": [OPUS, HAIKU],
    } | fields


def routed(client, prompt, **fields):
    return client.post("/route", json=asked(prompt, **fields)).raise_for_status().json()


def stored(client):
    return client.app.state.services.store


def decided_sessions(client):
    client.app.state.services.recorder.stop(5)
    with stored(client).engine.connect() as connection:
        return set(connection.exec_driver_sql("SELECT session_id FROM decisions").scalars().all())


def feedback_rows(client):
    with stored(client).engine.connect() as connection:
        return connection.exec_driver_sql("SELECT outcome FROM feedback").scalars().all()


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_answer(client, path):
    assert client.get(path).status_code == 200


def test_capabilities_declare_what_there_is(client):
    declared = client.get("/capabilities").json()
    assert declared.pop("schema_version") == "policy_router_v1"
    assert {name for name, there in declared.items() if there} == {"reports_feedback", "supports_shadow"}


@pytest.mark.parametrize(("prompt", "chosen"), [(RACE, OPUS), (TYPO, HAIKU)], ids=["careful", "cheap"])
def test_one_candidate_is_selected_under_its_own_name(client, prompt, chosen):
    answer = routed(client, prompt)
    assert (answer["selected_roster_id"], answer["selected_provider"]) == (chosen["roster_id"], "anthropic")
    assert (answer["schema_version"], answer["route_id"]) == ("policy_router_v1", "route-1")
    assert set(answer["candidate_scores"]) == {OPUS["roster_id"], HAIKU["roster_id"]}
    assert answer["score"] == answer["candidate_scores"][chosen["roster_id"]]
    assert re.fullmatch(r"\w+/\w+", answer["policy_route_key"])


def test_only_what_is_offered_is_selected(client):
    assert routed(client, RACE, candidates=[HAIKU])["selected_roster_id"] == HAIKU["roster_id"]


def test_candidates_without_bindings_are_read_too(client):
    fields = {"candidates": None, "candidate_models": ["anthropic/claude-haiku-5-5", "x/y"]}
    fields["candidate_providers"] = {"anthropic/claude-haiku-5-5": "vertex"}
    answer = routed(client, TYPO, **fields)
    assert (answer["model"], answer["selected_provider"]) == ("anthropic/claude-haiku-5-5", "vertex")


@pytest.mark.parametrize(
    ("preferred", "chosen"), [([], "b"), (["a"], "a")], ids=["the dearest of the highest tier", "the preferred one"]
)
def test_candidates_that_nobody_knows_get_the_most_careful(client, preferred, chosen):
    tiers = {"a": ("low", 9.0), "b": ("high", 0.5), "c": ("high", 0.1)}
    candidates = [
        {"roster_id": name, "provider": "p", "capabilities": {"tier": tier}, "estimated_cost_usd": cost}
        for name, (tier, cost) in tiers.items()
    ]
    answer = routed(client, RACE, candidates=candidates, preferred_models=preferred)
    assert answer["selected_roster_id"] == chosen
    assert 'cause="no_known_candidate"' in client.get("/metrics").text


def test_tool_loop_stays_on_its_model_without_inference(client, assessor):
    first = routed(client, TYPO)
    messages = [
        {"role": "user", "text": TYPO},
        {"role": "assistant", "tool_calls": [{"name": "Read", "input_keys": ["path"]}]},
        {"role": "user", "tool_results": [{"tool_use_id": "t1", "is_error": False}]},
    ]
    later = routed(client, TYPO, conversation_messages=messages, route_id="route-2")
    assert later["selected_roster_id"] == first["selected_roster_id"]
    assert assessor.n_calls == 1


@pytest.mark.parametrize(("later", "chosen"), [([], "qwen"), ([{"role": "system", "text": "Environment"}], "opus")])
def test_model_that_lacks_the_shape_of_the_body_is_avoided(client, later, chosen):
    qwen = HAIKU | {"roster_id": "qwen", "catalog_id": "qwen3-coder-plus", "upstream_id": "qwen3-coder-plus"}
    messages = [{"role": "user", "text": TYPO}, *later]
    answer = routed(client, TYPO, conversation_messages=messages, candidates=[OPUS | {"roster_id": "opus"}, qwen])
    assert answer["selected_roster_id"] == chosen


def test_size_that_weave_estimates_counts(client):
    small = OPUS | {"roster_id": "small", "catalog_id": "claude-haiku-4-5", "upstream_id": "claude-haiku-4-5"}
    fields = {"candidates": [small, HAIKU | {"catalog_id": "claude-haiku-5-5"}], "estimated_input_tokens": 500_000}
    assert routed(client, RACE, **fields)["selected_roster_id"] == HAIKU["roster_id"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"schema_version": "policy_router_v9"}, "schema_version is not 'policy_router_v1'"),
        ({"candidates": []}, "candidates names no model"),
        ({"execution_mode": "both"}, "execution_mode is neither 'serving' nor 'shadow'"),
    ],
)
def test_what_the_contract_lacks_is_refused_in_its_shape(client, fields, problem):
    answer = client.post("/route", json=asked(RACE, **fields))
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(problem)


@pytest.mark.parametrize(
    "odd",
    [
        {"conversation_messages": "none"},
        {"conversation_messages": [None, {"role": 7}, {"role": "user", "text": 3, "tool_results": {}}]},
        {"prompt_text": None, "latest_user_text": None, "conversation_messages": None},
        {"estimated_input_tokens": "many", "available_tools": {"a": 1}, "feedback_key": 7},
        {"candidates": [None, 7, OPUS | {"capabilities": [], "estimated_cost_usd": "dear", "provider": None}]},
    ],
)
def test_odd_requests_get_a_selection(client, odd):
    assert routed(client, RACE, **odd)["selected_roster_id"] in {OPUS["roster_id"], HAIKU["roster_id"]}


@pytest.mark.parametrize(("rating", "outcome"), [("up", "success"), ("down", "failure")])
@pytest.mark.parametrize("key", [{"route_id": "route-1"}, {"feedback_key": "session-1", "feedback_role": "default"}])
def test_verdict_is_stored_with_its_decision(client, rating, outcome, key):
    routed(client, RACE)
    assert client.post("/feedback", json={"rating": rating, **key}).json() == {"ok": True, "stored": True}
    assert feedback_rows(client) == [outcome]


@pytest.mark.parametrize(
    "fields", [{"training_allowed": False}, {"training_allowed": "yes"}, {"execution_mode": "shadow"}]
)
def test_nothing_is_learned_where_it_is_not_allowed(client, fields):
    routed(client, RACE, **fields)
    assert client.post("/feedback", json={"rating": "up", "route_id": "route-1"}).json()["stored"] is False
    assert feedback_rows(client) == []


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Two services on one database, each a process of its own."""
    database = tmp_path_factory.mktemp("shared") / "records.sqlite"
    folders = [tmp_path_factory.mktemp(name) for name in ("one", "other")]
    services = [ServeProcess(folder, f"sqlite:///{database}") for folder in folders]
    yield [service.start().http for service in services]
    for service in services:
        service.kill()


@pytest.mark.parametrize("name", ["route_id", "feedback_key"])
def test_verdict_finds_the_decision_of_another_worker(workers, name):
    one, other = workers
    fields = {"route_id": uuid4().hex, "feedback_key": uuid4().hex, "feedback_role": ""}
    routed(one, RACE, **fields)
    verdict = {"rating": "down", name: fields[name]}
    # A decision is written a moment after its answer.
    eventually(lambda: other.post("/feedback", json=verdict).json()["stored"])
    assert other.post("/outcome", json={"route_id": fields["route_id"]}).json() == {"ok": True}


def test_last_decision_of_a_session_counts_whichever_worker_took_it(workers):
    session = {"feedback_key": uuid4().hex, "feedback_role": ""}
    for number, worker in enumerate([*workers, workers[0]]):
        routed(worker, f"{RACE} {number}", route_id=f"{session['feedback_key']}-{number}", **session)
    last = decision_id_of(f"{session['feedback_key']}-2")
    eventually(lambda: workers[1].get(f"/v1/decisions/{last}").status_code == 200)
    assert workers[1].post("/feedback", json={"rating": "up", **session}).json()["stored"]
    row = workers[1].get(f"/v1/decisions/{last}").json()
    assert [given["outcome"] for given in row["feedback"]] == ["success"]


def test_what_another_worker_may_not_learn_from_is_not_judged(workers):
    session = {"feedback_key": uuid4().hex, "feedback_role": ""}
    routed(workers[0], RACE, route_id=f"{session['feedback_key']}-0", training_allowed=False, **session)
    with pytest.raises(AssertionError, match="did not come to hold"):
        eventually(lambda: workers[1].post("/feedback", json={"rating": "up", **session}).json()["stored"], wait_s=1)


def test_shadow_leaves_no_record_and_moves_no_session(client):
    before = [routed(client, prompt)["selected_roster_id"] for prompt in (RACE, TYPO)]
    assert before == [OPUS["roster_id"]] * 2
    fields = {"execution_mode": "shadow", "route_id": "r"}
    assert routed(client, TYPO, **fields)["selected_roster_id"] == HAIKU["roster_id"]
    assert routed(client, TYPO)["selected_roster_id"] == OPUS["roster_id"]
    assert decided_sessions(client) == {"session-1/default"}


@pytest.mark.parametrize(("allowed", "kept"), [(True, RACE), (False, None)])
def test_text_is_kept_only_where_learning_is_allowed(settings, router, allowed, kept):
    with TestClient(create_app(settings.model_copy(update={"store_text": True}), router)) as client:
        wait_until_ready(client)
        routed(client, RACE, training_allowed=allowed)
        client.app.state.services.recorder.stop(5)
        with stored(client).engine.connect() as connection:
            (row,) = connection.exec_driver_sql("SELECT decision_id FROM decisions").scalars().all()
        assert stored(client).decision(row).prompt == kept


@pytest.mark.parametrize("body", [{"route_id": "nobody", "rating": "up"}, {"rating": "sideways"}, {}])
def test_feedback_on_nothing_is_acknowledged(client, body):
    assert client.post("/feedback", json=body).json() == {"ok": True, "stored": False}


def test_outcome_is_acknowledged(client):
    body = {"route_id": "route-1", "served_model": "weave/haiku", "status": "success"}
    assert client.post("/outcome", json=body).json() == {"ok": True}
