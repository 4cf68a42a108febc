"""The real Claude Code client through a gateway that asks Pointsman; only the provider is a fake."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import Any

import httpx
import pytest
import uvicorn

from pointsman.serving.app import create_app
from pointsman.serving.settings import load_settings

from .claude_code import ClaudeCode, UnavailableError, can_shut_in, install
from .fake_provider import Body, Decide, Exchange, FakeProvider, Reply, Text, ToolUse

# The first run fetches the client (90 MB) and may take minutes.
pytestmark = [pytest.mark.client, pytest.mark.timeout(400)]

PROMPT = "Fix the race condition in src/webhook.py"
#: A turn for each of the catalogue's roles. The client asks for a model that is neither.
PROMPTS = {"careful": PROMPT, "cheap": "fix the typo in the README"}
CLIENT_MODEL = "claude-sonnet-5-5"
LAST_WORDS = "It is done now."


@dataclass(frozen=True)
class Run:
    """What one call of the client did: what it printed, and its requests with their stored decisions."""

    output: str
    exchanges: list[Exchange]
    rows: list[dict[str, Any]]
    served_models: list[str]


@pytest.fixture(scope="module")
def executable() -> Path:
    try:
        return install()
    except UnavailableError as reason:
        pytest.skip(f"the real Claude Code was NOT run: {reason}")


@pytest.fixture(scope="module")
def pointsman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The whole service as it ships, on a port of its own; it keeps prompts, so that rows show what was read."""
    database = tmp_path_factory.mktemp("store") / "records.sqlite"
    app = create_app(load_settings(database_url=f"sqlite:///{database}", store_text=True))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    listener = create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", trust_env=False) as http:
        eventually(lambda: http.get("/readyz").raise_for_status())
        yield http
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()
    assert not thread.is_alive()


@dataclass(frozen=True)
class Printed:
    """`claude -p` with a task for one role, then `claude -p -c` with a word of agreement in the same session."""

    role: str
    task: Run
    more: Run


