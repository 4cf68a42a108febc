"""The console in a real browser on the bundle that ships, and the means to look at a page as people do."""

import re
import shutil
import socket
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from pointsman.classifier.bundle import DEFAULT_BUNDLE, MANIFEST
from pointsman.classifier.router import Router
from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings

from ..conftest import wait_until_ready
from ..gateways.processes import npm_gateway

ROOT = Path(__file__).parents[3]
#: Left behind for people to look at; git ignores the folder.
SCREENSHOTS = ROOT / "build" / "screenshots"
CHROMIUM = shutil.which("chromium")


# Ended with its module: while it runs, its event loop keeps `asyncio.run` from every other test.
@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="browser tests need playwright")
    if CHROMIUM is None:
        pytest.skip("the console was NOT looked at: no chromium on this machine. Run: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe():
    """The checker's script, or a loud skip where it cannot be fetched."""
    return (npm_gateway("axe-core", "axe-core@4.14.1") / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def shipped_router():
    """The router that ships; tests share its model and nothing else."""
    if not (DEFAULT_BUNDLE / MANIFEST).is_file():
        pytest.skip("no bundle is in the package yet: train one (pointsman train)")
    return Router.load()


@contextmanager
def _served(database_url, router, **settings):
    app = create_app(load_settings(database_url=database_url, decide_timeout_s=20, **settings), router)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with httpx.Client(base_url=address, trust_env=False, timeout=20) as http:
        wait_until_ready(http)
    yield address
    server.should_exit = True
    thread.join(20)
    listener.close()


@pytest.fixture
def serve():
    """Return what serves on a free port and returns the address."""
    with ExitStack() as running:
        yield lambda *given, **settings: running.enter_context(_served(*given, **settings))


@pytest.fixture
def copied_router(shipped_router):
    """A router of its own around the shared model, for tests that change policy or sessions."""
    return Router(shipped_router.assessor, shipped_router.catalog, shipped_router.policy)


class Looker:
    """Opens pages; fails a test whose page complained or asked another host for anything."""

    def __init__(self, browser, address, name):
        self._browser, self.address, self._name = browser, address, name
        self._contexts = []
        self.said, self.elsewhere = [], []

    def open(self, path, *, width=1280, scheme="light"):
        context = self._browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self._note(request.url))
        page.goto(self.address + path)
        return page

    def _note(self, url):
        if not url.startswith((self.address, "data:")):
            self.elsewhere.append(url)

    def keep(self, page, what, *, name=None):
        """Leave a picture of the page for people, from its top."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        named = re.sub(r"\W+", "-", f"{what}-{name}" if name else f"{self._name}-{what}").strip("-")
        page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
        page.screenshot(path=SCREENSHOTS / f"{named}.png", full_page=True)

    def close(self):
        for context in self._contexts:
            context.close()


@pytest.fixture
def look(browser, serve, request):
    """Return what opens pages of an address; they close before the service stops."""
    lookers = []

    def look_at(address):
        lookers.append(Looker(browser, address, request.node.name))
        return lookers[-1]

    yield look_at
    for looker in lookers:
        looker.close()
        assert looker.said == []
        assert looker.elsewhere == []


def faults_of(page, axe):
    """Return what axe finds against WCAG 2.2 AA; its script is evaluated, since the page's policy would not load it."""
    page.evaluate(axe)
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate(f"axe.run({{runOnly: {tags}}})")["violations"]
    return [
        f"{fault['id']}: {node['target']} {node.get('failureSummary')}" for fault in found for node in fault["nodes"]
    ]


def overflow_of(page):
    """Return by how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
