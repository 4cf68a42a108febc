"""The service works as the image runs it: without capabilities, under a root file system that cannot be written."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from ..processes import REAL_MODEL, ROOT, ServeProcess

#: Makes everything read-only but one folder, in a view of the file system of its own, then gives up all capabilities.
SHUT_IN = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
for place in $(awk '{print $5}' /proc/self/mountinfo | sort -u); do
  [ "$place" = "$1" ] || mount -o remount,bind,ro "$place" 2>/dev/null || true
done
shift
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


@pytest.fixture
def data(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def shut_in(data):
    """The command in front of one that is to be shut in."""
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("unshare or setpriv is not installed here (apt install util-linux)")
    prefix = ["unshare", "--mount", "sh", "-c", SHUT_IN, "sh", str(data)]
    tried = subprocess.run([*prefix, "touch", data / "x"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"a process cannot be shut in here: {tried.stderr.strip()[-300:]}")
    outside = subprocess.run([*prefix, "touch", ROOT / "x"], capture_output=True, text=True)
    assert "Read-only file system" in outside.stderr
    return prefix


def test_service_starts_with_a_key_and_decides(tmp_path, data, shut_in):
    url = f"sqlite:///{data / 'records.sqlite'}"
    environment = os.environ | {"POINTSMAN_DATABASE_URL": url, "XDG_DATA_HOME": str(data)}
    keys = "import sys; from pointsman.classifier.commands import main; sys.exit(main(sys.argv[1:]))"
    command = [*shut_in, sys.executable, "-c", keys, "keys", "create", "gateway", "--role", "decide"]
    made = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert made.returncode == 0, made.stderr
    key = re.search(r"psm_\w+", made.stdout).group()
    service = ServeProcess(tmp_path, url, script=REAL_MODEL, prefix=shut_in, keys="on", spool=data / "spool.sqlite")
    try:
        service.start()
        answer = service.http.post(
            "/v1/decide", json={"prompt": "fix the typo in the README"}, headers={"x-pointsman-key": key}
        )
        assert (answer.status_code, answer.json()["category"]["label"]) == (200, "docs")
        assert service.stop() < 60
    finally:
        if service.process.poll() is None:
            service.kill()
    assert (data / "records.sqlite").is_file()
