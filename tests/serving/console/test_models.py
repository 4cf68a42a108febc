"""Models in a browser: bundles side by side, a policy drafted, replayed and applied, and the trail it leaves."""

import json
import shutil

import httpx
import pytest

from pointsman.classifier.aliases import AliasFolder, Challenger
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.policy import Policy
from pointsman.classifier.policy_file import POLICIES
from pointsman.classifier.router import DEFAULT_CATALOG, Router
from pointsman.serving.key_store import create_key
from pointsman.serving.store import Store

from ..clients import RACE, TYPO
from ..fakes import FakeAssessor, fake_router
from .conftest import faults_of, overflow_of
from .test_frame import sign_in

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def shipped_catalog():
    return Catalog.load(DEFAULT_CATALOG)


@pytest.fixture
def policy_file(tmp_path):
    path = tmp_path / "ours.yaml"
    shutil.copy(POLICIES / "balanced.yaml", path)
    return path


def decide_some(address):
    for n, prompt in enumerate((RACE, TYPO) * 5):
        httpx.post(f"{address}/v1/decide", json={"prompt": prompt, "session_id": str(n)}, trust_env=False)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_models_are_shown_with_their_figures(serve, copied_router, sqlite_url, look, axe, width, scheme):
    address = serve(sqlite_url, copied_router)
    decide_some(address)
    looker = look(address)
    page = looker.open("/console/models", width=width, scheme=scheme)
    assert "minilm" in page.get_by_role("region", name="Bundles side by side").inner_text()
    assert page.get_by_role("region", name="Catalogue").get_by_role("row").count() > 3
    page.get_by_role("button", name="Draw the frontier").click()
    page.locator("#frontier .uplot").wait_for()
    looker.keep(page, f"{width}-{scheme}")
    assert faults_of(page, axe) == []
    assert overflow_of(page) == 0


def test_policy_is_drafted_replayed_applied_and_taken_back(serve, sqlite_url, look, axe, policy_file):
    router = Router(FakeAssessor(), Catalog.load(DEFAULT_CATALOG), Policy.load(policy_file))
    address = serve(sqlite_url, router, policy=str(policy_file))
    decide_some(address)
    looker = look(address)
    page = looker.open("/console/models/policy")
    before = page.locator("#text").input_value()
    page.locator("#text").fill(before.replace("low: 0.30", "low: 30").replace("medium: 4\n", "medium: 35\n"))
    page.get_by_role("button", name="Check and replay").click()
    page.get_by_role("heading", name="On recent turns").wait_for()
    assert "5 of 10 turns would have gone elsewhere" in page.locator("#replayed").inner_text()
    looker.keep(page, "replayed")
    assert faults_of(page, axe) == []
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Apply the draft").click()
    page.get_by_text("decides from now on").wait_for()
    assert "low: 30" in policy_file.read_text()
    assert router.policy.loss_usd[0] == 30
    page.goto(f"{address}/console/audit")
    assert "policy.apply" in page.locator("tbody").inner_text()
    looker.keep(page, "audit")
    assert faults_of(page, axe) == []
    page.get_by_role("link", name="Draft the text from before").click()
    assert page.locator("#text").input_value() == before


def test_catalogue_is_drafted_replayed_and_applied(serve, sqlite_url, look, axe, tmp_path, shipped_catalog):
    file = tmp_path / "models.yaml"
    shutil.copy(shipped_catalog.path, file)
    router = Router(FakeAssessor(), Catalog.load(file), Policy.load("balanced"))
    address = serve(sqlite_url, router, catalog=str(file))
    decide_some(address)
    looker = look(address)
    page = looker.open("/console/models")
    page.get_by_role("link", name="Draft a catalogue").click()
    before = page.locator("#text").input_value()
    swapped = before.replace("cheap: [claude-haiku-5-5, qwen3-coder-plus]", "cheap: [qwen3-coder-plus]")
    page.locator("#text").fill(swapped)
    page.get_by_role("button", name="Check and replay").click()
    page.get_by_role("heading", name="On recent turns").wait_for()
    page.locator("#replayed .uplot").wait_for()
    assert "5 of 10 turns would have gone elsewhere" in page.locator("#replayed").inner_text()
    looker.keep(page, "replayed")
    assert faults_of(page, axe) == []
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Apply the draft").click()
    page.get_by_text("decides from now on").wait_for()
    assert router.catalog.roles["cheap"] == ("qwen3-coder-plus",)
    page.goto(f"{address}/console/audit")
    page.get_by_role("link", name="Draft the text from before").click()
    assert page.locator("#text").input_value() == before


