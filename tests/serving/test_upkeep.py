"""Changed files are taken up without a restart or not at all; records teach catalogue, policy and budgets."""

import os
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from starlette.testclient import TestClient

from pointsman.classifier.assessment import CandidateCost, Decision, Kind
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.limits import Caller
from pointsman.classifier.policy import Policy
from pointsman.classifier.router import Router
from pointsman.serving.app import create_app
from pointsman.serving.errors import StoreUnavailableError
from pointsman.serving.settings import load_settings
from pointsman.serving.spending import Spending
from pointsman.serving.store import Store
from pointsman.serving.telemetry import Telemetry
from pointsman.serving.upkeep import Upkeep

from .clients import CLAUDE_HEADERS, RACE, TYPO, claude_body
from .conftest import wait_until_ready
from .fakes import FakeAssessor
from .rows import decision_row, feedback_row

CHEAP = "claude-haiku-5-5"
BUDGET = "extends: balanced\nrules: [{for: {team: [a, b]}, monthly_budget_usd: 10}]\n"


@pytest.fixture
def files(tmp_path):
    """A catalogue and a policy that a test may change."""
    catalog, policy = tmp_path / "ours.yaml", tmp_path / "rule.yaml"
    catalog.write_text(Catalog.load("anthropic-dashscope").files[0].read_text())
    policy.write_text("extends: balanced\n")
    return catalog, policy


@pytest.fixture
def router(files):
    catalog, policy = files
    return Router(FakeAssessor(), Catalog.load(catalog), Policy.load(policy))


@pytest.fixture
def telemetry():
    return Telemetry()


@pytest.fixture
def upkeep(router, store, telemetry):
    return Upkeep(router, store, Spending(router), telemetry, load_settings())


def change(path, text):
    """Write a file so that it looks changed whatever the clock's grain is."""
    path.write_text(text)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


def test_unchanged_files_are_left_alone(router, upkeep):
    before = router.policy
    assert upkeep.reload() is False
    assert router.policy is before


def test_changed_policy_is_taken_up_and_named_in_the_next_decision(router, upkeep, files, telemetry):
    before = router.decide({"prompt": TYPO, "session_id": "a"})
    change(files[1], "extends: balanced\nscale: 100\n")
    assert upkeep.reload() is True
    after = router.decide({"prompt": TYPO, "session_id": "b"})
    assert (before.model, after.model) == (CHEAP, "claude-opus-5-5")
    assert before.policy_version != after.policy_version == router.policy.version
    assert 'pointsman_reloads_total{outcome="taken_up"} 1.0' in telemetry.exposition().decode()


def test_changed_catalogue_is_taken_up(router, upkeep, files):
    version = router.catalog.version
    text = files[0].read_text().replace("background: claude-haiku-5-5", "background: qwen3-coder-plus")
    change(files[0], text)
    assert upkeep.reload() is True
    assert router.catalog.roles["background"] == ("qwen3-coder-plus",)
    assert router.decide({"prompt": TYPO}).catalog_version == router.catalog.version != version


def test_base_of_a_policy_is_watched_too(router, files, upkeep, store, telemetry):
    base = files[1].with_name("base.yaml")
    base.write_text("extends: balanced\n")
    change(files[1], "extends: base.yaml\n")
    upkeep.reload()
    change(base, "extends: balanced\nscale: 2\n")
    assert upkeep.reload() is True
    assert router.policy.loss_usd[2] == 80


@pytest.mark.parametrize(
    ("number", "text", "words"),
    [
        (1, "extends: nothing\n", "rule.yaml:1: extends: found no such file"),
        (1, "extends: balanced\nmodels: {default: x, background: cheap, escalate_to: careful}", "models.default"),
        (0, "models: {", "ours.yaml:1: file: found"),
    ],
    ids=["policy", "policy that does not fit", "catalogue"],
)
def test_bad_file_keeps_the_old_one_and_says_so_once(router, upkeep, files, telemetry, number, text, words):
    before = (router.catalog, router.policy)
    change(files[number], text)
    assert [upkeep.reload(), upkeep.reload()] == [False, False]
    assert (router.catalog, router.policy) == before
    assert words in upkeep.describe()["files"]["problem"]
    assert 'pointsman_reloads_total{outcome="refused"} 1.0' in telemetry.exposition().decode()


