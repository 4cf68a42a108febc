"""Plugs Pointsman into the LiteLLM proxy; both names are made when LiteLLM's configuration asks for them.

`callback` rewrites `model` before a call:

    litellm_settings:
      callbacks: ["pointsman.serving.gateways.litellm.callback"]

`classifier` gives the tier of a `complexity_router` group:

    classifier_plugin: pointsman.serving.gateways.litellm.classifier

Both read `callback_settings: pointsman:` of the same file. Nothing here raises on a request.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

from pointsman.serving.asker import DEFAULT_DEADLINE_MS, Asker
from pointsman.serving.client import DEFAULT_URL, AsyncClient
from pointsman.serving.fail_open import Choice
from pointsman.serving.gateways.in_process import InProcess
from pointsman.serving.gateways.service_key import read_key

logger = logging.getLogger(__name__)

SETTINGS_KEY: Final = "pointsman"
#: Calls that carry a turn: Messages, Chat Completions, Responses. Not embeddings, not token counts.
TURN_CALLS: Final = frozenset(
    {"anthropic_messages", "aanthropic_messages", "completion", "acompletion", "responses", "aresponses"}
)
_NOTE: Final = "pointsman"
_SAFE_TIER: Final = "REASONING"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiteLLMSettings:
    """What stands under `callback_settings: pointsman:`.

    Attributes
    ----------
    safe_model : str
        The model group that takes requests without a decision.
    models : mapping of str to str
        The catalogue's names to model groups; only these are chosen from.
    client_models : tuple of str
        Patterns; a request for another model is left alone.
    tiers : mapping of str to str
        The catalogue's names to tiers, for `classifier`.
    safe_tier : str
        For `classifier`, as `safe_model`.
    url, policy, deadline_ms
        As for `AsyncClient`.
    key : str, optional
        The service's API key, best as `os.environ/NAME`, as LiteLLM's own keys; `POINTSMAN_KEY` when left out.
    in_process : bool
        Decide in LiteLLM's own process; `bundle` and `catalog` then name others than the ones that ship.
    """

    safe_model: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    client_models: tuple[str, ...] = ("*",)
    tiers: Mapping[str, str] = field(default_factory=dict)
    safe_tier: str = _SAFE_TIER
    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)
    policy: str | None = None
    deadline_ms: float = DEFAULT_DEADLINE_MS
    in_process: bool = False
    bundle: str | None = None
    catalog: str | None = None

    @classmethod
    def of(cls, section: object) -> "LiteLLMSettings":
        """Read the section, or raise `ValueError` that names what is wrong; LiteLLM then does not start."""
        place = f"callback_settings.{SETTINGS_KEY}"
        if not isinstance(section, Mapping):
            msg = f"{place}: found {type(section).__name__}; expected a mapping with safe_model and models. Add it."
            raise ValueError(msg)
        known = [item.name for item in fields(cls)]
        if unknown := sorted(set(section) - set(known)):
            msg = f"{place}.{unknown[0]}: no such setting; expected one of {', '.join(known)}. Correct the name."
            raise ValueError(msg)
        values = dict(section)
        for name in ("models", "tiers"):
            if not isinstance(values.get(name, {}), Mapping):
                msg = f"{place}.{name}: expected a mapping of catalogue names to LiteLLM's names. Write it as one."
                raise ValueError(msg)
        if "client_models" in values:
            values["client_models"] = tuple(values["client_models"])
        return cls(**values)


def decider_of(settings: LiteLLMSettings, safe_model: str, models: Mapping[str, str]) -> Asker:
    """Return what answers, as the settings ask for it."""
    if not safe_model or not models:
        msg = f"callback_settings.{SETTINGS_KEY}: safe_model and models must be set. Name your model groups there."
        raise ValueError(msg)
    if not settings.in_process:
        return AsyncClient(
            settings.url,
            key=read_key(settings.key, f"callback_settings.{SETTINGS_KEY}.key"),
            safe_model=safe_model,
            models=models,
            policy=settings.policy,
            deadline_ms=settings.deadline_ms,
        )
    from pointsman.classifier.router import Router

    # Loaded at the start: the first request should not pay for it, and a wrong path should stop LiteLLM.
    router = Router.load(settings.bundle, catalog=settings.catalog, policy=settings.policy)
    router.classify([router.read({"prompt": "warm up"})])
    return InProcess(lambda: router, safe_model=safe_model, models=models, deadline_ms=settings.deadline_ms)


class Rerouter:
    """Rewrites `model` of the requests that carry a turn."""

    def __init__(self, settings: LiteLLMSettings, decider: Asker) -> None:
        self.settings, self.decider = settings, decider

    async def reroute(self, key: object, data: dict[str, Any], call_type: str) -> None:
        """Decide one request and change its `model`, unless the key may not use any other."""
        if call_type not in TURN_CALLS or not self._is_ours(data.get("model")):
            return
        groups = await permitted(key, {*self.settings.models.values(), self.settings.safe_model})
        names = [name for name, group in self.settings.models.items() if group in groups]
        if not names:
            logger.warning("no decision (not_permitted): the key may use none of the configured models")
            return
        received = data.get("proxy_server_request") or {}
        body = received.get("body") or data
        choice = await self.decider.decide(
            body, received.get("headers"), path=urlsplit(received.get("url") or "").path or None, models=names
        )
        if choice.model in groups:
            data["model"] = choice.model
        received[_NOTE] = note_of(choice)

    def _is_ours(self, model: object) -> bool:
        return isinstance(model, str) and any(fnmatchcase(model, pattern) for pattern in self.settings.client_models)


class TierClassifier:
    """Names the tier of a `complexity_router` group: the one that stands beside the chosen model in `tiers`."""

    def __init__(self, decider: Asker) -> None:
        self.decider = decider

    async def classify(self, context: Any) -> str:
        """Return a tier, whatever happens; LiteLLM hands over the messages without system prompt and tools."""
        metadata = context.metadata if isinstance(context.metadata, Mapping) else {}
        headers = metadata.get("headers")
        body = {"messages": [dict(message) for message in context.raw_messages]}
        return (await self.decider.decide(body, headers if isinstance(headers, Mapping) else None)).model

    def __deepcopy__(self, _: object) -> "TierClassifier":
        # LiteLLM copies its configuration with this object in it; connections and sessions cannot be copied.
        return self


def note_of(choice: Choice) -> dict[str, str]:
    """Return what the client is told in headers of the response."""
    note = {"x-pointsman-model": choice.model}
    if choice.decision_id is not None:
        note["x-pointsman-decision-id"] = choice.decision_id
    if choice.failure is not None:
        note["x-pointsman-failure"] = choice.failure.value
    return note


async def permitted(key: Any, groups: Collection[str]) -> set[str]:
    """Return the model groups that a key and its team may call. LiteLLM checks the client's model only."""
    limits = [list(getattr(key, name, None) or []) for name in ("models", "team_models")]
    if not any(limits):
        return set(groups)
    from litellm.proxy.auth.auth_checks import can_key_call_model
    from litellm.proxy.proxy_server import llm_router

    kept = set()
    for group in groups:
        try:
            for models in limits:
                scoped = key.model_copy(update={"models": models})
                await can_key_call_model(group, llm_model_list=None, valid_token=scoped, llm_router=llm_router)
        except Exception as exc:  # it raises what it answers the client with, of several kinds
            logger.debug("model group %s is not for this key (%s)", group, type(exc).__name__)
        else:
            kept.add(group)
    return kept


