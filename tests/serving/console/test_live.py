"""Live decisions: as they come, filtered, page by page, and one session from its first turn on."""

import httpx
import pytest

from pointsman.serving.key_store import create_key
from pointsman.serving.store import Store

from ..clients import RACE, TYPO
from ..fakes import fake_router
from ..rows import ASSESSMENT, decision_row, feedback_row, result
from .conftest import faults_of, overflow_of
from .test_frame import sign_in

pytestmark = pytest.mark.browser


def story(session="s-1"):
    """A session with a tool loop, a correction, a switch and a title."""
    from dataclasses import replace

    from pointsman.classifier.records import assessment_to_json

    wrong = assessment_to_json(replace(ASSESSMENT, turn=result("turn", "correct")))
    at = "2026-11-22T10:00:{:02d}.000000Z".format
    rows = [
        decision_row(created_at=at(0), kind="background", background="title", model="cheap", assessment=None),
        decision_row(created_at=at(1), turn_key="t1", model="cheap", project="website"),
        decision_row(created_at=at(2), turn_key="t1", model="cheap", kind="tool_loop"),
        decision_row(created_at=at(3), turn_key="t1", model="cheap", kind="tool_loop"),
        decision_row(created_at=at(9), turn_key="t2", model="careful", assessment=wrong, prompt="still fails"),
    ]
    return [type(row).from_json(row.to_json() | {"session_id": session}) for row in rows]


@pytest.fixture
def filled(sqlite_url):
    store = Store(sqlite_url)
    rows = story()
    store.append(rows, [feedback_row(rows[-1].decision_id)])
    store.append(
        [
            decision_row(session_id=f"other-{n}", risk="low", created_at=f"2026-11-21T{n:02d}:00:00.000000Z")
            for n in range(24)
        ],
        [],
    )
    store.close()
    return sqlite_url


def test_decision_appears_as_it_comes(serve, sqlite_url, look, axe):
    address = serve(sqlite_url, fake_router())
    looker = look(address)
    page = looker.open("/console/live")
    page.get_by_text("Live, press to pause").wait_for()
    httpx.post(f"{address}/v1/decide", json={"prompt": RACE, "session_id": "s-live"}, trust_env=False)
    page.locator("tr[data-id]").wait_for()
    assert "debugging" in page.locator("tr[data-id]").inner_text()
    looker.keep(page, "one")
    page.get_by_role("button", name="Live, press to pause").click()
    page.get_by_text("Paused, press to go on").wait_for()
    assert faults_of(page, axe) == []


def test_filtered_stream_brings_only_what_fits(serve, sqlite_url, look):
    address = serve(sqlite_url, fake_router())
    page = look(address).open("/console/live?risk=high")
    page.get_by_text("Live, press to pause").wait_for()
    for session, prompt in (("a", TYPO), ("b", RACE)):
        httpx.post(f"{address}/v1/decide", json={"prompt": prompt, "session_id": session}, trust_env=False)
    page.locator("tr[data-id]").wait_for()
    assert page.locator("tr[data-id] .tag").all_inner_texts() == ["high"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_list_filters_and_leads_to_the_session(serve, filled, look, axe, width, scheme):
    address = serve(filled, fake_router())
    looker = look(address)
    page = looker.open("/console/live", width=width, scheme=scheme)
    assert page.locator("tr[data-id]").count() == 29
    looker.keep(page, f"{width}-{scheme}")
    assert faults_of(page, axe) == []
    assert overflow_of(page) == 0
    page.get_by_label("Project").select_option("website")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("tr[data-id]").count() == 1
    page.get_by_role("link", name="s-1").click()
    steps = page.locator(".timeline > li")
    assert steps.count() == 3
    assert "3 requests in its tool loop" in steps.nth(1).inner_text()
    assert "cheap → careful" in steps.nth(2).inner_text()
    assert "correction" in steps.nth(2).inner_text()
    assert "success" in steps.nth(2).inner_text()
    looker.keep(page, f"session-{width}-{scheme}")
    assert faults_of(page, axe) == []
    assert overflow_of(page) == 0


def test_stored_text_is_for_reviewers_alone(serve, filled, look):
    store = Store(filled)
    keys = {role: create_key(store, role, [role], actor="test")[0] for role in ("view", "review")}
    store.close()
    address = serve(filled, fake_router(), keys="on")
    shown = {}
    for role, key in keys.items():
        page = look(address).open("/console/sign-in")
        sign_in(page, key)
        page.wait_for_url("**/console/live")
        page.goto(f"{address}/console/session?id=s-1")
        shown[role] = page.locator("main").inner_text()
    assert "still fails" in shown["review"]
    assert "still fails" not in shown["view"]
    assert "A key with the role review shows them" in shown["view"]


def test_nothing_that_fits_says_so(serve, filled, look):
    address = serve(filled, fake_router())
    page = look(address).open("/console/live?session=nobody")
    assert page.get_by_text("No decision fits this filter.").is_visible()
