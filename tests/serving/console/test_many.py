"""A hundred thousand decisions: every page answers as it does with few, and no query brings more rows than it shows."""

import shutil
from datetime import UTC, datetime, timedelta
from time import perf_counter

import orjson
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.console.daily import Daily
from pointsman.serving.console.decisions import decisions_from
from pointsman.serving.console.reviews import save_review
from pointsman.serving.settings import load_settings
from pointsman.serving.store import DECISIONS, Store

from ..fakes import fake_router
from ..rows import decision_row, feedback_row

N_MANY = 100_000
N_FEW = 1_000
#: Slower than with few rows by this much at most. A page that looked at every row would take a hundred times as long.
MOST_TIMES = 4
#: Rows that one query may bring: pages show figures over the newest ones.
MOST_ROWS = 5_000
PAGES = {
    "live": "/live",
    "older": "/live?after=AFTER",
    "filtered": "/live?category=debugging&risk=high&project=p-7",
    "figures": "/live/figures",
    "session": "/session?id=s-77",
    "savings": "/savings",
    "review": "/review",
    "agreement": "/review/agreement",
    "models": "/models",
    "frontier": "/models/frontier",
    "audit": "/audit",
}


def fill(url, n):
    """Rows of sessions of ten over the last 25 days, and labels and outcomes of some."""
    store, now = Store(url), datetime.now(UTC)
    base = decision_row(model="claude-opus-5-5", provider="anthropic", prompt="Fix the race", fallbacks=[]).to_json()
    rows = []
    for k in range(n):
        at = (now - timedelta(days=25) + timedelta(days=25) * k / n).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        own = {"decision_id": f"d{k:06d}", "created_at": at, "session_id": f"s-{k // 10}", "project": f"p-{k % 1000}"}
        own |= {
            "turn_key": f"t{k}",
            "request_key": f"r{k}",
            "state_key": f"k{k // 10}",
            "next_state_key": f"k{k // 10}",
        }
        label = {"category": "debugging", "risk": "high", "scope": "multi", "turn": "new", "kind": "task"}
        versions = {"model": base["model"], "model_version": "fake-1", "policy_version": "p"}
        columns = {name: own[name] for name in ("decision_id", "created_at", "session_id", "project")}
        rows.append({**columns, **label, **versions, "record": base | own})
    with store.engine.begin() as connection:
        for start in range(0, n, 10_000):
            connection.execute(sa.insert(DECISIONS), rows[start : start + 10_000])
    store.append([], [feedback_row(f"d{k:06d}", outcome="failure") for k in range(0, 500, 5)])
    for k in range(0, 200, 4):
        for reviewer in ("alex", "kim"):
            labels = {"category": "debugging", "risk": "low", "scope": "multi", "turn": "new"}
            save_review(store, f"d{n - 1 - k:06d}", reviewer, labels)
    store.close()


@pytest.fixture(scope="module")
def clients(tmp_path_factory, migrated_sqlite):
    """The console on few rows and on many."""
    opened = {}
    for n in (N_FEW, N_MANY):
        path = tmp_path_factory.mktemp(f"rows-{n}") / "records.sqlite"
        shutil.copy(migrated_sqlite, path)
        fill(f"sqlite:///{path}", n)
        app = create_app(load_settings(database_url=f"sqlite:///{path}", store_text=True, learn_s=0), fake_router())
        opened[n] = TestClient(app)
    with opened[N_FEW], opened[N_MANY]:
        yield opened


def path_of(client, name):
    store = client.app.state.services.store
    with store.engine.connect() as connection:
        middle = sa.select(DECISIONS.c.created_at).order_by(DECISIONS.c.created_at).offset(N_FEW // 2).limit(1)
        return "/console" + PAGES[name].replace("AFTER", f"{connection.execute(middle).scalar()}~d")


def ask(client, path):
    # What is kept for a while would tell nothing of how long it takes to make.
    getattr(client.app.state, "console_queues", {}).clear()
    started = perf_counter()
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return perf_counter() - started


# Savings are counted day by day beside the page, which does not wait for them: see the next test.
@pytest.mark.parametrize("name", [name for name in PAGES if name != "savings"])
def test_page_takes_as_long_with_many_decisions_as_with_few(clients, name):
    n_rounds = 1 if name == "frontier" else 3  # it replays for seconds, as long as its rows are bounded
    few, many = (min(ask(clients[n], path_of(clients[n], name)) for _ in range(n_rounds)) for n in (N_FEW, N_MANY))
    assert many < MOST_TIMES * few, f"{1000 * few:.0f} ms -> {1000 * many:.0f} ms"


def test_savings_are_shown_before_all_days_are_counted(clients):
    client = clients[N_MANY]
    client.app.state.console_savings = Daily(client.app.state.services)
    answer = client.get("/console/savings", headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert "still being counted" in answer.text


def test_look_for_news_brings_a_bounded_number_of_rows(clients):
    store = clients[N_MANY].app.state.services.store
    assert len(decisions_from(store, "2000", most=500)) == 500


@pytest.mark.parametrize("name", PAGES)
def test_page_never_loads_all_rows(clients, name):
    client = clients[N_MANY]
    engine, path, asked = client.app.state.services.store.engine, path_of(client, name), []

    def note(connection, cursor, statement, parameters, context, executemany):
        asked.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        ask(client, path)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    selects = [(text, values) for text, values in asked if text.lstrip().upper().startswith(("SELECT", "WITH"))]
    assert selects
    with engine.connect() as connection:
        brought = [connection.exec_driver_sql(f"SELECT count(*) FROM ({q})", v).scalar() for q, v in selects]
    assert max(brought) <= MOST_ROWS, orjson.dumps(brought)
