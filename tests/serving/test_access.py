"""Whoever has no key gets no answer: every route, every role, every kind of wrong key."""

import time
from datetime import timedelta

import pytest
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.errors import SettingsError
from pointsman.serving.key_store import create_key, revoke_key, rotate_key
from pointsman.serving.keyring import REFRESH_S
from pointsman.serving.keys import ROLES
from pointsman.serving.settings import load_settings
from pointsman.serving.store import Store

from .clients import RACE, claude_body
from .conftest import wait_until_ready

OPEN = {
    "/healthz",
    "/livez",
    "/readyz",
    "/docs",
    "/openapi.json",
    "/",
    "/console/sign-in",
    "/console/sign-out",
    "/console/static/0/console.css",
}
ASKED = {"json": {"prompt": RACE}}


@pytest.fixture
def keys(sqlite_url):
    """A key of each role, by role."""
    store = Store(sqlite_url)
    yield {role: create_key(store, role, [role], actor="test")[0] for role in ROLES}
    store.close()


@pytest.fixture
def store_of_keys(sqlite_url, keys):
    store = Store(sqlite_url)
    yield store
    store.close()


@pytest.fixture
def guarded(sqlite_url, keys, router):
    """The app with keys on."""
    with TestClient(create_app(load_settings(database_url=sqlite_url, keys="on"), router)) as client:
        wait_until_ready(client)
        yield client


def sent(key):
    return {"x-pointsman-key": key}


def metrics_of(client, keys):
    return client.get("/metrics", headers=sent(keys["operate"])).text


def routes_of(app):
    for route in app.routes:
        yield from routes_of(route.original_router) if hasattr(route, "original_router") else [route.path]


def test_every_route_but_the_open_ones_asks_for_a_key(guarded, router, keys):
    paths = {
        path.replace("{path:any}", "v1/messages")
        .replace("{decision_id}", "x")
        .replace("{digest}/{name:path}", "0/console.css")
        for path in routes_of(guarded.app)
    }
    refused = {path for path in paths if guarded.get(path, follow_redirects=False).status_code == 401}
    assert paths - refused == OPEN
    assert len(refused) >= 7


def test_path_that_is_nowhere_asks_for_a_key_too(guarded, keys):
    assert guarded.get("/v1/nothing").status_code == 401
    assert guarded.get("/v1/nothing", headers=sent(keys["decide"])).status_code == 403
    assert guarded.get("/v1/nothing", headers=sent(keys["operate"])).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "roles"),
    [
        ("POST", "/v1/decide", {"decide"}),
        ("POST", "/v1/decide/v1/messages", {"decide"}),
        ("POST", "/v1/classify", {"decide"}),
        ("GET", "/v1/models", {"decide", "review", "operate"}),
        ("POST", "/v1/feedback", {"feedback"}),
        ("GET", "/capabilities", {"decide"}),
        ("POST", "/route", {"decide"}),
        ("POST", "/outcome", {"feedback"}),
        ("POST", "/feedback", {"feedback"}),
        ("GET", "/v1/decisions/none", {"review"}),
        ("GET", "/info", {"operate"}),
        ("GET", "/metrics", {"operate"}),
        ("GET", "/console/live", {"view", "review", "operate"}),
        ("GET", "/console/models", {"view", "review", "operate"}),
        ("GET", "/console/nowhere", {"view", "review", "operate"}),
        ("GET", "/console/review", {"review"}),
        ("GET", "/console/review/agreement", {"review"}),
        ("GET", "/console/audit", {"operate"}),
    ],
)
def test_each_role_opens_its_own_routes_alone(guarded, keys, method, path, roles):
    statuses = {role: guarded.request(method, path, headers=sent(keys[role])).status_code for role in ROLES}
    assert {role for role, status in statuses.items() if status != 403} == roles
    assert 401 not in statuses.values()


def test_key_lets_a_decision_through(guarded, keys):
    for headers in (sent(keys["decide"]), {"authorization": f"Bearer {keys['decide']}"}):
        response = guarded.post("/v1/decide", headers=headers, **ASKED)
        assert (response.status_code, response.json()["kind"]) == (200, "task")


def test_providers_credentials_beside_the_key_do_no_harm(guarded, keys):
    headers = sent(keys["decide"]) | {"authorization": "Bearer sk-provider", "x-api-key": "sk-provider"}
    assert guarded.post("/v1/decide/v1/messages", json=claude_body(RACE), headers=headers).status_code == 200


def wrong_keys(keys):
    right = keys["decide"]
    mark, key_id, secret = right.split("_")
    other = keys["review"].split("_")
    yield from ("", " ", "x", right[:-1], right + "0", f"{mark}_{key_id}_", f"{mark}_{key_id}_{secret[::-1]}")
    yield from (f"{mark}_{key_id}_{other[2]}", f"{mark}_{other[1]}_{secret}", f"{mark}_000000000000_{secret}")
    yield from ("psm_" + "x" * 5000, "\xff\xfe", "' OR 1=1 --")


