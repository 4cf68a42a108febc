"""The playground in a browser, on the model that ships."""

import pytest
from sqlalchemy import func, select

from pointsman.serving.store import DECISIONS, Store

from ..clients import RACE, TYPO
from .conftest import faults_of, overflow_of

pytestmark = pytest.mark.browser


@pytest.fixture
def service(serve, sqlite_url, copied_router):
    return serve(sqlite_url, copied_router)


def ask(page, prompt):
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("button", name="Decide").click()
    page.locator("#decided").wait_for()


def taken_by(page):
    return page.locator("#decided h2").inner_text().split()[0]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_prompt_is_decided_and_explained(service, look, axe, sqlite_url, width, scheme):
    looker = look(service)
    page = looker.open("/console/playground", width=width, scheme=scheme)
    ask(page, RACE)
    assert taken_by(page).startswith("claude-opus")
    assert page.locator("table.costs svg.bar").count() >= 2
    assert page.locator("dl.probabilities").count() == 4
    assert page.get_by_role("region", name="Other policies").get_by_role("row").count() == 4
    page.get_by_role("button", name="Show the words").click()
    page.get_by_text("That is no proof").wait_for()
    assert page.locator(".words span[class^=up]").count() >= 1
    page.get_by_role("button", name="Show the turns").click()
    page.get_by_text("this service stores no text").wait_for()
    looker.keep(page, f"{width}-{scheme}")
    assert faults_of(page, axe) == []
    assert overflow_of(page) == 0
    store = Store(sqlite_url)
    with store.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(DECISIONS)).scalar_one() == 0
    store.close()


def test_playground_needs_no_mouse(service, look):
    page = look(service).open("/console/playground")
    focused = "[document.activeElement.id, document.activeElement.innerText].join(' ')"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(focused).startswith("prompt"):
            break
    page.keyboard.type(RACE)
    for _ in range(10):
        page.keyboard.press("Tab")
        if "Decide" in page.evaluate(focused):
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Expected cost").wait_for()
    page.get_by_label("Prompt", exact=True).focus()
    page.keyboard.type(" again")
    with page.expect_response("**/console/playground"):
        page.keyboard.press("Control+Enter")


def test_decision_forms_as_a_person_types(service, look):
    page = look(service).open("/console/playground")
    page.get_by_label("Prompt", exact=True).press_sequentially("fix the typo in the README")
    page.locator("#decided h2").wait_for()
    first = page.locator("#decided").inner_text()
    page.get_by_label("Prompt", exact=True).press_sequentially(", then drop the production database")
    page.wait_for_function("first => document.querySelector('#decided').innerText !== first", arg=first)
    assert page.locator("#said").inner_text().startswith("Decided: ")


def test_typing_decides_nothing_where_a_person_wants_none(service, look):
    page = look(service).open("/console/playground")
    page.get_by_label("as I type").uncheck()
    page.get_by_label("Prompt", exact=True).press_sequentially("fix the typo")
    page.wait_for_timeout(1_500)
    assert page.locator("#decided").count() == 0
    page.reload()
    assert not page.get_by_label("as I type").is_checked()


def test_whole_body_is_decided(service, look):
    page = look(service).open("/console/playground")
    page.get_by_role("radio", name="A whole request body").check()
    page.locator("#body").fill(f'{{"messages": [{{"role": "user", "content": "{TYPO}"}}], "tools": []}}')
    page.get_by_role("button", name="Decide").click()
    page.locator("#decided").wait_for()
    assert "opus" not in taken_by(page)


def test_turns_before_are_read(service, look):
    page = look(service).open("/console/playground")
    ask(page, "still fails with the same error")
    alone = page.locator("#decided").inner_text()
    page.get_by_role("button", name="Add a turn before").click()
    page.get_by_label("What was said").fill(RACE)
    with page.expect_response("**/console/playground*"):
        page.get_by_role("button", name="Decide").click()
    page.wait_for_function("shown => document.querySelector('#decided').innerText !== shown", arg=alone)


def test_share_link_decides_the_same_without_the_text(service, look):
    looker = look(service)
    page = looker.open("/console/playground")
    ask(page, RACE)
    page.get_by_role("button", name="Copy the link").click()
    link = page.locator("#link").input_value()
    other = looker.open(link.removeprefix(looker.address))
    other.locator("#decided").wait_for()
    assert taken_by(other) == taken_by(page)
    assert RACE not in other.content()
    page.locator("#with-text").check()
    page.get_by_role("button", name="Copy the link").click()
    third = looker.open(page.locator("#link").input_value().removeprefix(looker.address))
    third.get_by_text(RACE).wait_for()


def test_empty_prompt_says_what_to_do(service, look):
    looker = look(service)
    page = looker.open("/console/playground")
    page.get_by_role("button", name="Decide").click()
    page.get_by_role("alert").wait_for()
    assert "The prompt is empty" in page.get_by_role("alert").inner_text()
    # Browsers note every refusal in the console.
    looker.said = [text for text in looker.said if "422" not in text]
