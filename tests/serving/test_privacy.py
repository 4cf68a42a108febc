"""Words and credentials that a request carries are nowhere afterwards: not in the store, not in the logs."""

import gzip
import io
import json
import logging
import re

import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.logs import LineFormatter
from pointsman.serving.settings import load_settings
from pointsman.serving.store import DECISIONS, FEEDBACK, Store

from .clients import CLAUDE_HEADERS, RACE, claude_body, title_body
from .conftest import wait_until_ready

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
}


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
        rows = [str(tuple(row)) for table in (DECISIONS, FEEDBACK) for row in connection.execute(sa.select(table))]
    store.close()
    return "\n".join(rows), b"".join(path.read_bytes() for path in tmp_path.glob("records.sqlite*"))


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
