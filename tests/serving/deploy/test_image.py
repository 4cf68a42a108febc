"""The image that the Dockerfile makes: it starts as its user, under a root file system that cannot be written.

On demand, for minutes and as root: `pytest -m image -s tests/serving/deploy`. It needs buildah, no daemon and no
container runtime: what a runtime would set up (own root, read only; own user, no capabilities; one volume) is set up by
hand. Where no registry can be reached, `IMAGE_OPTIONS` names another base, see `serving/deploy/README.md`.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time

import httpx
import pytest

from ..gateways.processes import free_port
from ..processes import ROOT

pytestmark = [pytest.mark.image, pytest.mark.timeout(0)]

TAG = "localhost/pointsman:test"
RUN = """
set -e
root=$1 data=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$data" "$root/data"
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"""
PATIENCE_S = 120


def buildah(*arguments):
    done = subprocess.run(["buildah", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"buildah {arguments[0]}: {done.stderr[-3000:]}"
    return done.stdout.strip()


class Image:
    """The image's root, and what is asked for in its configuration."""

    def __init__(self, container, data):
        self._root, self._data = buildah("mount", container), data
        told = json.loads(buildah("inspect", "--type", "container", container))
        self.config = told["OCIv1"]["config"]
        self.health_check = told["Docker"]["config"]["Healthcheck"]["Test"][1:]

    def command(self, arguments, **environment):
        """Return the command that runs one in the image, as its user."""
        user = self.config["User"]
        given = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        shut_in = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs"]
        shut_in += ["--bounding-set=-all", "--inh-caps=-all", "env", "-i", *given, *arguments]
        return ["unshare", "--mount", "sh", "-c", RUN, "sh", self._root, str(self._data), *shut_in]

    def run(self, *arguments, **environment):
        command = self.command(arguments, **environment)
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The volume; it belongs to the image's user, as one that is made anew does."""
    folder = tmp_path_factory.mktemp("data")
    os.chown(folder, 10001, 10001)
    return folder


@pytest.fixture(scope="module")
def image(data):
    if shutil.which("buildah") is None or os.geteuid() != 0:
        pytest.skip("the image was NOT built: it needs buildah and root (apt install buildah)")
    options = shlex.split(os.environ.get("IMAGE_OPTIONS", ""))
    if not options:
        base = re.search(r"^ARG BASE=(\S+)", (ROOT / "serving/deploy/Dockerfile").read_text(), re.M)[1]
        pulled = subprocess.run(["buildah", "pull", base], capture_output=True, text=True)
        if pulled.returncode:
            pytest.skip(f"the image was NOT built: {base} cannot be had here; name another in IMAGE_OPTIONS")
    command = ["build", "--layers", "--isolation", "chroot", "--format", "docker", *options]
    ignored = "serving/deploy/Dockerfile.dockerignore"
    buildah(*command, "--ignorefile", ignored, "--file", "serving/deploy/Dockerfile", "--tag", TAG, ".")
    container = buildah("from", TAG)
    yield Image(container, data)
    buildah("umount", container)
    buildah("rm", container)


@pytest.fixture(scope="module")
def key(image):
    made = image.run(*image.config["Entrypoint"], "keys", "create", "gateway", "--role", "decide")
    assert made.returncode == 0, made.stderr
    return re.search(r"psm_\w+", made.stdout).group()


@pytest.fixture(scope="module")
def service(image, key, tmp_path_factory):
    """The service as the image starts it, asked until its health check passes."""
    port = free_port()
    command = image.command([*image.config["Entrypoint"], *image.config["Cmd"]], POINTSMAN_PORT=port)
    log_path = tmp_path_factory.mktemp("log") / "serve.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    asked = [part.replace("8095", str(port)) for part in image.health_check]
    deadline = time.monotonic() + PATIENCE_S
    while image.run(*asked).returncode:
        assert process.poll() is None, log_path.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_S) as http:
        yield http
    process.terminate()
    # Drained, it ends as whoever was told to: by the signal.
    assert process.wait(PATIENCE_S) == -signal.SIGTERM


def test_image_runs_as_a_user_without_rights(image):
    told = image.run("sh", "-c", "id -u; grep CapEff /proc/self/status")
    assert told.stdout.split() == ["10001", "CapEff:", "0000000000000000"]


def test_root_cannot_be_written_but_the_volume_can(image):
    assert "Read-only file system" in image.run("touch", "/opt/pointsman/x").stderr
    assert image.run("touch", "/data/x").returncode == 0


def test_first_start_without_a_key_says_which_command_makes_one(image, data):
    assert not (data / "pointsman").exists()
    started = image.run(*image.config["Entrypoint"], *image.config["Cmd"], POINTSMAN_PORT=free_port())
    assert started.returncode == 2
    assert "pointsman keys create" in started.stderr


def test_service_decides_for_who_has_a_key(service, key):
    body = {"prompt": "fix the typo in the README"}
    assert service.post("/v1/decide", json=body).status_code == 401
    answer = service.post("/v1/decide", json=body, headers={"x-pointsman-key": key})
    assert (answer.status_code, answer.json()["category"]["label"]) == (200, "docs")


def test_records_are_on_the_volume_alone(service, data):
    assert (data / "pointsman" / "pointsman.sqlite").is_file()
