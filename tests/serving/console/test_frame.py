"""The frame around every page: who gets in, what a browser may do with it, and the way to the first request."""

import pytest

from pointsman.serving.key_store import create_key
from pointsman.serving.store import Store

from ..fakes import fake_router
from .conftest import faults_of, overflow_of

pytestmark = pytest.mark.browser


@pytest.fixture
def service(serve, sqlite_url):
    return serve(sqlite_url, fake_router())


@pytest.fixture
def keyed(serve, sqlite_url):
    """A service that asks for keys, and a key of each role."""
    store = Store(sqlite_url)
    keys = {role: create_key(store, role, [role], actor="test")[0] for role in ("decide", "view", "review", "operate")}
    store.close()
    return serve(sqlite_url, fake_router(), keys="on"), keys


def sign_in(page, key):
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def test_first_run_sends_a_request_and_leads_to_it(service, look):
    page = look(service).open("/")
    page.get_by_role("button", name="Send a request").click()
    assert "claude-opus" in page.locator("#decision").inner_text()
    page.get_by_role("link", name="See it among the live decisions").click()
    assert page.url.endswith("/console/live")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_first_page_is_sound_on_desk_and_phone(service, look, axe, width, scheme):
    looker = look(service)
    page = looker.open("/console", width=width, scheme=scheme)
    looker.keep(page, "page")
    assert faults_of(page, axe) == []
    assert overflow_of(page) == 0


def test_colours_follow_the_choice_and_stay(service, look):
    page = look(service).open("/console")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.locator("#theme").click()
    assert page.evaluate(paper) != light
    page.reload()
    assert page.evaluate(paper) != light


def test_keyboard_reaches_the_content_first(service, look):
    page = look(service).open("/console")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_key_signs_in_and_out(keyed, look, axe):
    address, keys = keyed
    looker = look(address)
    page = looker.open("/console/sign-in")
    looker.keep(page, "page")
    assert faults_of(page, axe) == []
    sign_in(page, keys["view"])
    assert page.get_by_role("heading", name="Send the first request").is_visible()
    page.get_by_role("button", name="Sign out").click()
    page.goto(f"{address}/console/sign-in")
    assert page.get_by_label("API key").is_visible()


@pytest.mark.parametrize(
    ("role", "titles"),
    [
        ("view", ["Playground", "Live", "Savings", "Models"]),
        ("review", ["Playground", "Live", "Savings", "Review", "Models"]),
        ("operate", ["Playground", "Live", "Savings", "Models", "Audit"]),
    ],
)
def test_each_role_sees_its_own_pages(keyed, look, role, titles):
    address, keys = keyed
    page = look(address).open("/console/sign-in")
    sign_in(page, keys[role])
    page.wait_for_url(f"{address}/console")
    assert page.get_by_role("navigation").get_by_role("link").all_inner_texts() == titles