def test_mended_file_is_taken_up(router, upkeep, files):
    change(files[1], "extends: nothing\n")
    upkeep.reload()
    change(files[1], "extends: balanced\nscale: 20\n")
    assert upkeep.reload() is True
    assert upkeep.describe()["files"]["problem"] is None


def test_missing_file_keeps_the_old_one(router, upkeep, files):
    before = router.policy
    files[1].unlink()
    assert upkeep.reload() is False
    assert router.policy is before


def test_outcomes_move_the_failure_rates(router, upkeep, store):
    records = [decision_row(model=CHEAP, turn_key=f"t{n}") for n in range(20)]
    store.append(records, [feedback_row(record.decision_id, outcome="failure") for record in records])
    before = router.catalog
    upkeep.learn()
    assert router.catalog.model(CHEAP).failure[0] > before.model(CHEAP).failure[0] + 0.2
    assert router.catalog.version.startswith(before.version + "+")
    assert upkeep.describe()["learned"] == {"n_turns": 20, "n_judged": 20}
    again = router.catalog
    upkeep.learn()
    assert router.catalog == again


def test_requests_of_turns_move_the_loads(router, upkeep, store):
    for n in range(10):
        steps = [{"kind": "task", "context_tokens": 1_000}, *[{"kind": "tool_loop", "context_tokens": 90_000}] * 30]
        store.append([decision_row(turn_key=f"t{n}", **step) for step in steps], [])
    before = router.policy
    upkeep.learn()
    assert router.policy.load_table[1, 0] > before.load_table[1, 0]  # debugging over several files
    assert router.policy.load_table[1, 2] > before.load_table[1, 2]
    assert router.policy.version.startswith(before.version + "+")


def test_output_of_turns_moves_the_loads(router, upkeep, store):
    for n in range(10):
        steps = [{"kind": "task"}, *[{"kind": "tool_loop", "output_tokens": 9_000 * step} for step in range(1, 10)]]
        store.append([decision_row(turn_key=f"t{n}", **step) for step in steps], [])
    before = router.policy
    upkeep.learn()
    assert router.policy.load_table[1, 0] == pytest.approx(before.load_table[1, 0])  # ten requests, as expected
    assert router.policy.load_table[1, 1] > 2 * before.load_table[1, 1]


def test_record_of_a_size_that_cannot_be_stops_no_learning(router, upkeep, store):
    for n in range(10):
        sizes = [1_000, *[90_000] * 10, 3_000_000_000, 2**64 - 1]
        kinds = ["task", *["tool_loop"] * 12]
        rows = zip(kinds, sizes, strict=True)
        store.append([decision_row(turn_key=f"t{n}", kind=kind, context_tokens=tokens) for kind, tokens in rows], [])
    before = router.policy
    upkeep.learn()
    assert upkeep.describe()["learned"]["n_turns"] == 10
    assert before.load_table[1, 2] < router.policy.load_table[1, 2] < 90_000


def test_gateway_that_asks_once_a_turn_teaches_no_loads(router, upkeep, store):
    store.append([decision_row(turn_key=f"t{n}") for n in range(10)], [])
    before = router.policy
    upkeep.learn()
    assert router.policy == before


def test_turn_whose_beginning_was_not_seen_teaches_nothing(router, upkeep, store):
    store.append([decision_row(turn_key="t", kind="tool_loop")], [])
    before = router.policy
    upkeep.learn()
    assert router.policy is before or router.policy == before


def test_what_was_learned_outlives_a_reload(router, upkeep, store, files):
    record = decision_row(model=CHEAP)
    store.append([record], [feedback_row(record.decision_id, outcome="failure")])
    change(files[1], "extends: balanced\nscale: 2\n")
    assert upkeep.reload() is True
    assert "+" in router.catalog.version


