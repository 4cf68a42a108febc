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


@pytest.fixture
def folder(tmp_path, tiny_bundle, tiny_bundle_copy):
    """An alias folder with a champion, and a challenger called new-1."""
    folder = AliasFolder(tmp_path / "aliases")
    manifest = tiny_bundle_copy / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": "new-1"}))
    folder.promote(folder.add(tiny_bundle), reason="the first")
    folder.challenge(Challenger(folder.add(tiny_bundle_copy)))
    return folder


def keep_verdict(folder, *, promotes):
    """Leave the verdict of a contest between the two, as `pointsman contest` writes it."""
    rise = {"value": 0.031, "limit": 0.02, "unit": "difference", "is_most": True, "about": "", "interval": [0.01, 0.05]}
    slow = {"value": 1.1, "limit": 1.3, "unit": "ratio", "is_most": True, "about": "", "interval": None}
    gates = [
        {"name": "needs care of gold", "passed": promotes, "reason": "missed more often", "measure": rise},
        {"name": "latency", "passed": True, "reason": "1.00 -> 1.10 ms a turn", "measure": slow},
        {"name": "promise", "passed": True, "reason": "it promises what the champion does", "measure": None},
    ]
    figure = {"champion": 0.5, "challenger": 0.4, "rise": -0.1, "interval": [-0.2, 0.0], "n_rows": 40}
    champion, challenger = folder.champion().pointer, folder.challenger().pointer
    folder.keep_verdict(
        {
            "promotes": promotes,
            "reason": "every gate is passed" if promotes else "needs care of gold: missed more often",
            "champion": {"version": champion.version, "digest": champion.digest},
            "challenger": {"version": challenger.version, "digest": challenger.digest},
            "gates": gates,
            "sets": {"gold": {"n_rows": 40, "n_groups": 7, "figures": {"log loss": figure}}},
        }
    )


def open_models(serve, sqlite_url, look, folder, **settings):
    address = serve(sqlite_url, None, bundle=folder.path, max_bundle_slowdown=100, **settings)
    looker = look(address)
    return address, looker, looker.open("/console/models")


def test_gates_of_the_last_contest_are_drawn(serve, sqlite_url, look, axe, folder):
    keep_verdict(folder, promotes=False)
    _, looker, page = open_models(serve, sqlite_url, look, folder)
    section = page.locator("#contests")
    assert "new-1 failed 1 of 3 gates" in section.inner_text()
    row = section.get_by_role("row", name="needs care of gold")
    for said in ("failed", "+0.031", "+0.010 to +0.050", "at most +0.020"):
        assert said in row.inner_text()
    drawn = row.get_by_role("img")
    assert drawn.get_attribute("aria-label") == "+0.031, 95% interval +0.010 to +0.050; at most +0.020 is allowed"
    edge, place = drawn.locator(".refused").get_attribute("x"), drawn.locator(".value").get_attribute("cx")
    assert float(place) > float(edge)
    section.get_by_text("Figures of both on the same turns").click()
    assert "−0.100" in section.get_by_role("row", name="log loss").inner_text()
    looker.keep(page, "gates")
    assert faults_of(page, axe) == []


def test_challenger_that_failed_is_promoted_with_a_reason_alone(serve, sqlite_url, look, folder):
    keep_verdict(folder, promotes=False)
    address, _, page = open_models(serve, sqlite_url, look, folder)
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Promote").click()
    assert page.url.endswith("/console/models")
    page.get_by_label("Why it may serve").fill("the gold set is wrong")
    page.get_by_role("button", name="Promote").click()
    page.get_by_text("is named to serve").wait_for()
    assert folder.champion().pointer.reason.startswith("forced: the gold set is wrong; promoted by anyone")
    page.goto(f"{address}/console/audit")
    assert "the gold set is wrong" in page.locator("tbody").inner_text()


def test_promotion_without_a_verdict_or_a_reason_is_refused(serve, sqlite_url, folder, look):
    address, looker, page = open_models(serve, sqlite_url, look, folder)
    form = {"act": "promote", "digest": folder.challenger().pointer.digest}
    script = "([path, form, token]) => fetch(path, {method: 'POST', body: new URLSearchParams({...form, token})})"
    token = page.locator("input[name=token]").first.get_attribute("value")
    answer = page.evaluate_handle(script, [f"{address}/console/models/apply/bundle", form, token])
    assert answer.evaluate("answer => answer.text()").count("say why new-1 may serve") == 1
    assert folder.champion().pointer.version != "new-1"
    looker.said = [text for text in looker.said if "status of 422" not in text]