def test_wrong_key_gets_401_and_never_a_decision(guarded, keys, assessor):
    assessor.n_calls = 0
    for wrong in wrong_keys(keys):
        response = guarded.post("/v1/decide", headers={"x-pointsman-key": wrong.encode("latin-1")}, **ASKED)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthenticated"), wrong
        assert response.headers["www-authenticate"] == "Bearer"
        assert "x-pointsman-model" not in response.headers
    assert assessor.n_calls == 0


def test_refusal_says_what_was_found_and_what_to_do(guarded, keys):
    none = guarded.post("/v1/decide", **ASKED).json()["error"]["message"]
    wrong = guarded.post("/v1/decide", headers=sent("psm_x"), **ASKED).json()["error"]["message"]
    role = guarded.post("/v1/decide", headers=sent(keys["review"]), **ASKED).json()["error"]
    assert none.startswith("The request carries no key. Send one as 'x-pointsman-key: psm_...'")
    assert wrong.startswith("The key is unknown, revoked or expired.")
    assert (role["code"], role["message"][:34]) == ("forbidden", "The key lacks the role 'decide'. M")


def test_refusals_are_counted_by_cause(guarded, keys):
    guarded.post("/v1/decide", **ASKED)
    guarded.post("/v1/decide", headers=sent(keys["review"]), **ASKED)
    text = metrics_of(guarded, keys)
    assert 'pointsman_refused_requests_total{cause="unauthenticated"} 1.0' in text
    assert 'pointsman_refused_requests_total{cause="forbidden"} 1.0' in text


def test_new_key_works_at_once(guarded, store_of_keys):
    text, _ = create_key(store_of_keys, "late", ["decide"], actor="test")
    assert guarded.post("/v1/decide", headers=sent(text), **ASKED).status_code == 200


def becomes(status, ask):
    deadline = time.monotonic() + 10 * REFRESH_S
    while ask().status_code != status:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_revoked_key_is_refused_soon(guarded, keys, store_of_keys):
    assert guarded.post("/v1/decide", headers=sent(keys["decide"]), **ASKED).status_code == 200
    revoke_key(store_of_keys, "decide", actor="test")
    becomes(401, lambda: guarded.post("/v1/decide", headers=sent(keys["decide"]), **ASKED))


def test_both_keys_work_while_one_is_rotated(guarded, keys, store_of_keys):
    text, _, _ = rotate_key(store_of_keys, "decide", actor="test", grace=timedelta(hours=1))
    for key in (text, keys["decide"]):
        assert guarded.post("/v1/decide", headers=sent(key), **ASKED).status_code == 200


def test_known_keys_work_while_the_database_is_away(guarded, keys, monkeypatch):
    def fail(_):
        from pointsman.serving.errors import StoreUnavailableError

        raise StoreUnavailableError("away")

    monkeypatch.setattr("pointsman.serving.keyring.read_keys", fail)
    assert guarded.post("/v1/decide", headers=sent("psm_000000000000_00"), **ASKED).status_code == 401
    assert guarded.post("/v1/decide", headers=sent(keys["decide"]), **ASKED).status_code == 200
    assert "pointsman_store_failures_total 1.0" in metrics_of(guarded, keys)


def test_no_key_is_asked_for_on_loopback(client):
    assert client.post("/v1/decide", **ASKED).status_code == 200


@pytest.mark.parametrize(
    ("given", "is_checked"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "127.0.0.2"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "10.0.0.5"}, True),
        ({"host": "my-machine"}, True),
        ({"host": "0.0.0.0", "keys": "off"}, False),
        ({"keys": "on"}, True),
    ],
    ids=str,
)
def test_keys_are_asked_for_wherever_others_reach(given, is_checked):
    assert load_settings(**given).checks_keys() is is_checked


def test_public_address_without_keys_does_not_start(sqlite_url, router):
    app = create_app(load_settings(database_url=sqlite_url, host="0.0.0.0"), router)
    ways_out = r"'0\.0\.0\.0' can be reached .* no active API key\. .*keys create.*127\.0\.0\.1.*POINTSMAN_KEYS=off"
    with pytest.raises(SettingsError, match=ways_out), TestClient(app):
        pass


def test_public_address_starts_once_there_is_a_key(sqlite_url, keys, router):
    with TestClient(create_app(load_settings(database_url=sqlite_url, host="0.0.0.0"), router)) as client:
        assert client.post("/v1/decide", **ASKED).status_code == 401


def test_address_that_the_settings_do_not_know_of_asks_for_a_key(settings, router):
    with TestClient(create_app(settings, router), base_url="http://10.0.0.5") as client:
        assert client.post("/v1/decide", **ASKED).status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/v1/decide", "/v1/nothing"])
def test_every_answer_carries_the_security_headers(client, path):
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "strict-transport-security" not in headers


def test_strict_transport_is_for_https_alone(settings, router):
    with TestClient(create_app(settings, router), base_url="https://testserver") as client:
        assert client.get("/healthz").headers["strict-transport-security"] == "max-age=31536000"
    with TestClient(create_app(settings, router)) as client:
        assert client.post("/v1/feedback", content="{").headers["x-frame-options"] == "DENY"