def test_store_that_is_away_teaches_nothing_and_breaks_nothing(router, upkeep, monkeypatch):
    def away(*_):
        raise StoreUnavailableError("away")

    monkeypatch.setattr("pointsman.serving.upkeep.seen_turns", away)
    before = router.catalog
    upkeep.learn()
    assert router.catalog is before


def spent(model="m", usd=2.0):
    cost = CandidateCost(model, usd, 5.0, 7.0)
    return Decision(model, "p", (), "d", Kind.TASK, None, 0, (cost,), (), False, "v", "w")


def test_spending_is_counted_per_rule_and_read_back(router, store, files):
    change(files[1], BUDGET)
    router.use(policy=Policy.load(files[1]))
    spending = Spending(router)
    spending.note(Caller(team="a"), spent())
    spending.note(Caller(team="elsewhere"), spent())
    assert spending.by_rule() == {"team=a|b": 2.0}
    record = decision_row(team="b", expected_spend_usd=3.0)
    told = decision_row(team="a", expected_spend_usd=4.0)
    store.append([record, told, decision_row(expected_spend_usd=50.0)], [feedback_row(told.decision_id, cost_usd=1.0)])
    spending.read(store)
    assert spending.by_rule() == {"team=a|b": 4.0}  # 3 as expected, 1 as reported; what was only counted is gone


def test_new_month_begins_at_nothing(router, store, files):
    change(files[1], BUDGET)
    router.use(policy=Policy.load(files[1]))
    store.append([decision_row(team="a", expected_spend_usd=3.0, created_at="2026-10-31T23:59:59.000000Z")], [])
    now = [datetime(2026, 10, 31, tzinfo=UTC)]
    spending = Spending(router, clock=lambda: now[0])
    spending.read(store)
    assert spending.by_rule() == {"team=a|b": 3.0}
    now[0] = datetime(2026, 11, 1, tzinfo=UTC)
    spending.read(store)
    assert spending.by_rule() == {"team=a|b": 0}


@pytest.fixture
def month_end(router, files):
    """Spending under a budget, and the list that holds its clock's time: 30 November."""
    change(files[1], BUDGET)
    router.use(policy=Policy.load(files[1]))
    now = [datetime(2026, 11, 30, 23, tzinfo=UTC)]
    return Spending(router, clock=lambda: now[0]), now


def test_spending_of_last_month_ends_where_nothing_is_read(month_end):
    spending, now = month_end
    spending.note(Caller(team="a"), spent())
    assert spending.by_rule() == {"team=a|b": 2.0}
    now[0] = datetime(2026, 12, 15, tzinfo=UTC)
    assert spending.by_rule() == {}
    spending.note(Caller(team="a"), spent(usd=1.0))
    assert spending.by_rule() == {"team=a|b": 1.0}


def test_first_note_of_a_month_does_not_add_to_the_last(month_end):
    spending, now = month_end
    spending.note(Caller(team="a"), spent())
    now[0] = datetime(2026, 12, 1, tzinfo=UTC)
    spending.note(Caller(team="a"), spent(usd=1.0))
    assert spending.by_rule() == {"team=a|b": 1.0}


@pytest.mark.parametrize("begins", ["before", "during"])
def test_turn_noted_while_a_new_month_is_read_counts(month_end, monkeypatch, begins):
    spending, now = month_end

    def read(*_):
        now[0] = datetime(2026, 12, 1, tzinfo=UTC)
        spending.note(Caller(team="a"), spent(usd=1.0))
        return []

    monkeypatch.setattr("pointsman.serving.spending.spent_since", read)
    if begins == "before":
        now[0] = datetime(2026, 12, 1, tzinfo=UTC)
    spending.read(None)
    assert spending.by_rule() == {"team=a|b": 1.0}