def test_promotion_that_is_not_confirmed_does_nothing(serve, sqlite_url, look, folder):
    keep_verdict(folder, promotes=True)
    _, _, page = open_models(serve, sqlite_url, look, folder)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    page.get_by_role("button", name="Promote").click()
    assert "Let new-1 serve instead of" in asked[0]
    assert folder.challenger() is not None


def test_challenger_is_promoted_and_rolled_back(serve, sqlite_url, look, axe, folder):
    keep_verdict(folder, promotes=True)
    address, looker, page = open_models(serve, sqlite_url, look, folder)
    old = folder.champion().pointer.version
    page.on("dialog", lambda dialog: dialog.accept())
    looker.keep(page, "challenger")
    assert faults_of(page, axe) == []
    page.get_by_role("button", name="Promote").click()
    page.get_by_text("is named to serve").wait_for()
    assert page.locator("thead th").nth(1).inner_text().startswith("new-")
    assert folder.champion().pointer.reason == "every gate is passed; promoted by anyone in the console"
    page.get_by_role("button", name=f"Roll back to {old}").click()
    page.wait_for_url(f"**done={old}")
    assert page.locator("thead th").nth(1).inner_text().startswith(old)
    page.goto(f"{address}/console/audit")
    assert {"models.promote", "models.rollback"} <= set(page.locator("tbody td:nth-child(3)").all_inner_texts())


def test_shadow_agreement_is_shown_while_turns_come_in(serve, sqlite_url, look, folder):
    address, _, page = open_models(serve, sqlite_url, look, folder)
    decide_some(address)
    for _ in range(100):
        page.reload()
        if "10 live turns assessed" in page.locator("main").inner_text():
            break
        page.wait_for_timeout(100)
    assert "10 live turns assessed beside the champion" in page.locator("main").inner_text()
    assert "risk: the same label" in page.locator(".agreement").inner_text()
    assert "100.0%" in page.locator(".agreement").inner_text()


def test_viewer_sees_contests_and_changes_nothing(serve, sqlite_url, look, folder):
    keep_verdict(folder, promotes=True)
    store = Store(sqlite_url)
    key, _ = create_key(store, "viewer", ["view"], actor="test")
    store.close()
    address = serve(sqlite_url, None, bundle=folder.path, max_bundle_slowdown=100, keys="on")
    page = look(address).open("/console/sign-in")
    sign_in(page, key)
    page.wait_for_url("**/console")
    page.goto(f"{address}/console/models")
    assert page.get_by_text("passed every gate").is_visible()
    assert page.get_by_role("button", name="Promote").count() == 0


def test_tables_of_a_manifest_are_drawn(serve, sqlite_url, look, folder, tiny_bundle_copy):
    manifest = json.loads((tiny_bundle_copy / "manifest.json").read_text())
    figures = {"accuracy": 0.75, "macro_f1": 0.7, "ece": 0.1, "labels": {}}
    tables = {"reliability": [[0.25, 0.4, 0.5], [0.75, 0.9, 0.8333]], "confusion": [[0, 0, 9], [1, 0, 3]]}
    heads = dict.fromkeys(("category", "risk", "scope", "turn"), figures | tables)
    manifest["metrics"]["evaluation"] = {"n_rows": 12, "n_groups": 4, "heads": heads}
    (tiny_bundle_copy / "manifest.json").write_text(json.dumps(manifest | {"version": "drawn-1"}))
    folder.challenge(Challenger(folder.add(tiny_bundle_copy)))
    _, _, page = open_models(serve, sqlite_url, look, folder)
    assert page.locator(".plot").count() == 4
    assert "40% sure, right 50%, 90% sure, right 83%" in page.locator(".plot").first.get_attribute("aria-label")
    page.get_by_text("Confusion of category").click()
    table = page.get_by_role("region", name="Confusion of category, drawn-1, category")
    assert table.locator("tbody tr td:nth-of-type(1)").all_inner_texts()[:3] == ["9", "3", ""]
