"""What the fuzzers call: bytes in, nothing out. Only what a user of the code must never see gets through.

Each target takes any bytes. A reader of people's requests may raise nothing at all; a loader of files may raise the
errors it documents, and they must say something; the service may answer anything but a fault of its own.
"""

import asyncio
import contextlib
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from pointsman.classifier.assessor import Assessor
from pointsman.classifier.bundle import load_bundle, sha256_of
from pointsman.classifier.catalog import Catalog
from pointsman.classifier.errors import BundleError, ClassifierError, ConfigError
from pointsman.classifier.policy import Policy
from pointsman.classifier.text import build_text
from pointsman.serving.app import create_app
from pointsman.serving.errors import PayloadTooLargeError
from pointsman.serving.questions import Delivery, read_question
from pointsman.serving.settings import load_settings

from ..serving.fakes import fake_router
from .shapes import Source

TINY_BUNDLE = Path(__file__).parents[1] / "data" / "bundles" / "format-1"
ENCODINGS = ("", "gzip", "deflate", "br")
PATHS = (
    "",
    "v1/messages",
    "v1/chat/completions",
    "v1/responses",
    "v1/messages/count_tokens",
    "%0a",
    "responses/compact",
)
POSTS = ("/v1/decide", "/v1/decide/v1/messages", "/v1/classify", "/v1/feedback", "/v1/route", "/sign-in")


@cache
def _router():
    return fake_router()


@cache
def _scratch():
    """A folder in memory where there is one: the loaders read files."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="pointsman-fuzz-", dir=memory if memory.is_dir() else None))


def request_bytes(data):
    """The body of a request, byte for byte, packed or not, on any path."""
    head, body = data[:1], data[1:]
    number = head[0] if head else 0
    _read(body, {"content-encoding": ENCODINGS[number % 4]}, PATHS[number // 4 % len(PATHS)])


def request_shapes(data):
    """A body made of words that mean something to the reader, in any arrangement and of any type."""
    source = Source(data)
    body = source.value()
    headers = {name: source.text() for name in source.header_names()}
    _read(json.dumps(body).encode("utf-8", "surrogatepass"), headers, source.of(PATHS))


def _read(body, headers, path):
    with contextlib.suppress(PayloadTooLargeError):
        question = read_question(_router(), Delivery(body, headers, path), limit_bytes=1 << 20)
        assert isinstance(question.turn.prompt, str)
        text = build_text(question.turn)
        text.prompt.encode()
        # Deciding has to cope with whatever was read.
        assert _router().decide_turn(question.turn, models=question.models, policy=question.policy).model


def policy_file(data):
    """The text of a policy."""
    _load(Policy.load, data, "policy.yaml")


def catalog_file(data):
    """The text of a catalogue."""
    _load(Catalog.load, data, "catalog.yaml")


def _load(load, data, name):
    path = _scratch() / name
    path.write_bytes(data)
    try:
        load(path)
    except ConfigError as exc:
        _explains(exc)


def bundle_manifest(data):
    """The manifest of a bundle whose other files are whole."""
    folder = _bundle()
    (folder / "manifest.json").write_bytes(data)
    try:
        load_bundle(folder)
    except BundleError as exc:
        _explains(exc)


def bundle_parts(data):
    """A tokenizer, glosses and reference set whose digests are right: made by somebody who signs what he likes."""
    folder = _bundle()
    name = ("tokenizer.json", "glosses.json", "reference.npy")[data[0] % 3 if data else 0]
    whole = (TINY_BUNDLE / name).read_bytes()
    source = Source(data[1:])
    try:
        (folder / name).write_bytes(source.spoiled(whole))
        manifest = json.loads((TINY_BUNDLE / "manifest.json").read_text())
        manifest["digests"][name] = sha256_of(folder / name)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        Assessor.load(folder)
    except ClassifierError as exc:
        _explains(exc)
    finally:
        (folder / name).write_bytes(whole)


def _explains(exc):
    assert len(str(exc)) > 20


@cache
def _bundle():
    return Path(shutil.copytree(TINY_BUNDLE, _scratch() / "bundle"))


def service(data):
    """Any method, path, headers and body, at the door of the app."""
    source = Source(data)
    path = source.of(POSTS) if source.flag() else "/" + source.text()
    headers = [(name.encode(), source.text().encode("latin-1", "replace")) for name in source.header_names()]
    body = source.rest() if source.flag() else json.dumps(source.value()).encode("utf-8", "surrogatepass")
    status = _app().ask(source.of(("POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS")), path, headers, body)
    assert status < 500, f"{path} answered {status}"


class _App:
    """The app, started once, asked on one event loop."""

    def __init__(self):
        url = f"sqlite:///{_scratch() / 'records.sqlite'}"
        self._app = create_app(load_settings(database_url=url, keys="off", reload_s=0, learn_s=0), fake_router())
        self._loop = asyncio.new_event_loop()
        self._lifespan = self._app.router.lifespan_context(self._app)
        self._loop.run_until_complete(self._lifespan.__aenter__())
        self._loop.run_until_complete(self._until_warm())

    async def _until_warm(self):
        while await self._ask("GET", "/readyz", [], b"") != 200:
            await asyncio.sleep(0.01)

    def ask(self, method, path, headers, body):
        return self._loop.run_until_complete(asyncio.wait_for(self._ask(method, path, headers, body), 60))

    async def _ask(self, method, path, headers, body):
        status, sent = [], [{"type": "http.request", "body": body, "more_body": False}]
        scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http"}
        scope |= {"path": path, "raw_path": path.encode("utf-8", "surrogatepass"), "query_string": b"", "root_path": ""}
        scope |= {
            "headers": [(b"host", b"localhost"), *headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

        async def receive():
            return sent.pop() if sent else {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                status.append(message["status"])

        await self._app(scope, receive, send)
        return status[0]


@cache
def _app():
    return _App()


TARGETS = {
    target.__name__: target
    for target in (request_bytes, request_shapes, policy_file, catalog_file, bundle_manifest, bundle_parts, service)
}
