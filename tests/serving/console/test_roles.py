"""Who may see and do what: every route of the console for every role, and nobody's words for who may not read them."""

import re

import pytest
from starlette.testclient import TestClient

from pointsman.serving.app import create_app
from pointsman.serving.console.cookies import KEY_COOKIE
from pointsman.serving.console.reviews import save_review
from pointsman.serving.console.router import console_routers
from pointsman.serving.key_store import create_key
from pointsman.serving.store import Store

from ..fakes import fake_router
from ..rows import decision_row

HTML = {"accept": "text/html"}
ROLES = ("decide", "feedback", "view", "review", "operate")
LOOK, LABEL, CHANGE, EVERYONE = {"view", "review", "operate"}, {"review"}, {"operate"}, set(ROLES)
#: Every route but those of files; what is not here fails the first test.
ALLOWED = {
    "GET /": EVERYONE,
    "GET /console/sign-in": EVERYONE,
    "POST /console/sign-in": EVERYONE,
    "POST /console/sign-out": EVERYONE,
    "GET /console": LOOK,
    "GET /console/": LOOK,
    "GET /console/start": LOOK,
    "POST /console/start": LOOK,
    "GET /console/playground": LOOK,
    "POST /console/playground": LOOK,
    "POST /console/playground/shared": LOOK,
    "POST /console/playground/words": LOOK,
    "POST /console/playground/nearest": LOOK,
    "GET /console/live": LOOK,
    "GET /console/live/figures": LOOK,
    "GET /console/live/stream": LOOK,
    "GET /console/session": LOOK,
    "GET /console/savings": LOOK,
    "GET /console/review": LABEL,
    "POST /console/review": LABEL,
    "GET /console/review/agreement": LABEL,
    "GET /console/models": LOOK,
    "GET /console/models/policy": LOOK,
    "GET /console/models/catalog": LOOK,
    "POST /console/models/replay": LOOK,
    "GET /console/models/frontier": LOOK,
    "POST /console/models/apply": CHANGE,
    "POST /console/models/apply/bundle": CHANGE,
    "GET /console/audit": CHANGE,
    "GET /console/{path:path}": LOOK,
}
SECRET = "the merger with Initech"


def routes():
    found = [route for router in console_routers() for route in router.routes]
    return {f"{method} {route.path}" for route in found for method in route.methods - {"HEAD"}}


def test_every_route_says_who_may_use_it():
    assert routes() - {"GET /console/static/{digest}/{name:path}"} == set(ALLOWED)


@pytest.fixture
def keyed(settings):
    """A service that asks for keys and stores text, and a key of each role."""
    store = Store(settings.database_url)
    keys = {role: create_key(store, role, [role], actor="test")[0] for role in ROLES}
    row = decision_row(session_id="s-1", prompt=f"Prepare {SECRET}", project="website")
    store.append([row], [])
    for reviewer, risk in (("alex", "high"), ("kim", "low")):
        labels = {"category": "docs", "risk": risk, "scope": "file", "turn": "new"}
        save_review(store, row.decision_id, reviewer, labels)
    store.close()
    with TestClient(
        create_app(settings.model_copy(update={"keys": "on", "store_text": True}), fake_router())
    ) as client:
        yield client, keys


def ask(client, key, route):
    method, path = route.split(" ")
    client.cookies.clear()
    if key:
        client.cookies.set(KEY_COOKIE, key)
    query = {"id": "s-1"} if path == "/console/session" else {}
    return client.request(
        method, path.replace("{path:path}", "nowhere"), params=query, headers=HTML, follow_redirects=False
    )


# A stream stays open for ten seconds; who may open it stands in the same table as the page that does.
ASKED = [route for route in ALLOWED if not route.endswith("/stream")]


@pytest.mark.parametrize("route", ASKED)
def test_route_lets_in_whom_it_should(keyed, route):
    client, keys = keyed
    let_in = {role for role in ROLES if "lacks the role" not in ask(client, keys[role], route).text}
    assert let_in == ALLOWED[route]


@pytest.mark.parametrize("route", [route for route in ASKED if ALLOWED[route] != EVERYONE])
def test_route_asks_strangers_for_a_key(keyed, route):
    client, _ = keyed
    answer = ask(client, None, route)
    assert (answer.status_code, "API key" in answer.text) == (401, True)


@pytest.mark.parametrize("role", ["view", "operate"])
@pytest.mark.parametrize("route", [route for route in ASKED if route.startswith("GET")])
def test_no_page_tells_what_people_wrote_to_those_who_may_not_read_it(keyed, role, route):
    client, keys = keyed
    assert SECRET not in ask(client, keys[role], route).text


@pytest.mark.parametrize("route", ["GET /console/session", "GET /console/review/agreement", "GET /console/review"])
def test_reviewer_reads_what_people_wrote(keyed, route):
    client, keys = keyed
    assert SECRET in ask(client, keys["review"], route).text


def test_nearest_turns_are_for_reviewers_alone(keyed):
    client, keys = keyed
    shown = {}
    for role in ("view", "review"):
        ask(client, None, "GET /console/sign-in")
        client.cookies.set(KEY_COOKIE, keys[role])
        page = client.get("/console/playground", headers=HTML)
        token = re.search(r'x-pointsman-token": "([^"]+)"', page.text).group(1)
        form = {"token": token, "asking": "prompt", "prompt": "Prepare a merger"}
        shown[role] = client.post("/console/playground/nearest", data=form, headers=HTML).text
    assert "lacks the role" in shown["view"]
    assert SECRET not in shown["view"]
    assert "lacks the role" not in shown["review"]
