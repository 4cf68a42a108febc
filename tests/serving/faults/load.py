"""Clients that ask at a steady rate and judge some answers; they count what was not answered and remember the rest."""

import itertools
import json
import threading
import time

import httpx

from ..clients import CLAUDE_HEADERS, claude_body
from ..processes import ROOT

N_CLIENTS = 4
#: Requests of one turn: the prompt, then its tool results.
N_STEPS = 4


def prompts():
    """Turns of people's own wording, short and long, in several languages."""
    files = sorted((ROOT / "data" / "turns").glob("*.jsonl"))
    rows = itertools.chain.from_iterable(file.read_text(encoding="utf-8").splitlines()[:60] for file in files)
    return [json.loads(row)["prompt"] for row in rows]


class Load:
    """What `N_CLIENTS` clients asked of one service."""

    def __init__(self, url):
        self._url, self._prompts = url, prompts()
        self._numbers = itertools.count()
        self._is_over = threading.Event()
        self.errors, self.seconds = [], []
        #: Every decision that was answered, and all feedback that was acknowledged.
        self.decided, self.judged = set(), {}

    def run(self, seconds, rate=None):
        """Ask for so long; without a rate, as often as answers come. Return answers per second."""
        timer = threading.Timer(seconds, self._is_over.set)
        timer.start()
        return self.run_beside(timer.join, rate)

    def run_beside(self, work, rate=None):
        """Ask until `work` returns."""
        self._is_over.clear()
        n_before, started = len(self.seconds), time.monotonic()
        clients = [
            threading.Thread(target=self._work, args=[rate and rate / N_CLIENTS], daemon=True) for _ in range(N_CLIENTS)
        ]
        for client in clients:
            client.start()
        try:
            work()
        finally:
            self._is_over.set()
            for client in clients:
                client.join()
        return (len(self.seconds) - n_before) / (time.monotonic() - started)

    def quantile_ms(self, share):
        return sorted(self.seconds)[int(len(self.seconds) * share)] * 1000

    def _work(self, rate):
        with httpx.Client(base_url=self._url, trust_env=False, timeout=30) as http:
            due = time.monotonic()
            while not self._is_over.is_set():
                number = next(self._numbers)
                try:
                    decision_id = self._ask(http, number)
                    if decision_id and number % (2 * N_STEPS) == 0:
                        self._judge(http, decision_id)
                except httpx.TransportError as exc:
                    self.errors.append(repr(exc))
                if rate is not None:
                    # What came late is caught up with: a rate that gives way to slow answers would hide them.
                    due += 1 / rate
                    time.sleep(max(0.0, due - time.monotonic()))

    def _ask(self, http, number):
        turn, step = divmod(number, N_STEPS)
        headers = CLAUDE_HEADERS | {"x-claude-code-session-id": f"soak-{turn}"}
        body = claude_body(self._prompts[turn % len(self._prompts)], tool_results=step)
        started = time.monotonic()
        response = http.post("/v1/decide/v1/messages", json=body, headers=headers)
        self.seconds.append(time.monotonic() - started)
        if response.status_code != 200 or not response.json()["model"]:
            self.errors.append(response.text)
            return None
        decision_id = response.json()["decision_id"]
        self.decided.add(decision_id)
        return decision_id

    def _judge(self, http, decision_id):
        """Say that it went well; 503 while the database is away is what is promised."""
        key = f"judged-{decision_id}"
        body = {"decision_id": decision_id, "outcome": "success"}
        response = http.post("/v1/feedback", json=body, headers={"idempotency-key": key})
        if response.status_code == 201:
            self.judged[key] = decision_id
        elif response.status_code != 503:
            self.errors.append(response.text)
