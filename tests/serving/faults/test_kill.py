"""Killed without warning under load, again and again: acknowledged feedback is there, once."""

import random
import threading
import time

import httpx
import pytest
import sqlalchemy as sa

from pointsman.serving.settings import load_settings
from pointsman.serving.store import DECISIONS, FEEDBACK, Store

from ..processes import serving


class Client:
    """Asks and judges without pause; judges again, under the same key, what it got no answer to."""

    def __init__(self, url):
        self.url, self.acknowledged, self.wrong = url, {}, []
        self.n_sent_again = 0
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=[number]) for number in range(4)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, worker):
        number = 0
        with httpx.Client(base_url=self.url, trust_env=False, timeout=20) as http:
            while not self._is_over.is_set():
                number += 1
                key = f"{worker}-{number}"
                try:
                    asked = http.post("/v1/decide", json={"prompt": "fix the race", "session_id": key})
                except httpx.TransportError:
                    time.sleep(0.05)
                    continue
                self._judge(http, key, asked.json()["decision_id"])

    def _judge(self, http, key, decision_id):
        body, headers = {"decision_id": decision_id, "outcome": "success"}, {"idempotency-key": key}
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                response = http.post("/v1/feedback", json=body, headers=headers)
            except httpx.TransportError:
                self.n_sent_again += 1
                time.sleep(0.05)
                continue
            if response.status_code == 201:
                self.acknowledged[key] = decision_id
            # 404: the decision was in memory when the process was killed; nobody was told that it is kept.
            elif response.status_code != 404:
                self.wrong.append(response.text)
            if response.status_code != 503:
                return


def kill_under_load(tmp_path, database_url, n_kills):
    with serving(tmp_path, load_settings(database_url=database_url).database_url) as service:
        with Client(f"http://127.0.0.1:{service.port}") as client:
            for _ in range(n_kills):
                n_before = len(client.acknowledged)
                service.until(lambda n=n_before: len(client.acknowledged) > n + 20)
                time.sleep(random.uniform(0, 0.1))
                service.kill()
                service.start(is_ready=False)
            n_before = len(client.acknowledged)
            service.until(lambda: len(client.acknowledged) > n_before + 20)
        service.stop()
    return client


def feedback_in(database_url):
    store = Store(load_settings(database_url=database_url).database_url)
    with store.engine.connect() as connection:
        rows = connection.execute(sa.select(FEEDBACK.c.feedback_id, FEEDBACK.c.decision_id)).all()
        n_orphans = connection.execute(
            sa.select(sa.func.count()).where(FEEDBACK.c.decision_id.not_in(sa.select(DECISIONS.c.decision_id)))
        ).scalar_one()
    store.close()
    return rows, n_orphans


@pytest.mark.parametrize(
    ("kind", "n_kills"),
    [
        pytest.param("sqlite", 1, id="sqlite, once"),
        pytest.param("sqlite", 20, id="sqlite, 20 times", marks=pytest.mark.fault),
        pytest.param("postgres", 20, id="postgres, 20 times", marks=[pytest.mark.fault, pytest.mark.postgres]),
    ],
)
def test_acknowledged_feedback_survives_kills_under_load(request, tmp_path, kind, n_kills):
    url = request.getfixturevalue(f"{kind}_url")
    client = kill_under_load(tmp_path, url, n_kills)
    rows, n_orphans = feedback_in(url)
    kept = {row.feedback_id: row.decision_id for row in rows}
    missing = {key: given for key, given in client.acknowledged.items() if kept.get(key) != given}
    print(f"{kind}: {n_kills} kills, {len(client.acknowledged)} acknowledged, {client.n_sent_again} sent again")
    assert (missing, client.wrong, n_orphans, len(rows) - len(kept)) == ({}, [], 0, 0)
