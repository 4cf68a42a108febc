"""Lists of decisions: by an index whatever is asked for, and page by page without a row twice."""

from uuid import uuid4

import pytest
import sqlalchemy as sa

from pointsman.serving.console.decisions import (
    PAGE_SIZE,
    Filter,
    decisions_from,
    known_values,
    list_decisions,
    page_query,
    recent_figures,
)
from pointsman.serving.store import DECISIONS, Store

from ..rows import decision_row

N_MANY = 100_000
FILTERS = [{}, {"category": "debugging"}, {"risk": "high"}, {"model": "cheap"}, {"project": "p-7"}, {"session": "s-77"}]


@pytest.fixture(scope="module")
def many(tmp_path_factory, migrated_sqlite):
    """A hundred thousand decisions, a small record each."""
    import shutil

    path = tmp_path_factory.mktemp("many") / "records.sqlite"
    shutil.copy(migrated_sqlite, path)
    store = Store(f"sqlite:///{path}")
    record = {"sticky": False, "expected_spend_usd": 0.1, "latency_ms": {"total": 5.0}, "codes": []}
    rows = [
        {
            "decision_id": f"d{n:06d}",
            "created_at": f"2026-11-{1 + n // 5000:02d}T{n // 60 % 24:02d}:{n % 60:02d}:{n % 7:02d}.{n:06d}Z",
            "session_id": f"s-{n // 10}",
            "kind": "task",
            "model": ("cheap", "careful")[n % 3 == 0],
            "category": ("debugging", "docs", "feature")[n % 3],
            "risk": ("low", "medium", "high")[n % 50 // 20],
            "scope": "file",
            "turn": "new",
            "model_version": "m",
            "policy_version": "p",
            "project": f"p-{n % 1000}",
            "record": record,
        }
        for n in range(N_MANY)
    ]
    with store.engine.begin() as connection:
        connection.execute(sa.insert(DECISIONS), rows)
    yield store
    store.close()


def plan_of(store, query):
    text = query.compile(store.engine, compile_kwargs={"literal_binds": True})
    with store.engine.connect() as connection:
        return " / ".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))


@pytest.mark.parametrize("wanted", FILTERS, ids=str)
@pytest.mark.parametrize("after", ["", "2026-11-09T10:00:00.000000Z~d1"], ids=["first", "later"])
def test_page_is_found_by_an_index(many, wanted, after):
    plan = plan_of(many, page_query(Filter(**wanted), after))
    assert plan.startswith("SEARCH decisions USING INDEX") or plan.startswith(
        "SCAN decisions USING INDEX ix_decisions_created_at"
    )
    if "session" not in wanted:
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def test_pages_give_every_row_once_newest_first(many):
    seen, after = [], ""
    for _ in range(5):
        listed = list_decisions(many, Filter(project="p-7"), after)
        seen += listed.rows
        after = listed.next
        if not after:
            break
    assert len(seen) == 100
    assert len({row.decision_id for row in seen}) == 100
    assert [row.created_at for row in seen] == sorted((row.created_at for row in seen), reverse=True)


def test_pages_go_on_between_rows_of_one_time(store):
    at = "2026-11-22T10:00:00.000000Z"
    store.append([decision_row(decision_id=f"d{n:03d}", created_at=at) for n in range(2 * PAGE_SIZE)], [])
    first = list_decisions(store, Filter())
    second = list_decisions(store, Filter(), first.next)
    assert len({row.decision_id for row in (*first.rows, *second.rows)}) == 2 * PAGE_SIZE
    assert second.next == ""


def test_project_is_found_on_either_database(store):
    store.append([decision_row(project="website"), decision_row(), decision_row(project="blog")], [])
    assert [row.project for row in list_decisions(store, Filter(project="blog")).rows] == ["blog"]
    assert known_values(store, "project") == ["blog", "website"]


def test_values_are_read_from_the_index_alone(many):
    assert known_values(many, "model") == ["careful", "cheap"]
    assert len(known_values(many, "project", most=10)) == 10


def test_recent_figures_count_the_safe_default(store):
    rows = [decision_row(latency_ms={"total": float(ms)}) for ms in (1, 2, 3)]
    rows.append(decision_row(codes=["safe_default"], latency_ms={"total": 100.0}))
    store.append(rows, [])
    recent = recent_figures(store)
    assert (recent.n, recent.n_safe_default, recent.p95_ms) == (4, 1, 100.0)


def test_decisions_from_a_time_come_oldest_first(store):
    rows = [decision_row(decision_id=uuid4().hex, created_at=f"2026-11-22T10:00:0{n}.000000Z") for n in (3, 1, 2)]
    store.append(rows, [])
    found = decisions_from(store, "2026-11-22T10:00:02.000000Z", most=10)
    assert [row.created_at[18] for row in found] == ["2", "3"]
