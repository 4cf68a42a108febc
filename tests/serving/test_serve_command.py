"""`pointsman serve` starts, says where it is, stops cleanly, and says why when it cannot start."""

import argparse
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import trustme

from pointsman.serving.commands import ServeCommand
from pointsman.serving.key_store import create_key
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
    assert serving.stderr.readline() == f"Console: {url}/\n"
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


def test_log_that_nobody_reads_holds_up_no_answer(serving):
    url = re.search(r"http://127\.0\.0\.1:\d+", serving.stderr.readline()).group()
    # A pipe holds 64 KiB, some 300 of these lines.
    with httpx.Client(base_url=url, trust_env=False, transport=httpx.HTTPTransport(retries=5)) as http:
        models = {http.post("/v1/decide", json={"prompt": RACE}).json()["model"] for _ in range(1000)}
    assert models == {"claude-opus-5-5"}


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


@pytest.fixture
def start(sqlite_url):
    """Start the command with more arguments and environment; its process and greeting."""
    processes = []

    def start(*arguments, **environment):
        script = SERVE.format(root=str(ROOT))
        command = [sys.executable, "-c", script, "--port", "0", "--database-url", sqlite_url, *arguments]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
        processes.append(process)
        greeting = []
        while not greeting or "API key" not in greeting[-1]:
            line = process.stderr.readline()
            assert line, greeting
            greeting.append(line)
        url = re.search(r"https?://[^/ ]+:\d+", greeting[0]).group()
        return url, "".join(greeting)

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def make_key(database_url, *roles):
    store = Store(database_url)
    text, _ = create_key(store, "test", list(roles), actor="test")
    store.close()
    return text


def test_start_without_keys_warns_loudly(start):
    assert start()[1].endswith(
        "WARNING: API keys are off, since only this machine reaches this address. POINTSMAN_KEYS=on asks for them.\n"
    )


def test_public_start_without_keys_is_refused_with_the_ways_out(sqlite_url):
    arguments = ["--port", "0", "--host", "0.0.0.0", "--database-url", sqlite_url]
    command = [sys.executable, "-c", SERVE.format(root=str(ROOT)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("pointsman: POINTSMAN_HOST: '0.0.0.0' can be reached from other machines, and the")
    for way_out in ("pointsman keys create NAME --role decide", "listen on 127.0.0.1", "POINTSMAN_KEYS=off"):
        assert way_out in done.stderr
    assert done.stderr.count("\n") == 1


def test_public_start_with_keys_off_warns_loudly(start):
    _, greeting = start("--host", "0.0.0.0", "--keys", "off")
    assert "WARNING: API keys are off (POINTSMAN_KEYS=off). Whoever reaches this address can ask" in greeting


def test_public_start_with_a_key_asks_for_it(start, sqlite_url):
    key = make_key(sqlite_url, "decide")
    url, greeting = start("--host", "0.0.0.0")
    assert "Requests need an API key" in greeting
    assert "They travel in clear text: set POINTSMAN_TLS_CERT" in greeting
    assert '-H "x-pointsman-key: $POINTSMAN_KEY"' in greeting
    with httpx.Client(
        base_url=url.replace("0.0.0.0", "127.0.0.1"), trust_env=False, transport=httpx.HTTPTransport(retries=5)
    ) as http:
        statuses = [
            http.post("/v1/decide", json={"prompt": RACE}, headers=headers).status_code
            for headers in ({}, {"x-pointsman-key": key})
        ]
    assert statuses == [401, 200]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate for this machine, its key, and the authority that signed it."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    authority.cert_pem.write_to_path(folder / "authority.pem")
    return folder


def test_service_speaks_tls_with_the_files_it_is_given(start, certificates):
    files = ["--tls-cert", str(certificates / "cert.pem"), "--tls-key", str(certificates / "key.pem")]
    url, _ = start(*files)
    assert url.startswith("https://")
    context = ssl.create_default_context(cafile=certificates / "authority.pem")
    transport = httpx.HTTPTransport(retries=5, verify=context)
    with httpx.Client(base_url=url, trust_env=False, transport=transport) as http:
        response = http.post("/v1/decide", json={"prompt": RACE})
    assert (response.status_code, "strict-transport-security" in response.headers) == (200, True)


@pytest.mark.parametrize(
    ("cert", "key", "message"),
    [
        ("cert.pem", "none.pem", "cannot be used: No such file or directory"),
        ("cert.pem", "authority.pem", "cannot be used: no such pair of PEM files"),
        ("key.pem", "key.pem", "cannot be used: no such pair of PEM files"),
        ("cert.pem", None, "POINTSMAN_TLS_CERT and POINTSMAN_TLS_KEY go together; one of them is unset"),
    ],
)
def test_certificate_that_cannot_be_used_is_said_in_one_line(certificates, capsys, cert, key, message):
    arguments = ["--port", "0", "--tls-cert", str(certificates / cert)]
    arguments += [] if key is None else ["--tls-key", str(certificates / key)]
    assert ServeCommand().run(parsed(*arguments)) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def asked_from(url, address):
    headers = {"x-forwarded-for": address}
    with httpx.Client(base_url=url, trust_env=False, transport=httpx.HTTPTransport(retries=5)) as http:
        return http.post("/v1/decide", json={"prompt": RACE}, headers=headers).status_code


def test_forwarded_address_counts_from_trusted_proxies_alone(start):
    trusting, _ = start(POINTSMAN_RATE_LIMIT="1/day", POINTSMAN_TRUSTED_PROXIES="127.0.0.0/8")
    assert [asked_from(trusting, f"10.0.0.{number}") for number in (1, 2, 1)] == [200, 200, 429]
    wary, _ = start(POINTSMAN_RATE_LIMIT="1/day", FORWARDED_ALLOW_IPS="*")
    assert [asked_from(wary, f"10.0.0.{number}") for number in (1, 2)] == [200, 429]


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