def test_budgets_are_read_where_nothing_is_learned(router, files, sqlite_url):
    change(files[1], BUDGET)
    router.use(policy=Policy.load(files[1]))
    with closing(Store(sqlite_url)) as store:
        store.append([decision_row(team="a", expected_spend_usd=3.0)], [])
    with TestClient(create_app(load_settings(database_url=sqlite_url, learn_s=0), router)) as client:
        wait_until_ready(client)
        for _ in range(500):
            if router.spent():
                break
            time.sleep(0.01)
        assert router.spent() == {"team=a|b": 3.0}


def test_budget_of_a_changed_policy_counts_what_was_spent_before(router, store, telemetry, files):
    spending = Spending(router)
    upkeep = Upkeep(router, store, spending, telemetry, load_settings(learn_s=0))
    store.append([decision_row(team="a", expected_spend_usd=3.0)], [])
    change(files[1], BUDGET)
    assert upkeep.reload() is True
    assert spending.by_rule() == {"team=a|b": 3.0}


def test_service_keeps_budgets_and_shows_its_upkeep(router, files, sqlite_url):
    change(files[1], BUDGET.replace("10}", "0.01, soft_from: 0}"))
    router.use(policy=Policy.load(files[1]))
    with TestClient(create_app(load_settings(database_url=sqlite_url), router)) as client:
        wait_until_ready(client)
        headers = CLAUDE_HEADERS | {"x-pointsman-team": "a"}
        client.post("/v1/decide/v1/messages", json=claude_body(RACE), headers=headers)
        answer = client.post("/v1/decide", json={"prompt": TYPO}, headers={"x-pointsman-team": "a"}).json()
        assert "budget_spent" in answer["codes"]
        assert answer["stakes"]["money_weight"] == 4
        free = client.post("/v1/decide", json={"prompt": TYPO, "session_id": "of another"}).json()
        assert free["stakes"]["money_weight"] == 1
        info = client.get("/info").json()
        assert info["files"]["problem"] is None
        assert set(info["learned"]) == {"n_turns", "n_judged"}
        row = client.get(f"/v1/decisions/{answer['decision_id']}").json()
        assert (row["team"], row["limits"]["spent_share"] > 1) == ("a", True)


def drifting(store, *, n_chars):
    """Ten days of turns: three weeks of short prompts ago, and then the last days'."""
    now = datetime.now(UTC)
    for ago in (20, 18, 16, 14, 12, 10, 9, *range(7)):
        day = (now - timedelta(days=ago)).strftime("%Y-%m-%d")
        made = [
            decision_row(created_at=f"{day}T00:00:00.{i:06}Z", n_chars=n_chars if ago < 7 else 20, script="latin")
            for i in range(20)
        ]
        store.append(made, [feedback_row(row.decision_id, outcome="failure" if ago < 7 else "success") for row in made])


def test_drift_of_the_last_days_is_a_metric(upkeep, store, telemetry):
    drifting(store, n_chars=5_000)
    upkeep.look_for_drift()
    metrics = telemetry.exposition().decode()
    assert 'pointsman_drift_alert{signal="length"} 2.0' in metrics
    assert 'pointsman_drift_alert{signal="failure"} 2.0' in metrics
    assert 'pointsman_drift_alert{signal="category"} 0.0' in metrics
    assert 'pointsman_drift_turns{span="recent"} 140.0' in metrics
    assert upkeep.describe()["drift"]["length"]["level"] == "alert"


def test_steady_turns_raise_no_alert(upkeep, store, telemetry):
    drifting(store, n_chars=20)
    upkeep.look_for_drift()
    assert 'pointsman_drift_alert{signal="length"} 0.0' in telemetry.exposition().decode()


def test_store_that_fails_leaves_the_drift_as_it_was(upkeep, store, telemetry, monkeypatch):
    drifting(store, n_chars=5_000)
    upkeep.look_for_drift()

    def fail(*_args):
        raise StoreUnavailableError("away")

    monkeypatch.setattr("pointsman.serving.upkeep.seen_signals", fail)
    upkeep.look_for_drift()
    assert upkeep.describe()["drift"]["length"]["level"] == "alert"
