"""Words and credentials that a request carries are nowhere afterwards: not in the store, not in the logs."""

import gzip
import io
import json
import logging
import re

import pytest
import redis
import sqlalchemy as sa
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.key_store import create_key
from pointsman.serving.keys import ROLES
from pointsman.serving.logs import LineFormatter
from pointsman.serving.redis_sessions import RedisSessions
from pointsman.serving.settings import load_settings
from pointsman.serving.store import METADATA, Store

from .clients import CLAUDE_HEADERS, RACE, claude_body, title_body
from .conftest import wait_until_ready
from .redis_server import RedisServer

SECRET = "hunter2-correct-horse"
CREDENTIALS = {
    "authorization": f"Bearer {SECRET}",
    "x-api-key": SECRET,
    "X-Api-Key": SECRET,
    "cookie": f"session={SECRET}",
    "proxy-authorization": SECRET,
    "x_api_key": SECRET,
    "x-goog-api-key": SECRET,
    "api-key": SECRET,
    "x-pointsman-key": SECRET,
}
#: What people paste into prompts, in the forms that scanners look for; none was ever valid.
PLANTED = (
    "AKIAPLANTED0EXAMPLE1",
    "ghp_planted0000000000000000000000000000",
    "postgresql://admin:planted-password@db.internal/prod",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.c2lnbmF0dXJl",
    "MIIEpAIBAAKCAQEAplantedplantedplanted",
    "4111-1111-1111-1111",
    "person@planted.example",
)


@pytest.fixture
def logged():
    """Everything that any logger says, as the service formats it, at the most talkative level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    handler.addFilter(lambda record: not record.name.startswith("http"))  # the test's own client
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def everything_stored(settings, tmp_path):
    store = Store(settings.database_url)
    with store.engine.connect() as connection:
        rows = [str(tuple(row)) for table in METADATA.sorted_tables for row in connection.execute(sa.select(table))]
    store.close()
    return "\n".join(rows), b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def send_secrets(client, assessor):
    """Send secret words in every form, through every path that has something to say about them."""
    prompt = f"{RACE} {SECRET}"
    bodies = [
        claude_body(prompt),
        claude_body(prompt, RACE),
        claude_body(prompt, tool_results=1),
        title_body(prompt),
        {"prompt": prompt},
        {"request": claude_body(prompt), "headers": CREDENTIALS, "policy": SECRET, "models": SECRET},
        {"unknown": SECRET},
        SECRET,
    ]
    for body in bodies:
        client.post("/v1/decide/v1/messages", json=body, headers=CLAUDE_HEADERS | CREDENTIALS)
        client.post("/v1/decide", json=body, headers=CREDENTIALS)
    client.post(f"/v1/decide/{SECRET}?key={SECRET}", json={"prompt": prompt})
    client.post("/v1/decide", content=SECRET, headers={"content-encoding": "gzip"})
    client.post("/v1/decide", content=gzip.compress(SECRET.encode())[:-3], headers={"content-encoding": "gzip"})
    client.post("/v1/classify", json={"inputs": [{"prompt": prompt, SECRET: SECRET}]})
    answer = client.post("/v1/decide", json={"prompt": f"{prompt}!"}).json()
    client.post("/v1/feedback", json={"decision_id": answer["decision_id"], "outcome": "failure", "comment": SECRET})
    client.post("/v1/feedback", json={"decision_id": SECRET, "outcome": SECRET})
    assessor.error = ValueError(f"cannot read {SECRET}")
    client.post("/v1/decide", json={"prompt": f"{prompt}?"})
    return answer


def test_secrets_are_neither_stored_nor_logged(settings, router, assessor, tmp_path, logged):
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        send_secrets(client, assessor)
        metrics = client.get("/metrics").text
    rows, raw = everything_stored(settings, tmp_path)
    assert "debugging" in rows  # there is something to search in
    assert SECRET not in rows
    assert SECRET.encode() not in raw
    assert "decided" in logged.getvalue()
    assert SECRET not in logged.getvalue()
    assert SECRET not in metrics


def test_prompts_are_stored_when_asked_for_and_credentials_never(sqlite_url, router, assessor, tmp_path, logged):
    settings = load_settings(database_url=sqlite_url, store_text=True)
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        body = claude_body("my words")
        client.post("/v1/decide/v1/messages", json=body, headers=CLAUDE_HEADERS | CREDENTIALS)
    rows, raw = everything_stored(settings, tmp_path)
    assert "my words" in rows
    assert SECRET.encode() not in raw
    assert "my words" not in logged.getvalue()


def test_credentials_do_not_reach_the_reader(settings, router, monkeypatch):
    seen = []
    read = router.read
    monkeypatch.setattr(
        router, "read", lambda body, headers=None, **more: seen.append(headers) or read(body, headers, **more)
    )
    with TestClient(create_app(settings, router)) as client:
        client.post("/v1/decide/v1/messages", json=claude_body(RACE), headers=CLAUDE_HEADERS | CREDENTIALS)
        client.post("/v1/decide", json={"request": claude_body(RACE), "headers": CLAUDE_HEADERS | CREDENTIALS})
    assert SECRET not in json.dumps(seen)
    assert all(headers["x-app"] == "cli" for headers in seen)


@pytest.fixture
def redis_server():
    server = RedisServer().start()
    yield server
    server.remove()


def plant(client, secret, keys):
    """Put a secret wherever a person or a client puts text; the deciders' key goes along."""
    headers = CLAUDE_HEADERS | {"x-pointsman-key": keys["decide"]}
    prompts = [f"{RACE} {secret}", f"@model:{secret} {RACE}", f"edit conf/{secret}.py", f"{secret}\n" * 50]
    for prompt in prompts:
        client.post("/v1/decide/v1/messages", json=claude_body(prompt), headers=headers)
        client.post("/v1/decide/v1/messages", json=claude_body(RACE, prompt, tool_results=2), headers=headers)
        client.post(
            "/v1/decide", json={"prompt": prompt, "context": [{"role": "user", "text": secret}]}, headers=headers
        )
        client.post("/v1/classify", json={"inputs": [{"prompt": prompt}]}, headers=headers)
    system = claude_body(RACE, system=[{"type": "text", "text": secret}], tools=[{"name": "T", "description": secret}])
    answer = client.post("/v1/decide/v1/messages", json=system, headers=headers).json()
    judged = {"decision_id": answer["decision_id"], "outcome": "failure", "comment": secret}
    assert client.post("/v1/feedback", json=judged, headers={"x-pointsman-key": keys["feedback"]}).status_code == 201
    # Refused at the door, with the secret in place of the key and in the path.
    client.post(f"/v1/decide/{secret}", json={"prompt": secret}, headers={"x-pointsman-key": secret})


