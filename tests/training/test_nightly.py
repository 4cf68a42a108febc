"""The examples for cron and systemd in RETRAIN.md do what they say, in the bare environment that a night gives them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pointsman.serving.console.reviews import save_review
from pointsman.serving.migrations import migrate
from pointsman.serving.store import Store

from .importers.test_records import decided
from .test_reviews import ANNA

pytestmark = pytest.mark.training

PAGE = (Path(__file__).parents[2] / "training" / "RETRAIN.md").read_text(encoding="utf-8")
[CRON] = re.findall(r"^    30 2 \* \* \* pointsman (.+)$", PAGE, re.MULTILINE)
[SYSTEMD] = re.findall(r"^    ExecStart=/bin/sh -c '(.+)'$", PAGE, re.MULTILINE)


@pytest.fixture
def home(tmp_path, labelled_file):
    """A folder as the page has it: environment, labelled turns, a gold set, a store with one reviewed turn."""
    url = f"sqlite:///{tmp_path}/records.sqlite"
    store = Store(url)
    migrate(store.engine)
    decision = decided("Light the lamp", 1, minute=1)
    store.append([decision], [])
    save_review(store, decision.decision_id, "anna", ANNA)
    store.close()
    (tmp_path / "env").write_text(f"POINTSMAN_DATABASE_URL={url}\n")
    (tmp_path / "data" / "turns").mkdir(parents=True)
    rows = labelled_file.read_text().splitlines(keepends=True)
    (tmp_path / "data" / "turns" / "a.jsonl").write_text("".join(rows))
    (tmp_path / "gold.jsonl").write_text("".join(row for row in rows if '"g0"' in row))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    command = tmp_path / ".venv" / "bin" / "pointsman"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nfrom pointsman.classifier.commands import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    return tmp_path


def night(command, home, **environment):
    """Run a command as cron does: with `sh`, hardly any environment, from another folder."""
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(home)} | environment
    return subprocess.run(["/bin/sh", "-c", command], cwd=environment.get("PWD", "/"), env=bare, capture_output=True)


def test_line_of_cron_retrains_on_what_was_reviewed(home):
    done = night(CRON.replace("/srv/pointsman", str(home)), home)
    log = (home / "retrain.log").read_text()
    assert done.returncode in (0, 3), log
    assert "verdict in " in log
    assert '"taken from records": 1' in next((home / "mlruns/retrain/snapshots").rglob("snapshot.json")).read_text()


def test_command_of_systemd_retrains_on_what_was_reviewed(home):
    name, _, url = (home / "env").read_text().strip().partition("=")
    done = night(SYSTEMD, home, PWD=str(home), **{name: url})
    assert done.returncode in (0, 3), done.stderr.decode()
    assert b"verdict in " in done.stdout
    assert '"taken from records": 1' in next((home / "mlruns/retrain/snapshots").rglob("snapshot.json")).read_text()
