"""Every page on two weeks of decisions: on a desk and a phone, light and dark, checked by axe and kept as a picture."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pointsman.classifier import bundle as bundles
from pointsman.classifier.aliases import AliasFolder, Challenger
from pointsman.classifier.assessor import Assessor
from pointsman.classifier.policy_file import POLICIES
from pointsman.classifier.router import Router
from pointsman.serving.store import Store

from .conftest import faults_of, overflow_of
from .fortnight import fill

pytestmark = [pytest.mark.browser, pytest.mark.training, pytest.mark.timeout(600)]

STAKES = Path(__file__).parents[3] / "data" / "stakes.jsonl"
LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


@pytest.fixture(scope="module")
def aliases(shipped_router, tmp_path_factory):
    """The bundle that ships with figures of its own, a surer one that challenges it, and their contest."""
    from pointsman.training.config import ContestConfig
    from pointsman.training.contest_files import ContestFiles, contest_files
    from pointsman.training.datasets import read_examples
    from pointsman.training.evaluate import evaluate
    from pointsman.training.measured import keep_report

    place = tmp_path_factory.mktemp("aliases")
    gold = place / "stakes.jsonl"
    gold.write_text("".join(STAKES.read_text(encoding="utf-8").splitlines(keepends=True)[::3]), encoding="utf-8")
    shipped = shipped_router.assessor.bundle
    surer = place / "surer"
    shutil.copytree(shipped.path, surer)
    manifest = replace(
        shipped.manifest,
        version="surer-1",
        temperatures={head: 0.6 * t for head, t in shipped.manifest.temperatures.items()},
    )
    bundles.write_manifest(surer, manifest)
    folder = AliasFolder(place / "aliases")
    for source in (shipped.path, surer):
        report = evaluate(Assessor.load(source), read_examples([gold]), n_bootstrap=50)
        copy = keep_report(source, place / f"measured-{source.name}", report, [gold])
        pointer = folder.add(copy.path)
        if folder.champion() is None:
            folder.promote(pointer, reason="served before anything was promoted")
    folder.challenge(Challenger(replace(pointer, reason="tried out by hand"), shadow_share=1.0, canary_share=0.05))
    contest_files(ContestFiles((gold,), folder.path), ContestConfig(n_draws=50))
    return folder


@pytest.fixture(scope="module")
def records(shipped_router, migrated_sqlite, tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "records.sqlite"
    shutil.copy(migrated_sqlite, path)
    store = Store(f"sqlite:///{path}")
    rows = fill(store, Router(shipped_router.assessor, shipped_router.catalog, shipped_router.policy))
    store.close()
    return path, rows


@pytest.fixture
def address(serve, shipped_router, records, aliases, tmp_path):
    shutil.copy(records[0], tmp_path / "records.sqlite")
    policy, catalog = tmp_path / "ours.yaml", tmp_path / "models.yaml"
    shutil.copy(POLICIES / "balanced.yaml", policy)
    shutil.copy(shipped_router.catalog.path, catalog)
    settings = {"bundle": aliases.path, "policy": str(policy), "catalog": str(catalog), "max_bundle_slowdown": 100}
    return serve(f"sqlite:///{tmp_path / 'records.sqlite'}", None, store_text=True, **settings)


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_every_page_is_sound_with_two_weeks_of_decisions(address, records, look, axe, width, scheme):
    looker = look(address)
    session = max((row.session_id for row in records[1]), key=[row.session_id for row in records[1]].count)
    page = looker.open("/console/live", width=width, scheme=scheme)
    faults = []

    def keep(what):
        looker.keep(page, what, name=f"{width}-{scheme}")
        found = [*faults_of(page, axe), *([f"{overflow_of(page)} px too wide"] if overflow_of(page) else [])]
        faults.extend(f"{what}: {fault}" for fault in found)

    page.get_by_text("Live, press to pause").wait_for()
    keep("live")
    for what, path in {
        "start": "/start",
        "session": f"/session?id={session}",
        "savings": "/savings",
        "review": "/review",
        "agreement": "/review/agreement",
        "audit": "/audit",
        "sign-in": "/sign-in",
        "error": "/nowhere",
        "live-empty": "/live?session=nobody",
        "savings-empty": "/savings?since=2020-01-01&until=2020-01-02",
    }.items():
        page.goto(f"{address}/console{path}")
        keep(what)
    page.goto(f"{address}/console/models")
    page.get_by_role("button", name="Draw the frontier").click()
    page.locator("#frontier .uplot").wait_for()
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    keep("models")
    for what, path in {"policy": "/models/policy", "catalogue": "/models/catalog"}.items():
        page.goto(f"{address}/console{path}")
        keep(f"{what}-draft")
        text = page.locator("#text").input_value()
        page.locator("#text").fill(
            text.replace("low: 0.30", "low: 3").replace("haiku-5-5, qwen3-coder-plus", "haiku-5-5")
        )
        page.get_by_role("button", name="Check and replay").click()
        page.locator("#replayed .uplot").wait_for()
        keep(f"{what}-replayed")
    page.goto(f"{address}/console/playground")
    keep("playground-empty")
    page.get_by_label("Prompt", exact=True).fill("Drop the unused columns from the orders table in production")
    page.get_by_role("button", name="Decide").click()
    page.get_by_role("heading", name="Expected cost").wait_for()
    page.get_by_role("button", name="Show the words").click()
    page.locator(".words").first.wait_for()
    page.get_by_role("button", name="Show the turns").click()
    page.locator("#nearest .quote").first.wait_for()
    keep("playground")
    looker.said = [text for text in looker.said if "status of 404" not in text]
    assert faults == []