def test_planted_secrets_are_in_no_file_table_log_metric_or_session(sqlite_url, router, tmp_path, logged, redis_server):
    store = Store(sqlite_url)
    keys = {role: create_key(store, role, [role], actor="test")[0] for role in ROLES}
    store.close()
    router.sessions = RedisSessions(redis_server.url, timeout_s=10)
    settings = load_settings(
        database_url=sqlite_url, keys="on", rate_limit="9000/minute", sessions_url=redis_server.url
    )
    with TestClient(create_app(settings, router)) as client:
        wait_until_ready(client)
        for secret in PLANTED:
            plant(client, secret, keys)
        metrics = client.get("/metrics", headers={"x-pointsman-key": keys["operate"]}).text
        with redis.Redis.from_url(redis_server.url) as connection:
            sessions = b"".join(connection.get(name) + name for name in connection.scan_iter())
    rows, raw = everything_stored(settings, tmp_path)
    assert "debugging" in rows
    assert "pointsman:session" in sessions.decode("latin-1")
    everything = "\n".join([rows, raw.decode("latin-1"), logged.getvalue(), metrics, sessions.decode("latin-1")])
    searched = [*PLANTED, "planted-password", *(key.split("_")[2] for key in keys.values())]
    assert [secret for secret in searched if secret in everything] == []


def test_unforeseen_fault_is_answered_and_not_quoted(client, monkeypatch, logged):
    def fail(_):
        raise ValueError(SECRET)

    monkeypatch.setattr("pointsman.serving.routes.health.catalog_answer", fail)
    response = client.get("/v1/models")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal_error")
    assert "failed error=ValueError at=" in logged.getvalue()
    assert SECRET not in logged.getvalue() + response.text


def test_log_lines_are_one_line_each():
    record = logging.makeLogRecord({"msg": "decided", "name": "n", "levelname": "INFO", "cause": "a\nb c", "n": 3})
    line = LineFormatter().format(record)
    assert "\n" not in line
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info n: ", line)
    assert line.endswith('n: decided cause="a\\nb c" n=3')
