"""What every page keeps to without a browser: tokens, headers, escaping, files with their licences, and the guide."""

import re
from pathlib import Path

import pytest

from pointsman.classifier.labels import HEADS
from pointsman.serving.console.assets import FOLDER, asset_path
from pointsman.serving.console.guide import guide

from ..clients import RACE

ROOT = Path(__file__).parents[3]
HTML = {"accept": "text/html"}
POSTS = ["/console/start", "/console/playground", "/console/review", "/console/models/apply", "/console/sign-out"]


def token_of(client):
    text = client.get("/console/start", headers=HTML).text
    return re.search(r'x-pointsman-token": "([^"]+)"', text).group(1)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("token", ["", "made-up"])
def test_form_without_the_pages_token_is_refused(client, path, token):
    token_of(client)
    answer = client.post(path, data={"token": token, "prompt": RACE}, headers=HTML)
    assert answer.status_code == 403
    assert "does not come from a page" in answer.text


def test_token_without_its_cookie_is_refused(client):
    token = token_of(client)
    client.cookies.clear()
    assert client.post("/console/start", data={"token": token}).status_code == 403


def test_form_of_another_site_is_refused_whatever_its_token(client):
    token = token_of(client)
    answer = client.post("/console/start", data={"token": token}, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


def test_link_on_another_site_leads_to_a_page(client):
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/console/start", headers=headers).status_code == 200
    assert client.get("/console/start", headers=headers | {"sec-fetch-dest": "iframe"}).status_code == 403
    assert client.get("/info", headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/console/start", "/console/playground", "/console/live", "/console/nowhere"])
def test_pages_hold_no_script_or_style_and_forbid_both(client, path):
    answer = client.get(path, headers=HTML)
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", answer.text) == []


def test_cookies_are_out_of_reach_of_scripts(client):
    cookie = client.get("/console/start", headers=HTML).headers["set-cookie"]
    assert {"HttpOnly", "Path=/console", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}


def test_what_a_client_wrote_is_shown_as_text(client):
    name = "<script>alert(1)</script>"
    client.post("/v1/decide", json={"prompt": RACE, "session_id": name}, headers={"x-pointsman-project": name})
    for _ in range(100):
        text = client.get("/console/live", headers=HTML).text
        if "alert(1)" in text:
            break
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text


def test_files_may_be_kept_by_their_content(client):
    answer = client.get(asset_path("console.css"))
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/console/static/0/console.css").headers["cache-control"] == "no-cache"
    assert client.get("/console/static/0/../../app.py").status_code == 404


def test_vendored_files_have_their_licences_beside_them():
    for path in (FOLDER / "vendor").glob("*.js"):
        assert (path.parent / f"{path.name.partition('.')[0]}.LICENSE").read_text(encoding="utf-8").strip()


def test_own_files_ask_no_other_host():
    own = [*FOLDER.glob("*.js"), *FOLDER.glob("*.css"), *(FOLDER.parent / "templates").glob("*.html")]
    assert own
    assert [path.name for path in own if re.search(r"(src|href|url)\(?=?[\"']?https?://", path.read_text())] == []


def test_guide_says_what_the_full_one_says():
    full = (ROOT / "data" / "labels.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\w+) \| ([^|]+?) \|", full, flags=re.M))
    choices = {choice.label: choice for _, some in guide().values() for choice in some}
    assert [choice.meaning for choice in guide()["category"][1]] == [rows[label] for label in HEADS["category"]]
    for head in ("scope", "turn"):
        for label in HEADS[head]:
            (line,) = re.findall(rf"^- `{label}`: (.+)$", full, flags=re.M)
            assert line.startswith(choices[label].meaning.rstrip(".").split(" (")[0].split(":")[0])


def test_each_label_has_a_key_of_its_own():
    keys = [choice.key for _, choices in guide().values() for choice in choices]
    assert len(keys) == len(set(keys)) == sum(map(len, HEADS.values()))
    assert not set(keys) & set("gkzh")


def test_whoever_has_no_key_is_asked_for_one(settings, router):
    from starlette.testclient import TestClient

    from pointsman.serving.app import create_app
    from pointsman.serving.key_store import create_key
    from pointsman.serving.store import Store

    store = Store(settings.database_url)
    key, _ = create_key(store, "alex", ["view"], actor="test")
    store.close()
    with TestClient(create_app(settings.model_copy(update={"keys": "on"}), router)) as client:
        refused = client.get("/console/live", headers=HTML)
        assert (refused.status_code, "API key" in refused.text) == (401, True)
        token = re.search(r'name="token" value="([^"]+)"', refused.text).group(1)
        wrong = client.post("/console/sign-in", data={"token": token, "key": "psm_000000000000_0"}, headers=HTML)
        assert (wrong.status_code, "unknown, revoked or expired" in wrong.text) == (401, True)
        signed = client.post("/console/sign-in", data={"token": token, "key": key, "target": "https://evil.example"})
        assert (signed.status_code, signed.url.path) == (200, "/console")
        assert client.get("/console/live", headers=HTML).status_code == 200
        assert client.get("/info").status_code == 401
        forbidden = client.get("/console/audit", headers=HTML)
        assert (forbidden.status_code, "lacks the role" in forbidden.text) == (403, True)