def test_catalogue_that_the_policy_cannot_use_is_refused(serve, sqlite_url, look, tmp_path, shipped_catalog):
    file = tmp_path / "models.yaml"
    shutil.copy(shipped_catalog.path, file)
    router = Router(FakeAssessor(), Catalog.load(file), Policy.load("balanced"))
    address = serve(sqlite_url, router, catalog=str(file))
    decide_some(address)
    looker = look(address)
    page = looker.open("/console/models/catalog")
    page.locator("#text").fill(
        page.locator("#text").input_value().replace("careful: [claude-opus-5-5,", "careful: [gone,")
    )
    page.get_by_role("button", name="Check and replay").click()
    page.get_by_role("alert").wait_for()
    assert "draft:" in page.get_by_role("alert").inner_text()
    looker.said = [text for text in looker.said if "status of" not in text]


def test_wrong_draft_says_what_is_wrong(serve, sqlite_url, look, policy_file):
    address = serve(sqlite_url, fake_router(), policy=str(policy_file))
    decide_some(address)
    looker = look(address)
    page = looker.open("/console/models/policy")
    page.locator("#text").fill("loss_usd: {low: many}")
    page.get_by_role("button", name="Check and replay").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text().startswith("draft:1: session: found no such field")
    looker.said = [text for text in looker.said if "status of" not in text]


def test_preset_is_not_overwritten(serve, sqlite_url, look):
    address = serve(sqlite_url, fake_router())
    decide_some(address)
    page = look(address).open("/console/models/policy")
    page.get_by_role("button", name="Check and replay").click()
    page.get_by_text("would have decided every turn as the present policy does").wait_for()
    assert page.get_by_text("is part of the package").is_visible()
    assert page.get_by_role("button", name="Apply the draft").count() == 0


def test_viewer_may_replay_and_not_apply(serve, sqlite_url, look, policy_file):
    store = Store(sqlite_url)
    key, _ = create_key(store, "viewer", ["view"], actor="test")
    store.close()
    router = Router(FakeAssessor(), Catalog.load(DEFAULT_CATALOG), Policy.load(policy_file))
    address = serve(sqlite_url, router, policy=str(policy_file), keys="on")
    with httpx.Client(base_url=address, headers={"x-pointsman-key": key}, trust_env=False) as client:
        assert client.get("/console/models/policy").status_code == 200
        assert client.post("/console/models/apply", data={"text": "x"}).status_code == 403
        assert client.get("/console/audit").status_code == 403
    page = look(address).open("/console/sign-in")
    sign_in(page, key)
    page.wait_for_url("**/console")


def test_challenger_is_promoted_and_rolled_back(serve, sqlite_url, look, axe, tmp_path, tiny_bundle, tiny_bundle_copy):
    folder = AliasFolder(tmp_path / "aliases")
    manifest = tiny_bundle_copy / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": "new-1"}))
    folder.promote(folder.add(tiny_bundle), reason="the first")
    folder.challenge(Challenger(folder.add(tiny_bundle_copy)))
    address = serve(sqlite_url, None, bundle=folder.path, max_bundle_slowdown=100)
    looker = look(address)
    page = looker.open("/console/models")
    old = page.locator("thead th").nth(1).inner_text().split()[0]
    page.on("dialog", lambda dialog: dialog.accept())
    looker.keep(page, "challenger")
    assert faults_of(page, axe) == []
    page.get_by_role("button", name="Promote").click()
    page.get_by_text("is named to serve").wait_for()
    assert page.locator("thead th").nth(1).inner_text().startswith("new-")
    page.get_by_role("button", name="Roll back").click()
    page.wait_for_url(f"**done={old}")
    assert page.locator("thead th").nth(1).inner_text().startswith(old)
    page.goto(f"{address}/console/audit")
    assert {"models.promote", "models.rollback"} <= set(page.locator("tbody td:nth-child(3)").all_inner_texts())
