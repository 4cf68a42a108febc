"""Writes a gateway's configuration for a catalogue: the shipped file with the catalogue's models in it.

What a gateway cannot carry is left out and named, never written half.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import yaml

from pointsman.classifier.catalog import Catalog, Model
from pointsman.classifier.errors import ClassifierError
from pointsman.serving.asker import DEFAULT_DEADLINE_MS
from pointsman.serving.client import DEFAULT_URL

_FOLDER: Final = Path(__file__).parent


class GatewayConfigError(ClassifierError):
    """The catalogue does not fit the gateway."""


@dataclass(frozen=True, slots=True)
class Provider:
    """How gateways reach a provider. `base` takes Anthropic's Messages API; empty where the provider has none."""

    key: str
    litellm: str
    base: str = ""


# Addresses: the providers' own pages, read 2026-11-22 or earlier; check them when a key is refused.
PROVIDERS: Final[Mapping[str, Provider]] = {
    "anthropic": Provider("ANTHROPIC_API_KEY", "anthropic", "https://api.anthropic.com"),
    "dashscope": Provider("DASHSCOPE_API_KEY", "anthropic", "https://dashscope-intl.aliyuncs.com/apps/anthropic"),
    "ollama": Provider("OLLAMA_API_KEY", "anthropic", "http://localhost:11434"),
    "openrouter": Provider("OPENROUTER_API_KEY", "openrouter"),
    "moonshot": Provider("MOONSHOT_API_KEY", "moonshot"),
    "openai": Provider("OPENAI_API_KEY", "openai"),
    "azure": Provider("AZURE_API_KEY", "azure"),
    "vercel": Provider("VERCEL_AI_GATEWAY_API_KEY", "vercel_ai_gateway"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes into a configuration, and what stays out with the reason."""

    models: tuple[Model, ...]
    safe_model: str
    url: str
    left_out: tuple[str, ...] = ()


Files = dict[str, str]


def write_config(gateway: str, catalog: Catalog, url: str = DEFAULT_URL) -> tuple[Files, tuple[str, ...]]:
    """Return the files of a gateway by name, and a sentence for each model that was left out.

    Raises
    ------
    GatewayConfigError
        There is no such gateway, or it can carry none of the catalogue's careful models.
    """
    if gateway not in GATEWAYS:
        msg = f"found the gateway {gateway!r}; expected one of {', '.join(GATEWAYS)}. Check the name."
        raise GatewayConfigError(msg)
    can_carry, write = GATEWAYS[gateway]
    names = dict.fromkeys(
        name for role in ("default", "careful", "cheap", "background") for name in catalog.roles[role]
    )
    models = [catalog.by_name[name] for name in names]
    kept = tuple(model for model in models if can_carry(model))
    left_out = tuple(
        f"{model.name} is left out: this configuration does not reach {model.provider}."
        for model in models
        if model not in kept
    )
    safe_model = next(
        (model.name for model in kept if model.name in {*catalog.roles["default"], *catalog.roles["careful"]}), None
    )
    if safe_model is None:
        msg = f"{gateway} reaches none of the catalogue's careful models; expected one. Use litellm for this catalogue."
        raise GatewayConfigError(msg)
    plan = Plan(kept, safe_model, url, left_out)
    return write(plan), left_out


def keys_of(catalog: Catalog) -> list[str]:
    """Return the environment variables with the keys of the catalogue's providers."""
    used = {catalog.by_name[name].provider for names in catalog.roles.values() for name in names}
    return sorted(PROVIDERS[name].key for name in used if name in PROVIDERS)


def _litellm(plan: Plan) -> Files:
    config = yaml.safe_load((_FOLDER / "litellm.yaml").read_text(encoding="utf-8"))
    wildcard = [entry for entry in config["model_list"] if "*" in entry["model_name"]]
    config["model_list"] = [_litellm_group(model) for model in plan.models] + wildcard
    names = [model.name for model in plan.models]
    config["callback_settings"]["pointsman"] |= {
        "url": plan.url,
        "safe_model": plan.safe_model,
        "models": {name: name for name in names},
        "client_models": ["claude-*", "gpt-*"],
    }
    others = [name for name in names if name != plan.safe_model]
    config["router_settings"]["fallbacks"] = [{name: [plan.safe_model]} for name in others]
    head = "# Written by `pointsman gateway litellm`; litellm.yaml in the package says what each part is for.\n"
    return {"litellm.yaml": head + yaml.safe_dump(config, sort_keys=False, width=120)}


def _litellm_group(model: Model) -> dict[str, Any]:
    provider = PROVIDERS[model.provider]
    prefix = f"{provider.litellm}/"
    name = model.name if model.name.startswith(prefix) else prefix + model.name
    params = {"model": name, "api_key": f"os.environ/{provider.key}"}
    if provider.base:
        params["api_base"] = provider.base
    if model.provider == "azure":
        params["api_base"] = "os.environ/AZURE_API_BASE"
    return {"model_name": model.name, "litellm_params": params}


def _claude_code_router(plan: Plan) -> Files:
    config = json.loads((_FOLDER / "claude-code-router.json").read_text(encoding="utf-8"))
    names = {model.name: f"{model.provider},{model.name}" for model in plan.models}
    safe_model = names[plan.safe_model]
    config["POINTSMAN"] |= {"url": plan.url, "safeModel": safe_model, "models": names}
    config["Providers"] = [
        {
            "name": provider,
            "api_base_url": f"{PROVIDERS[provider].base}/v1/messages",
            "api_key": f"${PROVIDERS[provider].key}",
            "models": [model.name for model in plan.models if model.provider == provider],
            "transformer": {"use": ["Anthropic"]},
        }
        for provider in dict.fromkeys(model.provider for model in plan.models)
    ]
    config["Router"]["default"] = safe_model
    # Read by the router from where it was started: a path that does not depend on it.
    config["CUSTOM_ROUTER_PATH"] = str(_FOLDER / "claude_code_router.cjs")
    return {"config.json": json.dumps(config, indent=2) + "\n"}


def _nginx(plan: Plan) -> Files:
    text = (_FOLDER / "nginx.conf").read_text(encoding="utf-8")
    names = json.dumps({model.name: model.name for model in plan.models})
    text = _replaced(text, r"(js_var \$pointsman_models) '.*';", rf"\1 '{names}';")
    text = _replaced(text, r"(js_var \$pointsman_safe_model) .*;", rf"\1 {plan.safe_model};")
    text = _replaced(text, r"server 127\.0\.0\.1:8095;", f"server {_address(plan.url)};")
    return {"nginx.conf": text, "nginx.js": (_FOLDER / "nginx.js").read_text(encoding="utf-8")}


def _envoy(plan: Plan, name: str = "envoy.yaml") -> Files:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    models = "".join(f"\n{' ' * 34}{model.name}: {model.name}" for model in plan.models)
    text = _replaced(text, r"models:(?:\n +claude-[\w-]+: claude-[\w-]+)+", f"models:{models}")
    text = _replaced(text, r"safe_model: \S+", f"safe_model: {plan.safe_model}")
    host, _, port = _address(plan.url).rpartition(":")
    text = _replaced(text, r"address: 127\.0\.0\.1, port_value: 8095", f"address: {host}, port_value: {port}")
    return {name: text, "envoy.lua": (_FOLDER / "envoy.lua").read_text(encoding="utf-8")}


def _envoy_ext_authz(plan: Plan) -> Files:
    files = _envoy(plan, "envoy-ext-authz.yaml")
    names = ",".join(model.name for model in plan.models)
    text = _replaced(files["envoy-ext-authz.yaml"], r'(x-pointsman-models, value:) "[^"]*"', rf'\1 "{names}"')
    script = (_FOLDER / "envoy-ext-authz.lua").read_text(encoding="utf-8")
    return files | {"envoy-ext-authz.yaml": text, "envoy-ext-authz.lua": script}


def _envoy_ext_proc(plan: Plan) -> Files:
    config = (_FOLDER / "envoy-ext-proc.yaml").read_text(encoding="utf-8")
    settings = (_FOLDER / "ext-proc.yaml").read_text(encoding="utf-8")
    models = "".join(f"\n  {model.name}: {model.name}" for model in plan.models)
    settings = _replaced(settings, r"models:(?:\n +claude-[\w-]+: claude-[\w-]+)+", f"models:{models}")
    settings = _replaced(settings, r"safe_model: \S+", f"safe_model: {plan.safe_model}")
    return {
        "envoy-ext-proc.yaml": _replaced(config, r"safe_model: \S+", f"safe_model: {plan.safe_model}"),
        "ext-proc.yaml": _replaced(settings, r"(?m)^url: .*", f"url: {plan.url}"),
        "envoy.lua": (_FOLDER / "envoy.lua").read_text(encoding="utf-8"),
    }


def _haproxy(plan: Plan) -> Files:
    address = _address(plan.url)
    try:
        ip_address(address.rpartition(":")[0])
    except ValueError:
        msg = (
            f"found the service at {plan.url!r}; expected an IP address, as HAProxy's Lua looks no names up. Give one."
        )
        raise GatewayConfigError(msg) from None
    text = (_FOLDER / "haproxy.cfg").read_text(encoding="utf-8")
    names = ",".join(f"{model.name}={model.name}" for model in plan.models)
    text = _replaced(text, r"(POINTSMAN_SERVICE) \S+", rf"\1 {address}")
    text = _replaced(text, r"(POINTSMAN_SAFE_MODEL) \S+", rf"\1 {plan.safe_model}")
    text = _replaced(text, r"(POINTSMAN_MODELS) \S+", rf"\1 {names}")
    return {"haproxy.cfg": text, "haproxy.lua": (_FOLDER / "haproxy.lua").read_text(encoding="utf-8")}


def _claude_code_router_3(plan: Plan) -> Files:
    names = {model.name: f"{model.provider}/{model.name}" for model in plan.models}
    text = (_FOLDER / "claude-code-router-3.js").read_text(encoding="utf-8")
    settings = json.dumps({"url": plan.url, "deadlineMs": DEFAULT_DEADLINE_MS, "models": names}, indent=2)
    return {
        "claude-code-router-3.js": _replaced(text, r"(?s)const SETTINGS = \{.*?\n\};", f"const SETTINGS = {settings};")
    }


def _weave(plan: Plan) -> Files:
    sidecars = json.dumps({"pointsman": plan.url})
    text = (_FOLDER / "weave.env").read_text(encoding="utf-8")
    return {"weave.env": _replaced(text, r"SIDECARS='.*'", f"SIDECARS='{sidecars}'")}


def _replaced(text: str, pattern: str, by: str) -> str:
    changed, n_changes = re.subn(pattern, by, text)
    assert n_changes == 1, f"the shipped file holds {pattern!r} {n_changes} times"  # noqa: S101
    return changed


def _address(url: str) -> str:
    found = re.fullmatch(r"http://([\w.-]+:\d+)/?", url)
    if found is None:
        msg = f"found the service at {url!r}; expected http://HOST:PORT, which this gateway can reach. Correct --url."
        raise GatewayConfigError(msg)
    return found[1]


def _has_messages_api(model: Model) -> bool:
    return model.provider in PROVIDERS and bool(PROVIDERS[model.provider].base)


GATEWAYS: Final[Mapping[str, tuple[Callable[[Model], bool], Callable[[Plan], Files]]]] = {
    "litellm": (lambda model: model.provider in PROVIDERS, _litellm),
    "claude-code-router": (_has_messages_api, _claude_code_router),
    "nginx": (lambda model: model.provider == "anthropic", _nginx),
    "envoy": (lambda model: model.provider == "anthropic", _envoy),
    "envoy-ext-authz": (lambda model: model.provider == "anthropic", _envoy_ext_authz),
    "envoy-ext-proc": (lambda model: model.provider == "anthropic", _envoy_ext_proc),
    "haproxy": (lambda model: model.provider == "anthropic", _haproxy),
    "claude-code-router-3": (_has_messages_api, _claude_code_router_3),
    # Weave offers its own models with each request.
    "weave": (lambda _: True, _weave),
}