def _settings() -> LiteLLMSettings:
    import litellm

    return LiteLLMSettings.of((litellm.callback_settings or {}).get(SETTINGS_KEY))


@cache
def _callback() -> object:
    from litellm.integrations.custom_logger import CustomLogger

    settings = _settings()
    rerouter = Rerouter(settings, decider_of(settings, settings.safe_model, settings.models))

    # LiteLLM looks for the hook among the attributes of the very class, so it cannot be inherited.
    class PointsmanCallback(CustomLogger):  # type: ignore[misc, unused-ignore]
        async def async_pre_call_hook(
            self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
        ) -> dict[str, Any]:
            try:
                await rerouter.reroute(user_api_key_dict, data, call_type)
            except Exception as exc:  # a hook that raises would refuse the request
                logger.warning("no decision (%s), so the request stays as it is", type(exc).__name__)
            return data

        async def async_post_call_response_headers_hook(
            self, data: dict[str, Any], user_api_key_dict: Any, response: Any, **_: Any
        ) -> dict[str, str] | None:
            note: dict[str, str] | None = (data.get("proxy_server_request") or {}).get(_NOTE)
            return note

    return PointsmanCallback()


@cache
def _classifier() -> TierClassifier:
    settings = _settings()
    return TierClassifier(decider_of(settings, settings.safe_tier, settings.tiers))


def __getattr__(name: str) -> object:
    # Importing this module must not need LiteLLM, nor its configuration.
    if name == "callback":
        return _callback()
    if name == "classifier":
        return _classifier()
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
