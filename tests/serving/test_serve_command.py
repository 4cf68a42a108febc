"""`pointsman serve` starts, says where it is, stops cleanly, and says why when it cannot start."""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from pointsman.serving.commands import ServeCommand
from pointsman.serving.store import Store

from .clients import RACE

ROOT = Path(__file__).parents[2]
# The command as a person runs it, around a router with chosen answers.
SERVE = """
import argparse, sys
sys.path.insert(0, {root!r})
from tests.serving.fakes import fake_router
from pointsman.serving import commands, live_model
live_model.open_router = lambda settings: fake_router()
parser = argparse.ArgumentParser()
command = commands.ServeCommand()
command.add_arguments(parser)
sys.exit(command.run(parser.parse_args(sys.argv[1:])))
"""


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    ServeCommand().add_arguments(parser)
    return parser.parse_args(arguments)


@pytest.fixture
def serving(sqlite_url):
    """The command in a process of its own, on a free port."""
    arguments = ["--port", "0", "--database-url", sqlite_url]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE.format(root=str(ROOT)), *arguments], stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_command_serves_until_told_to_stop_and_keeps_its_records(serving, sqlite_url):
    greeting = serving.stderr.readline()
    url = re.search(r"http://127\.0\.0\.1:\d+", greeting).group()
    for part in ("model fake-1", "7 models in catalogue", "records in sqlite:///", "no prompt text is stored"):
        assert part in greeting
    assert f"curl -s {url}/v1/decide -d '{{" in serving.stderr.readline()
    transport = httpx.HTTPTransport(retries=5)
    with httpx.Client(base_url=url, trust_env=False, transport=transport) as http:
        answer = http.post("/v1/decide", json={"prompt": RACE}).json()
    serving.send_signal(signal.SIGTERM)
    _, rest = serving.communicate(timeout=20)
    assert serving.returncode == -signal.SIGTERM  # uvicorn stops in order, then lets the signal have its way
    assert f"decided decision_id={answer['decision_id']} kind=task" in rest
    store = Store(sqlite_url)
    assert store.decision(answer["decision_id"]).model == answer["model"]
    store.close()


def test_port_that_is_taken_is_said_so(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert ServeCommand().run(parsed("--port", port)) == 2
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use. Choose another with --port." in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "eighty"], "POINTSMAN_PORT: Input should be a valid integer"),
        (["--database-url", "mysql://h/d"], "POINTSMAN_DATABASE_URL: names the database 'mysql'"),
        (
            ["--port", "0", "--database-url", "postgresql://me:hunter2@127.0.0.1:1/db"],
            "the database postgresql+psycopg://me:***@127.0.0.1:1/db cannot be opened or migrated: connection failed",
        ),
        (
            ["--port", "0", "--database-url", "sqlite:////dev/null/x/y.sqlite"],
            "the database's folder /dev/null/x cannot",
        ),
    ],
    ids=["port", "kind of database", "database away", "folder"],
)
def test_start_that_cannot_be_is_said_in_one_line(arguments, message):
    done = subprocess.run(
        [sys.executable, "-c", SERVE.format(root=str(ROOT)), *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"pointsman: {message}")
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "sqlalchemy", "pydantic_settings"])
def test_missing_extra_is_named_with_what_to_do(missing, tmp_path):
    script = f"import sys; sys.modules[{missing!r}] = None\n" + SERVE.format(root=str(ROOT)).replace(
        "from pointsman.serving import commands, live_model", "from pointsman.serving import commands"
    ).replace("live_model.open_router = lambda settings: fake_router()", "")
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script, "--port", "0"], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.endswith(
        f"pointsman: serving needs {missing}, which is not installed. Run: pip install 'pointsman[serving]'.\n"
    )


def test_command_is_imported_without_the_web_framework():
    script = "import pointsman.serving.commands, sys; print({'fastapi', 'uvicorn', 'sqlalchemy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
