"""The recipes of the README, followed line by line to the real Claude Code; the test has a provider and a service.

Only what is installed, where the provider and the service are, the ports and the deadlines are the test's own.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections import namedtuple
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from ..claude_code import API_KEY
from ..clients import TYPO
from .agents import CHEAP_MODEL, run_claude, upstream
from .processes import (
    SHIPPED,
    claude_code_router,
    envoy_executable,
    eventually,
    free_port,
    packages,
    running,
    tool,
)
from .test_litellm import litellm_bin

pytestmark = [pytest.mark.gateway, pytest.mark.timeout(600)]

README = (SHIPPED / "README.md").read_text(encoding="utf-8")
#: What others do before, and what the test does itself.
NOT_RUN = ("pip ", "apt ", "npm ", "pointsman serve", "eval ", "claude ")
Gateway = namedtuple("Gateway", "port ready needs")
GATEWAYS = {
    "litellm": Gateway("4000", "/health/liveliness", litellm_bin),
    "claude-code-router": Gateway("3456", "/health", lambda: claude_code_router().parents[1] / ".bin"),
    "nginx": Gateway("8080", "/", lambda: Path(tool("nginx", "apt install nginx-light libnginx-mod-http-js")).parent),
    "envoy": Gateway("8080", "/", lambda: envoy_executable().parent),
    "envoy-ext-proc": Gateway("8080", "/", lambda: envoy_executable().parent),
    "envoy-ext-authz": Gateway("8080", "/", lambda: envoy_executable().parent),
    "haproxy": Gateway("8080", "/", lambda: Path(tool("haproxy", "apt install haproxy")).parent),
}


def recipe(name):
    """The lines of a gateway's recipe that write its files, and those that start it."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.S)
    (block,) = [block for block in blocks if re.search(rf"^pointsman gateway {name}(?: |$)", block, flags=re.M)]
    lines = [line for line in block.splitlines() if not line.startswith(NOT_RUN)]
    (writing,) = [line for line in lines if line.startswith("pointsman gateway")]
    return writing, [line for line in lines if line != writing]


def local(text, port, shown_port, provider, processor_port):
    """What a written file says, with this test's addresses and time for a machine that is shared."""
    provider_port = provider.url.rpartition(":")[2]
    changes = {
        rf"(127\.0\.0\.1:|port_value: |\"PORT\": ){shown_port}\b": rf"\g<1>{port}",
        r"(127\.0\.0\.1:|port_value: )8096\b": rf"\g<1>{processor_port}",
        r"address: api\.anthropic\.com, port_value: 443": f"address: 127.0.0.1, port_value: {provider_port}",
        r"(?s)\n      transport_socket:.*": "\n",
        r"server provider api\.anthropic\.com:443 .*": f"server provider {provider.url[7:]}",
        r"https://api\.anthropic\.com": provider.url,
        r"((?:deadline_ms:?|DEADLINE_MS|\"deadlineMs\":) )250\b": r"\g<1>5000",
        r" 250ms;": " 5s;",
        r"timeout: 0\.25s}": "timeout: 5s}",
        r"message_timeout: 0\.4s": "message_timeout: 6s",
    }
    for pattern, by in changes.items():
        text = re.sub(pattern, by, text)
    return text


@pytest.fixture
def folder():
    """A folder that nginx's workers, which are nobody, may enter."""
    path = Path(tempfile.mkdtemp(prefix="recipe-"))
    path.chmod(0o755)
    yield path
    with suppress(OSError):
        os.kill(int((path / "nginx.pid").read_text()), signal.SIGTERM)
    shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("name", GATEWAYS)
def test_recipe_ends_with_claude_code_going_through_the_gateway(name, relay, folder, tmp_path):
    shown_port, ready, needs = GATEWAYS[name]
    path = os.pathsep.join(str(place) for place in (needs(), Path(tool("pointsman")).parent, "/usr/sbin", os.defpath))
    node = Path(tool("node")).parent
    environment = {"PATH": f"{path}{os.pathsep}{node}", "HOME": str(folder), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    writing, starting = recipe(name)
    if name == "litellm":
        environment["PYTHONPATH"] = str(packages(tmp_path / "packages"))
    subprocess.run(["bash", "-ec", f"{writing} --url {relay.url}"], cwd=folder, env=environment, check=True)
    port, processor_port = free_port(), free_port()
    with ExitStack() as stack:
        provider = stack.enter_context(upstream())
        for file in (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lua"):
            file.write_text(local(file.read_text(), port, shown_port, provider, processor_port))
        script = "\n".join([*starting, "wait"]).replace(f"--port {shown_port}", f"--port {port}")
        script = re.sub(r"sk-choose-a-long-one|choose-one", API_KEY, script)
        gateway = stack.enter_context(
            running(["bash", "-c", script], port, folder, environment=environment, ready=ready, wait_s=240)
        )
        # The processor comes up a little after Envoy; until then requests go to the safe model.
        eventually(lambda: "ext-proc" not in script or "Envoy may ask" in gateway.log, wait_s=60)
        run_claude(gateway, tmp_path, TYPO)
        assert provider.models == [CHEAP_MODEL] * 3