@pytest.fixture(scope="module", params=PROMPTS)
def printed(
    request: pytest.FixtureRequest,
    executable: Path,
    pointsman: httpx.Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> Printed:
    provider = FakeProvider(reply_to, decide=asking(pointsman))
    claude = ClaudeCode.on(executable, tmp_path_factory.mktemp("claude"), provider.serving)
    task = run(claude, provider, pointsman, PROMPTS[request.param])
    return Printed(request.param, task, run(claude, provider, pointsman, "-c", "yes, go on"))


@pytest.fixture(scope="module")
def interactive(executable: Path, pointsman: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An interactive session with one prompt: it also asks for a title, in the background."""
    if not can_shut_in():
        pytest.skip("interactive Claude Code was NOT run: without a network namespace (unshare -rn) it could call out")
    provider = FakeProvider(reply_to, decide=asking(pointsman))
    claude = ClaudeCode.on(executable, tmp_path_factory.mktemp("claude"), provider.serving)
    # Left alone, the client asks for its own small model, which may well be the one for the background.
    models = {"ANTHROPIC_DEFAULT_HAIKU_MODEL": CLIENT_MODEL}
    with claude.session("--model", CLIENT_MODEL, environment=models) as terminal:
        terminal.wait_for("❯")
        terminal.submit(PROMPT)
        terminal.wait_for(LAST_WORDS)
        eventually(lambda: title_of(provider.messages))
    return finished(provider, pointsman, terminal.text)


def test_claude_code_finishes_its_task(printed: Printed) -> None:
    assert printed.task.output == f"{LAST_WORDS}\n"


def test_first_request_is_a_task_and_the_rest_its_tool_loop(printed: Printed) -> None:
    assert [row["kind"] for row in printed.task.rows] == ["task", "tool_loop", "tool_loop"]


def test_prompt_is_read_out_of_every_request_of_the_turn(printed: Printed) -> None:
    assert {row["prompt"] for row in printed.task.rows} == {PROMPTS[printed.role]}


def test_task_goes_to_a_model_of_its_role(printed: Printed, pointsman: httpx.Client) -> None:
    assert printed.task.served_models[0] in models_of(pointsman, printed.role)


def test_tool_loop_sticks_to_the_model_of_its_task(printed: Printed) -> None:
    assert len({row["turn_key"] for row in printed.task.rows}) == 1
    assert len(set(printed.task.served_models)) == 1
    assert [row["sticky"] for row in printed.task.rows] == [False, True, True]


def test_tool_loop_is_answered_without_inference(printed: Printed) -> None:
    assert ["classify" in row["latency_ms"] for row in printed.task.rows] == [True, False, False]


def test_provider_is_asked_for_the_model_that_was_stored(printed: Printed) -> None:
    assert printed.task.served_models == [row["model"] for row in printed.task.rows]
    assert {row["client_model"] for row in printed.task.rows} == {CLIENT_MODEL}


def test_session_is_the_one_that_the_client_names(printed: Printed) -> None:
    rows = printed.task.rows + printed.more.rows
    assert {row["session_id"] for row in rows} == {header(printed.task.exchanges[0], "x-claude-code-session-id")}


def test_agreement_in_a_continued_session_keeps_the_model_unless_the_bound_leaves_it_out(printed: Printed) -> None:
    rows = printed.more.rows
    assert (rows[0]["kind"], rows[0]["prompt"]) == ("task", "yes, go on")
    keeps = set(printed.more.served_models) == set(printed.task.served_models)
    assert keeps is ("session_model_unfit" not in rows[0]["codes"])
    assert keeps or (printed.role == "cheap" and "risk_bound" in rows[0]["codes"])


def test_title_request_goes_to_the_background_model(interactive: Run, pointsman: httpx.Client) -> None:
    title = title_of(interactive.exchanges)
    assert title.body["model"] == CLIENT_MODEL
    assert title.decision["kind"] == "background"
    assert [title.decision["model"]] == models_of(pointsman, "background")


def test_title_request_leaves_the_task_alone(interactive: Run, pointsman: httpx.Client) -> None:
    main = [row for row in interactive.rows if row["kind"] != "background"]
    assert [row["kind"] for row in main] == ["task", "tool_loop", "tool_loop"]
    assert {row["prompt"] for row in main} == {PROMPT}
    (model,) = {row["model"] for row in main}
    assert model in models_of(pointsman, "careful")


def test_session_sends_messages_and_a_greeting_only(interactive: Run) -> None:
    # What it may have sent to other addresses met a network without routes, and is not seen here.
    assert {exchange.path.partition("?")[0] for exchange in interactive.exchanges} <= {"/v1/messages", "/api/hello"}


def reply_to(body: Body) -> Reply:
    """Play the model: name a session; for a task read the file, list the folder, and say it is done."""
    if not body.get("tools"):
        return Text('{"title": "Fix webhook race"}')
    steps = [ToolUse("Read", {"file_path": "src/webhook.py"}), ToolUse("Bash", {"command": "ls src"})]
    n_results = sum(block["type"] == "tool_result" for block in blocks_of(body))
    return steps[n_results] if n_results < len(steps) else Text(LAST_WORDS)


def blocks_of(body: Body) -> list[Body]:
    contents = [message["content"] for message in body["messages"]]
    return [block for content in contents if isinstance(content, list) for block in content]


def asking(pointsman: httpx.Client) -> Decide:
    """Do what a gateway's hook does: send the raw body on to Pointsman, under the path it came by."""

    def decide(path: str, headers: dict[str, str], raw: bytes) -> Body:
        return pointsman.post(f"/v1/decide{path}", content=raw, headers=headers).raise_for_status().json()

    return decide


def run(claude: ClaudeCode, provider: FakeProvider, pointsman: httpx.Client, *arguments: str) -> Run:
    provider.clear()
    done = claude.print_answer("--model", CLIENT_MODEL, *arguments)
    assert done.returncode == 0, (provider.errors, done.stdout, done.stderr)
    return finished(provider, pointsman, done.stdout)


def finished(provider: FakeProvider, pointsman: httpx.Client, output: str) -> Run:
    assert provider.errors == []
    # Rows are written off the hot path, so they may come a moment later.
    rows = [
        eventually(lambda e=exchange: pointsman.get(f"/v1/decisions/{e.decision['decision_id']}").raise_for_status())
        for exchange in provider.messages
    ]
    records = [row.json() for row in rows]
    return Run(output, list(provider.exchanges), records, list(provider.served_models))


def title_of(exchanges: list[Exchange]) -> Exchange:
    (title,) = [exchange for exchange in exchanges if exchange.is_message and not exchange.body.get("tools")]
    return title


def header(exchange: Exchange, name: str) -> str:
    return next(value for key, value in exchange.headers.items() if key.lower() == name)


def models_of(pointsman: httpx.Client, role: str) -> list[str]:
    return pointsman.get("/v1/models").raise_for_status().json()["roles"][role]


def eventually(attempt: Callable[[], Any], timeout_s: float = 20) -> Any:
    """Return the first result that is not an error; when time is up, let the error out."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return attempt()
        except (httpx.HTTPError, ValueError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
