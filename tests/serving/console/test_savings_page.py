"""Savings in a browser, and the estimate of missed care from outcomes."""

import asyncio

import pytest
from starlette.testclient import TestClient

from pointsman.classifier.catalog import Catalog
from pointsman.classifier.router import DEFAULT_CATALOG
from pointsman.serving.app import create_app
from pointsman.serving.console.daily import Daily, days_with_decisions, feedback_on
from pointsman.serving.console.missed import missed_care
from pointsman.serving.console.reviews import save_review
from pointsman.serving.routes.savings import savings_between
from pointsman.serving.store import Store

from ..fakes import fake_router
from ..rows import decision_row, feedback_row
from .conftest import faults_of, overflow_of

CHEAP, CAREFUL = "claude-haiku-5-5", "claude-opus-5-5"
SINCE = "2026-11-01"


def fill(store):
    """Forty turns over four days; cheap ones fail twice out of ten judged, careful ones never."""
    rows = [
        decision_row(
            model=(CHEAP, CAREFUL)[n % 2],
            created_at=f"2026-11-{10 + n // 10}T10:{n:02d}:00.000000Z",
            session_id=f"s-{n}",
            next_state_key=f"s-{n}",
            turn_key=f"t-{n}",
            prompt="text",
        )
        for n in range(40)
    ]
    judged = [
        feedback_row(row.decision_id, outcome="failure" if n < 2 else "success") for n, row in enumerate(rows[::2][:10])
    ]
    judged += [feedback_row(row.decision_id) for row in rows[1::2][:5]]
    store.append(rows, judged)
    return rows


@pytest.fixture
def filled(sqlite_url):
    store = Store(sqlite_url)
    fill(store)
    store.close()
    return sqlite_url


@pytest.fixture
def services(filled, settings, router):
    with TestClient(create_app(settings.model_copy(update={"database_url": filled, "learn_s": 0}), router)) as client:
        yield client.app.state.services


def counted(services, since, until=""):
    async def wait_for_all():
        daily = Daily(services)
        while (found := await daily.between(since, until)).n_waiting:
            await asyncio.sleep(0.05)
        return found.answer

    return asyncio.run(wait_for_all())


def test_days_add_up_to_what_is_counted_in_one_go(services):
    whole, by_days = savings_between(services, SINCE, ""), counted(services, SINCE)
    assert by_days["total"] == pytest.approx(whole["total"])
    assert {day: spent["n_turns"] for day, spent in by_days["by_day"].items()} == {
        day: spent["n_turns"] for day, spent in whole["by_day"].items()
    }
    assert list(by_days["by_category"]) == list(whole["by_category"])


def test_days_that_hold_decisions_are_found_on_either_database(store):
    fill(store)
    assert days_with_decisions(store, "2026-11-11", "") == ["2026-11-13", "2026-11-12", "2026-11-11"]
    assert days_with_decisions(store, "2026-11-01", "2026-11-11") == ["2026-11-10"]
    assert len(feedback_on(store, "2026-11-10")) == 10


def test_days_outside_are_not_counted(services):
    assert list(counted(services, "2026-11-11", "2026-11-13")["by_day"]) == ["2026-11-11", "2026-11-12"]


def test_page_does_not_wait_for_all_days(services, monkeypatch):
    monkeypatch.setattr("pointsman.serving.console.daily._PATIENCE_S", 0.0)

    async def look_at_once():
        daily = Daily(services)
        found = await daily.between(SINCE, "")
        await daily.stop()
        return found

    found = asyncio.run(look_at_once())
    assert (found.n_waiting, found.answer["total"]["n_turns"]) == (4, 0)


@pytest.mark.parametrize("query", ["", "?since=2020-01-01", "?since=2020-01-01&until=2020-01-02"])
def test_days_without_a_turn_say_so(client, query):
    answer = client.get(f"/console/savings{query}", headers={"accept": "text/html"})
    assert (answer.status_code, "No turn was decided in these days." in answer.text) == (200, True)


@pytest.mark.browser
def test_page_fills_itself_while_days_are_counted(serve, filled, look, monkeypatch):
    monkeypatch.setattr("pointsman.serving.console.daily._PATIENCE_S", 0.0)
    page = look(serve(filled, fake_router())).open(f"/console/savings?since={SINCE}")
    assert "4 days are still being counted" in page.locator("#savings").inner_text()
    page.get_by_text("40 turns", exact=True).wait_for()
    page.locator(".chart .uplot canvas").wait_for()
    assert page.get_by_text("still being counted").count() == 0


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_savings_are_drawn_and_listed(serve, filled, look, axe, width, scheme):
    looker = look(serve(filled, fake_router()))
    page = looker.open(f"/console/savings?since={SINCE}", width=width, scheme=scheme)
    page.locator(".chart .uplot canvas").wait_for()
    looker.keep(page, f"{width}-{scheme}")
    assert "40 turns" in page.locator("dl.tiles").inner_text()
    assert "50%" in page.locator("dl.tiles").inner_text()
    page.get_by_text("The same in numbers").click()
    assert page.get_by_role("region", name="By day").get_by_role("row").count() == 5
    assert "2 of 10 (20.0%" in page.locator("#missed").inner_text()
    assert faults_of(page, axe) == []
    assert overflow_of(page) == 0


@pytest.mark.browser
def test_days_without_turns_say_so(serve, filled, look):
    page = look(serve(filled, fake_router())).open("/console/savings?since=2020-01-01&until=2020-02-01")
    assert page.get_by_text("No turn was decided in these days.").is_visible()


def test_missed_care_counts_outcomes_and_labels(store):
    rows = fill(store)
    labels = {"category": "security", "scope": "file", "turn": "new"}
    for row, risk in zip(rows, ("high", "medium", "low"), strict=False):
        save_review(store, row.decision_id, "alex", labels | {"risk": risk})
    found = missed_care(store, Catalog.load(DEFAULT_CATALOG), SINCE, "")
    assert found.n_cheap == 20
    assert (found.failed_cheap.n, found.failed_cheap.of) == (2, 10)
    assert (found.failed_other.n, found.failed_other.of) == (0, 5)
    assert (found.care_on_cheap.n, found.care_on_cheap.of) == (1, 2)


def test_interval_holds_the_share_and_narrows(store):
    fill(store)
    found = missed_care(store, Catalog.load(DEFAULT_CATALOG), SINCE, "")
    low, high = found.failed_cheap.interval
    assert low < 0.2 < high
    assert found.expected == (pytest.approx(20 * low), pytest.approx(20 * high))


def test_last_word_on_a_turn_counts(store):
    row = decision_row(model=CHEAP)
    words = [
        feedback_row(row.decision_id, outcome=outcome, created_at=f"2026-11-22T10:00:0{n}.000000Z")
        for n, outcome in enumerate(("failure", "success"))
    ]
    store.append([row], words)
    found = missed_care(store, Catalog.load(DEFAULT_CATALOG), SINCE, "")
    assert (found.failed_cheap.n, found.failed_cheap.of) == (0, 1)
