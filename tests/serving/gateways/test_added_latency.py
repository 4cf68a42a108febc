"""What asking costs a request, per gateway, beside the same gateway that does not ask: prints a Markdown table.

The service is the real one with the bundle that ships, a process of its own; every request is the first of a session,
so each is read, inferred and weighed. Every second request goes through the same gateway without a question. One
client, one request at a time.
"""

import json
import threading
import time
from collections import namedtuple
from contextlib import ExitStack, contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import httpx
import pytest

from ..clients import CLAUDE_HEADERS, claude_body
from ..fake_provider import Text, message_of
from . import processes, test_litellm
from .agents import CAREFUL_MODEL, KEY_HEADERS
from .processes import SHIPPED, free_port, running, shipped, tool
from .test_proxies import STARTS

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

Wire = namedtuple("Wire", "url address")
Provider = namedtuple("Provider", "url")
Sides = namedtuple("Sides", "gateway asking unasked")
SIZES = {"50 KB": (50_000, 120), "1 MB": (1_000_000, 50)}
#: Words: over one long string claude-code-router's own tokenizer takes minutes.
FILLER = "".join(f"line {number} of a file that somebody wrote\n" for number in range(30_000))
PROMPT = "Fix the race condition in our payment webhook handler"
BUNDLES = set()
HEAD = """\
| | body | without asking p50 / p99 | asking p50 / p99 | added p50 / p99 | undecided |
|---|---|---|---|---|---|"""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer = json.dumps(message_of(CAREFUL_MODEL, Text("done"), 1)).encode()

    def do_POST(self):
        if self.headers.get("transfer-encoding"):
            while n_bytes := int(self.rfile.readline(), 16):
                self.rfile.read(n_bytes + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers["content-length"]))
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(self.answer)}\r\n\r\n"
        self.wfile.write(head.encode() + self.answer)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def provider():
    """Answers at once, whatever it is asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answering)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield Provider(f"http://127.0.0.1:{server.server_address[1]}")
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def decider(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decider")
    port = free_port()
    command = [tool("pointsman"), "serve", "--port", str(port), "--log-level", "error"]
    command += ["--database-url", f"sqlite:///{folder}/records.sqlite"]
    with running(command, port, folder, environment={}, ready="/readyz", wait_s=120):
        url = f"http://127.0.0.1:{port}"
        while httpx.get(f"{url}/readyz", trust_env=False).status_code != 200:
            time.sleep(0.2)
        BUNDLES.add(httpx.get(f"{url}/info", trust_env=False).json()["model_version"])
        yield Wire(url, ("127.0.0.1", port))


@contextmanager
def proxy(name, folder, decider, provider):
    port = free_port()
    with ExitStack() as stack:
        command = STARTS[name](folder, port, decider, provider, stack)
        gateway = stack.enter_context(running(command, port, folder, environment={}, ready="/", wait_s=60))
        # Under another path the same gateway passes a body on as it is.
        yield Sides(gateway, ("/v1/messages", CAREFUL_MODEL), ("/v1/elsewhere", CAREFUL_MODEL))


@contextmanager
def litellm(_, folder, decider, provider):
    changes = {"http://127.0.0.1:8095": decider.url, "https://api.anthropic.com": provider.url}
    with test_litellm.start(folder, shipped("litellm.yaml", changes | test_litellm.PATIENCE)) as gateway:
        # A request for a group by its own name is left alone.
        yield Sides(gateway, ("/v1/messages", CAREFUL_MODEL), ("/v1/messages", "strong"))


@contextmanager
def claude_code_router(_, folder, decider, provider):
    package = processes.claude_code_router()
    home = folder / ".claude-code-router"
    home.mkdir()
    port = free_port()
    changes = {
        "http://127.0.0.1:8095": decider.url,
        "https://api.anthropic.com": provider.url,
        '"claude_code_router.cjs"': json.dumps(str(SHIPPED / "claude_code_router.cjs")),
        '"PORT": 3456': f'"PORT": {port}',
        '"deadlineMs": 250': '"deadlineMs": 3000',
    }
    (home / "config.json").write_text(shipped("claude-code-router.json", changes))
    environment = {"CCR_API_KEY": KEY_HEADERS["x-api-key"], "ANTHROPIC_API_KEY": "upstream-key"}
    command = [tool("node"), package / "dist" / "cli.js", "start"]
    with running(command, port, folder, environment=environment, ready="/health", wait_s=60) as gateway:
        # A model chosen by hand is left alone.
        yield Sides(gateway, ("/v1/messages", CAREFUL_MODEL), ("/v1/messages", f"anthropic,{CAREFUL_MODEL}"))


GATEWAYS = {name: proxy for name in STARTS} | {"litellm": litellm, "claude-code-router": claude_code_router}


def told(row):
    """Print a row at once: what a run that is stopped has measured is not lost."""
    print(f"\n{row}", flush=True)


@pytest.fixture(scope="module", autouse=True)
def table():
    told(HEAD)
    yield
    print(f"\nBundle {', '.join(BUNDLES)}; {date.today()}.")


def measured(http, url, size, path, model):
    """Return the milliseconds of one request, and whether the gateway said that nobody decided it."""
    filler = claude_body(PROMPT)["system"] + [{"type": "text", "text": FILLER[:size]}]
    body = json.dumps(claude_body(PROMPT, stream=False, model=model, system=filler)).encode()
    headers = CLAUDE_HEADERS | KEY_HEADERS | {"x-claude-code-session-id": str(uuid4())}
    before = time.perf_counter()
    answer = http.post(url + path, content=body, headers=headers | {"content-type": "application/json"})
    passed_ms = (time.perf_counter() - before) * 1000
    assert answer.status_code == 200, answer.text[:500]
    return passed_ms, "x-pointsman-failure" in answer.headers


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))]


@pytest.mark.parametrize("size", SIZES)
def test_service_answers(size, decider):
    """What of the rest is the service's own: the same bodies sent to it without a gateway."""
    n_bytes, n_requests = SIZES[size]
    with httpx.Client(trust_env=False, timeout=60) as http:
        path = "/v1/decide/v1/messages"
        times = [measured(http, decider.url, n_bytes, path, CAREFUL_MODEL)[0] for _ in range(n_requests + 10)][10:]
    low, high = percentile(times, 0.5), percentile(times, 0.99)
    told(f"| the service alone | {size} | | {low:.1f} / {high:.1f} ms | | |")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", GATEWAYS)
def test_asking_costs_a_small_part_of_a_second(name, size, decider, provider, tmp_path):
    n_bytes, n_requests = SIZES[size]
    with GATEWAYS[name](name, tmp_path, decider, provider) as sides, httpx.Client(trust_env=False, timeout=60) as http:
        asking, unasked, n_undecided = [], [], 0
        for number in range(n_requests + 10):
            asked_ms, is_undecided = measured(http, sides.gateway.url, n_bytes, *sides.asking)
            unasked_ms, _ = measured(http, sides.gateway.url, n_bytes, *sides.unasked)
            if number >= 10:  # the first ones open connections
                asking.append(asked_ms)
                unasked.append(unasked_ms)
                n_undecided += is_undecided
    low, high = ([percentile(values, share) for values in (unasked, asking)] for share in (0.5, 0.99))
    told(
        f"| {name} | {size} | {low[0]:.1f} / {high[0]:.1f} ms | {low[1]:.1f} / {high[1]:.1f} ms "
        f"| {low[1] - low[0]:+.1f} / {high[1] - high[0]:+.1f} ms | {n_undecided} of {n_requests} |"
    )
    assert n_undecided == 0
