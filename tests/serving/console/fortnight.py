"""Two weeks of a small team, decided by the router that ships, for pages to be looked at."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from pointsman.classifier.assessment import Kind
from pointsman.classifier.records import DecisionRecord
from pointsman.serving.console.reviews import save_review

from ..rows import feedback_row

TURNS = Path(__file__).parents[3] / "data" / "turns"
N_SESSIONS = 36
PROJECTS = ("website", "billing", "infrastructure")
#: What people say next in a session.
NEXT = ("continue", "yes, do it", "still fails with the same error", "now add a test for it", "great, commit it")
OUTCOMES = ("success", "success", "failure", "success", "corrected")


def first_prompts():
    """Short prompts of the project's own turns, each with what two careful readers would say of it."""
    lines = (TURNS / "everyday.jsonl").read_text(encoding="utf-8").splitlines()
    lines += (TURNS / "production.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    short = [row for row in rows if row["lang"] == "en" and not row["context"] and 30 < len(row["prompt"]) < 260]
    return short[:: len(short) // N_SESSIONS][:N_SESSIONS]


def records_of(router):
    """Return decided records with the labels of their first turns, oldest first."""
    now = datetime.now(UTC).replace(microsecond=0)
    found, labels = [], {}
    for n, row in enumerate(first_prompts()):
        at = now - timedelta(days=13 - n * 13 // (N_SESSIONS - 1), hours=6 - n % 6, minutes=7 * n % 60)
        session, context = f"{uuid4()}", []
        for turn_number, prompt in enumerate((row["prompt"], *NEXT[n % 3 : n % 3 + n % 4])):
            body = {"prompt": prompt, "context": context, "context_tokens": 9_000 + 7_500 * turn_number + 900 * n}
            turn = router.read(body, {}, session_id=session)
            decision = router.decide_turn(turn)
            at += timedelta(minutes=9 + n % 5)
            record = DecisionRecord.of(turn, decision, created_at=moment(at)).with_text(turn)
            record = replace(record, project=PROJECTS[n % 3], latency_ms={"total": 5.0 + (7 * n + turn_number) % 11})
            found.append(record)
            found += tool_loop(record, at, n % 5)
            context = [*context, {"role": "user", "text": prompt}, {"role": "assistant", "text": "Done."}][-4:]
            if turn_number == 0:
                labels[record.decision_id] = {head: row[head] for head in ("category", "risk", "scope", "turn")}
    return found, labels


def tool_loop(record, at, n_requests):
    return [
        replace(
            record,
            decision_id=uuid4().hex,
            created_at=moment(at + timedelta(seconds=20 * (step + 1))),
            kind=Kind.TOOL_LOOP,
            assessment=None,
            expected_spend_usd=None,
            latency_ms={"total": 0.4},
            prompt=None,
            context=None,
        )
        for step in range(n_requests)
    ]


def moment(at):
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def fill(store, router):
    """Put two weeks into a store: decisions, outcomes of most, labels of two reviewers."""
    records, labels = records_of(router)
    begun = [record for record in records if record.decision_id in labels]
    outcomes = [
        feedback_row(record.decision_id, outcome=OUTCOMES[n % len(OUTCOMES)], created_at=record.created_at)
        for n, record in enumerate(begun[: 3 * len(begun) // 4])
    ]
    store.append(records, outcomes)
    for n, record in enumerate(begun[: len(begun) // 2]):
        save_review(store, record.decision_id, "alex", labels[record.decision_id])
        if n % 2 == 0:
            other = labels[record.decision_id] | ({"risk": "medium"} if n % 3 else {})
            save_review(store, record.decision_id, "kim", other)
    return records
