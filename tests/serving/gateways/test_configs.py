"""What `pointsman gateway` writes names the catalogue's models, and only what the gateway reaches."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from pointsman.classifier.catalog import Catalog, profile_names
from pointsman.classifier.commands import main
from pointsman.serving.gateways.configs import GATEWAYS, PROVIDERS, GatewayConfigError, keys_of, write_config
from pointsman.serving.gateways.litellm import LiteLLMSettings

from .processes import SHIPPED, envoy_executable, tool

CATALOG = "anthropic-dashscope"


def written(gateway, profile=CATALOG, url="http://10.0.0.9:7777"):
    return write_config(gateway, Catalog.load(profile), url)


def used(profile):
    return {name for names in Catalog.load(profile).roles.values() for name in names}


@pytest.mark.parametrize("profile", profile_names())
def test_litellm_reaches_every_model_of_every_profile(profile):
    files, left_out = written("litellm", profile)
    config = yaml.safe_load(files["litellm.yaml"])
    settings = LiteLLMSettings.of(config["callback_settings"]["pointsman"])
    groups = {entry["model_name"] for entry in config["model_list"]}
    assert left_out == ()
    assert set(settings.models) == used(profile)
    assert {settings.safe_model, *settings.models.values()} <= groups
    assert settings.url == "http://10.0.0.9:7777"


def test_claude_code_router_gets_every_provider_with_a_messages_api():
    files, left_out = written("claude-code-router")
    config = json.loads(files["config.json"])
    assert left_out == ()
    assert set(config["POINTSMAN"]["models"]) == used(CATALOG)
    offered = {f"{row['name']},{model}" for row in config["Providers"] for model in row["models"]}
    assert {*config["POINTSMAN"]["models"].values(), config["Router"]["default"]} == offered


PROXIES = ["nginx", "envoy", "envoy-ext-authz", "envoy-ext-proc", "haproxy"]


@pytest.mark.parametrize("gateway", PROXIES)
def test_proxy_says_which_models_it_does_not_reach(gateway):
    files, left_out = written(gateway)
    text = "".join(files.values())
    assert left_out == ("qwen3-coder-plus is left out: this configuration does not reach dashscope.",)
    assert "qwen3-coder-plus" not in text
    assert "claude-opus-4-5" in text


@pytest.mark.parametrize("gateway", ["claude-code-router", "claude-code-router-3", *PROXIES])
def test_catalogue_that_does_not_fit_is_refused(gateway):
    with pytest.raises(GatewayConfigError, match=f"{gateway} reaches none of the catalogue's careful models"):
        written(gateway, "codex-azure")


@pytest.mark.parametrize("gateway", ["nginx", "envoy", "envoy-ext-authz", "haproxy"])
def test_service_that_a_proxy_cannot_reach_is_refused(gateway):
    with pytest.raises(GatewayConfigError, match=r"expected http://HOST:PORT, which this gateway can reach"):
        written(gateway, url="https://decide.example/x")


def test_haproxy_needs_an_address():
    with pytest.raises(GatewayConfigError, match="expected an IP address, as HAProxy's Lua looks no names up"):
        written("haproxy", url="http://decide:8095")


def test_script_rule_and_processor_get_the_models_and_the_service():
    rule = written("claude-code-router-3")[0]["claude-code-router-3.js"]
    assert '"qwen3-coder-plus": "dashscope/qwen3-coder-plus"' in rule
    assert '"url": "http://10.0.0.9:7777"' in rule
    settings = yaml.safe_load(written("envoy-ext-proc")[0]["ext-proc.yaml"])
    assert settings["url"] == "http://10.0.0.9:7777"
    assert "claude-opus-4-5" in settings["models"]


def test_weave_is_told_the_sidecar():
    assert """'{"pointsman": "http://10.0.0.9:7777"}'""" in written("weave", "codex-azure")[0]["weave.env"]


def test_every_provider_of_the_profiles_is_known():
    providers = {model.provider for name in profile_names() for model in Catalog.load(name).models}
    assert providers <= set(PROVIDERS)
    assert keys_of(Catalog.load(CATALOG)) == ["ANTHROPIC_API_KEY", "DASHSCOPE_API_KEY"]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_command_writes_and_does_not_overwrite(gateway, tmp_path, capsys):
    asked = ["gateway", gateway, "--output", str(tmp_path / "new")]
    assert main(asked) == 0
    before = {path: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert set(before) == {tmp_path / "new" / name for name in written(gateway)[0]}
    assert main([*asked, "--url", "http://10.0.0.9:1"]) == 2
    assert "exists. Choose another --output, or --force." in capsys.readouterr().err
    assert {path: path.read_text() for path in before} == before
    assert main([*asked, "--force"]) == 0


def test_command_that_would_write_the_same_again_has_nothing_to_refuse(tmp_path):
    asked = ["gateway", "envoy", "--output", str(tmp_path)]
    assert [main(asked), main(asked), main([*asked, "--force"])] == [0, 0, 0]
    assert {path.name for path in tmp_path.iterdir()} == {"envoy.yaml", "envoy.lua"}


def test_forced_command_keeps_every_older_file(tmp_path, capsys):
    config = tmp_path / "config.json"
    asked = ["gateway", "claude-code-router", "--force", "--output", str(tmp_path)]
    for old in ("first", "second"):
        config.write_text(old)
        config.chmod(0o600)
        assert main(asked) == 0
    assert f"wrote {config}; the old one is {config}.bak2\n" in capsys.readouterr().out
    assert [(tmp_path / f"config.json.{end}").read_text() for end in ("bak", "bak2")] == ["first", "second"]
    assert "POINTSMAN" in config.read_text()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(("arguments", "profile"), [([], "kimi"), (["--catalog", CATALOG], CATALOG)])
def test_catalogue_of_the_service_is_taken_unless_one_is_named(arguments, profile, tmp_path, monkeypatch):
    monkeypatch.setenv("POINTSMAN_CATALOG", "kimi")
    assert main(["gateway", "litellm", "--output", str(tmp_path), *arguments]) == 0
    config = yaml.safe_load((tmp_path / "litellm.yaml").read_text())
    assert set(config["callback_settings"]["pointsman"]["models"]) == used(profile)


@pytest.mark.parametrize("command", ["gateway", "env"])
@pytest.mark.parametrize("absent", ["httpx", "anyio"])
def test_missing_package_is_named_with_what_to_do(command, absent, tmp_path):
    script = (
        f"import sys; sys.modules[{absent!r}] = None\n"
        "from pointsman.classifier.commands import main\n"
        f"sys.exit(main([{command!r}, 'litellm']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    wanted = f"pointsman: serving needs {absent}, which is not installed. Run: pip install 'pointsman[serving]'.\n"
    assert (done.returncode, done.stderr) == (2, wanted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("gateway", [name for name in GATEWAYS if name not in {"claude-code-router-3", "weave"}])
def test_environment_names_the_address_of_the_shipped_configuration(gateway, capsys):
    assert main(["env", gateway]) == 0
    port = capsys.readouterr().out.splitlines()[0].rstrip('"').rpartition(":")[2]
    texts = "".join(path.read_text() for path in SHIPPED.glob(f"{gateway}.*"))
    assert port in texts


@pytest.mark.parametrize(
    ("gateway", "said"),
    [
        ("litellm", "It reads LITELLM_MASTER_KEY, ANTHROPIC_API_KEY, DASHSCOPE_API_KEY from its environment; "),
        ("nginx", "The client's own key goes to the provider; `pointsman env nginx` says"),
        ("weave", "Put its lines into the environment of Weave Router"),
    ],
)
def test_command_says_what_comes_next(gateway, said, tmp_path, capsys):
    assert main(["gateway", gateway, "--output", str(tmp_path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith(said)
    assert ("POINTSMAN_KEY" in last) == (gateway != "weave")


@pytest.mark.parametrize("gateway", ["claude-code-router-3", "weave"])
def test_environment_of_a_gateway_with_its_own_settings_is_not_guessed(gateway, capsys):
    assert main(["env", gateway]) == 2
    assert f"{gateway} listens where its own settings say." in capsys.readouterr().err


def test_environment_is_shell_and_holds_no_secret():
    out = subprocess.run(
        ["sh", "-c", 'eval "$(pointsman env litellm)"; echo "$ANTHROPIC_BASE_URL $ANTHROPIC_AUTH_TOKEN"'],
        env={"PATH": f"{os.path.dirname(tool('pointsman'))}:{os.defpath}", "LITELLM_MASTER_KEY": "sk-own"},
        capture_output=True,
        text=True,
    )
    assert out.stdout == "http://127.0.0.1:4000 sk-own\n"


@pytest.mark.gateway
def test_nginx_takes_what_is_written(tmp_path):
    for name, text in written("nginx", url="http://127.0.0.1:7777")[0].items():
        (tmp_path / name).write_text(text.replace("js_path .", f"js_path {tmp_path}"))
    # A name outside is looked up at the start; this machine may have no names.
    conf = tmp_path / "nginx.conf"
    conf.write_text(conf.read_text().replace("https://api.anthropic.com", "https://127.0.0.1"))
    command = [tool("nginx"), "-t", "-p", str(tmp_path), "-c", str(conf), "-g", f"pid {tmp_path}/pid;"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gateway
@pytest.mark.parametrize("gateway", ["envoy", "envoy-ext-authz", "envoy-ext-proc"])
def test_envoy_takes_what_is_written(tmp_path, gateway):
    for name, text in written(gateway, url="http://127.0.0.1:7777")[0].items():
        (tmp_path / name).write_text(text)
    envoy = envoy_executable()
    command = [str(envoy), "--mode", "validate", "-c", f"{gateway}.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.gateway
def test_haproxy_takes_what_is_written(tmp_path):
    for name, text in written("haproxy", url="http://127.0.0.1:7777")[0].items():
        (tmp_path / name).write_text(text)
    command = [tool("haproxy", "apt install haproxy"), "-c", "-f", "haproxy.cfg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
