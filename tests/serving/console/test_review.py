"""Review in a browser, by keyboard, by two people; and what is kept of it."""

import httpx
import pytest

from pointsman.serving.console.decisions import Filter, list_decisions
from pointsman.serving.console.reviews import agreement, labelled_reviews, n_reviews, save_review
from pointsman.serving.key_store import create_key
from pointsman.serving.privacy import export_session, forget_session
from pointsman.serving.store import Store

from ..clients import RACE, TYPO
from ..fakes import fake_router
from ..gateways.processes import eventually
from .conftest import faults_of, overflow_of
from .test_frame import sign_in

pytestmark = pytest.mark.browser

LABELS = {"category": "debugging", "risk": "high", "scope": "multi", "turn": "new"}


@pytest.fixture
def service(serve, sqlite_url, kept):
    address = serve(sqlite_url, fake_router(), store_text=True)
    for n, prompt in enumerate((RACE, TYPO, "explain the race")):
        httpx.post(f"{address}/v1/decide", json={"prompt": prompt, "session_id": f"s-{n}"}, trust_env=False)
    eventually(lambda: len(list_decisions(kept, Filter()).rows) == 3)
    return address


@pytest.fixture
def kept(sqlite_url):
    store = Store(sqlite_url)
    yield store
    store.close()


def open_review(looker, **options):
    page = looker.open("/console/review", **options)
    for _ in range(50):
        if page.locator("#labels").count():
            return page
        page.wait_for_timeout(100)
        page.reload()
    raise AssertionError(page.inner_text("main"))


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_turn_is_labelled_by_keys_alone(service, look, axe, kept, width, scheme):
    looker = look(service)
    page = open_review(looker, width=width, scheme=scheme)
    first = page.locator("#turn-text").inner_text()
    page.keyboard.type("gd357")
    looker.keep(page, f"{width}-{scheme}")
    assert faults_of(page, axe) == []
    assert overflow_of(page) == 0
    page.keyboard.press("Enter")
    page.locator("#turn-text").filter(has_not_text=first).wait_for()
    (review,) = labelled_reviews(kept)
    assert (review.reviewer, dict(review.labels)) == ("anyone", LABELS)


def test_skip_and_undo(service, look, kept):
    page = open_review(look(service))
    first = page.locator("#turn-text").inner_text()
    page.keyboard.press("k")
    page.locator("#turn-text").filter(has_not_text=first).wait_for()
    assert labelled_reviews(kept) == []
    page.keyboard.press("z")
    page.locator("#turn-text").filter(has_text=first).wait_for()


def test_guess_is_hidden_until_asked_for(service, look):
    page = open_review(look(service))
    assert not page.locator("#guess .tag").first.is_visible()
    page.keyboard.press("h")
    assert page.locator("#guess .tag").first.is_visible()


def test_queue_that_is_done_says_so(service, look):
    page = open_review(look(service))
    for n_left in (3, 2, 1):
        page.get_by_text(f"{n_left} in the queue").wait_for()
        page.keyboard.press("k")
    page.get_by_text("Nothing waits for you").wait_for()


def test_service_without_text_says_why_nothing_can_be_labelled(serve, sqlite_url, look):
    page = look(serve(sqlite_url, fake_router())).open("/console/review")
    assert page.get_by_text("This service stores no text").is_visible()


def test_two_reviewers_and_where_they_differ(serve, sqlite_url, look, axe, kept):
    keys = [create_key(kept, name, ["review", "decide"], actor="test")[0] for name in ("alex", "kim")]
    address = serve(sqlite_url, fake_router(), store_text=True, keys="on")
    asked = {"json": {"prompt": RACE, "session_id": "s"}, "headers": {"x-pointsman-key": keys[0]}}
    httpx.post(f"{address}/v1/decide", trust_env=False, **asked)
    for key, typed in zip(keys, ("d357", "d257"), strict=True):
        page = look(address).open("/console/sign-in")
        sign_in(page, key)
        page.wait_for_url(lambda url: "sign-in" not in url)
        page.goto(f"{address}/console/review")
        page.locator("#labels").wait_for()
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
        page.get_by_text("Nothing waits for you").wait_for()
    page.goto(f"{address}/console/review/agreement")
    shown = page.locator("main").inner_text()
    assert "alex" in shown
    assert "kim" in shown
    assert page.get_by_role("row", name="risk 1 0%").count() == 1
    assert page.get_by_role("heading", name="Where they differ").is_visible()
    assert faults_of(page, axe) == []


def test_labels_leave_with_the_session(service, kept):
    (decision_id,) = [row["decision_id"] for row in export_session(kept, "s-0", actor="test")]
    save_review(kept, decision_id, "alex", LABELS)
    exported = export_session(kept, "s-0", actor="test")
    assert exported[-1] | LABELS == exported[-1]
    forget_session(kept, "s-0", actor="test")
    assert n_reviews(kept) == {}


def test_agreement_is_counted_beyond_chance(service, kept):
    for session, risks in (("s-0", ("high", "high")), ("s-1", ("low", "medium"))):
        (row,) = [row for row in export_session(kept, session, actor="test") if row["record"] == "decision"]
        for reviewer, risk in zip("ab", risks, strict=True):
            save_review(kept, row["decision_id"], reviewer, LABELS | {"risk": risk})
    found = agreement(labelled_reviews(kept))["risk"]
    # Half alike; labels at 2/4, 1/4, 1/4, so chance is 3/8.
    assert (found.n_pairs, found.share) == (2, 0.5)
    assert found.beyond_chance == pytest.approx((0.5 - 0.375) / (1 - 0.375))
