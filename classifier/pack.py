"""The routing pack: a bundle, and beside it catalogue and policies worked out to plain figures.

    (the files of the bundle)
    routing.json    models with prices, windows and P(fail); losses, loads and manners of every policy; limits of texts

For runtimes in other languages (serving/clients/js): they share these figures and need neither YAML, posteriors nor
presets. What such a runtime cannot keep to is refused here, so that no rule is dropped in silence.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from . import conversation, manners, session, text
from .asking import Rules
from .bundle import FILES, MANIFEST, Bundle, load_bundle
from .catalog import Catalog, Model
from .errors import PolicyError
from .labels import CAREFUL_CATEGORIES, CATEGORIES
from .policy_file import Policy
from .reasons import CODES
from .risk_bound import Promises, promise_for, promises_of

ROUTING: Final = "routing.json"
FORMAT: Final = 1

_FIGURES: Final = (
    "version",
    "loss_usd",
    "new_task_probability",
    "follow_up_margin",
    "task_memory",
    "coherence_usd",
    "escalate_after",
    "correction_trials",
    "prior_trials",
    "reserve_output_tokens",
    "novelty_weight",
    "enforce_risk_bound",
    "user_override",
)


def write_pack(folder: Path, catalog: Catalog, policy: Policy, bundle: Path | str | None = None) -> None:
    """Write a pack.

    Parameters
    ----------
    folder : Path
        Made where it is missing; files of an earlier pack are replaced.
    catalog, policy
        What to choose from and how.
    bundle : path, optional
        The one inside the package when left out.

    Raises
    ------
    PolicyError
        The policy has rules that only the service and the Python `Router` keep.
    BundleError, ConfigError
        As for `Router.load`.
    """
    found = load_bundle(bundle)
    routing = routing_of(Rules.of(catalog, policy), found)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*FILES, MANIFEST):
        shutil.copyfile(found.file(name), folder / name)
    (folder / ROUTING).write_text(json.dumps(routing, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def routing_of(rules: Rules, bundle: Bundle) -> dict[str, Any]:
    """Return the content of `routing.json`.

    Raises
    ------
    PolicyError
        As for `write_pack`.
    """
    catalog = rules.catalog
    promises = promises_of(bundle.manifest.risk_bounds)
    _refuse_what_is_not_carried(rules.policy)
    return {
        "format": FORMAT,
        "bundle_digest": bundle.digest,
        "catalog_version": catalog.version,
        "models": [_model(model, catalog) for model in catalog.models],
        "weighed": [model.name for model in catalog.weighed],
        "roles": {role: list(names) for role, names in catalog.roles.items()},
        "careful_categories": sorted(CATEGORIES.index(name) for name in CAREFUL_CATEGORIES),
        "policy": rules.policy.name,
        "policies": {name: _policy(policy, catalog, promises) for name, policy in rules.presets.items()},
        "texts": {
            "max_context_messages": text.MAX_CONTEXT_MESSAGES,
            "max_message_chars": text.MAX_MESSAGE_CHARS,
            "max_prompt_chars": text.MAX_PROMPT_CHARS,
            "chars_per_token": conversation.TEXT_CHARS_PER_TOKEN,
            "tokens_per_extra_byte": conversation.TOKENS_PER_EXTRA_BYTE,
        },
        "n_recent": session.N_RECENT,
        "other_family": manners.OTHER_FAMILY,
        "reasons": dict(CODES),
    }


def _model(model: Model, catalog: Catalog) -> dict[str, Any]:
    return {
        "name": model.name,
        "provider": model.provider,
        "tier": model.tier,
        "family": model.family,
        "rank": catalog.rank(model.name),
        "context": model.context,
        "input_max": model.input_max,
        "max_output": model.max_output,
        "prices": [asdict(tier) for tier in model.tiers],
        "cache_ttl_s": model.cache_ttl_s,
        "efforts": [
            {"name": effort.name, "output": effort.output, "failure_odds": effort.failure_odds}
            for effort in model.efforts
        ],
        "rates": list(model.posterior.rates),
    }


def _policy(policy: Policy, catalog: Catalog, promises: Promises) -> dict[str, Any]:
    kept = promise_for(promises, policy.max_missed)
    figures: Mapping[str, Any] = {name: getattr(policy, name) for name in _FIGURES}
    return {
        **figures,
        "models": {use: list(policy.named(use, catalog)) for use in policy.models},
        "load_table": policy.load_table.tolist(),
        "care_threshold": None if kept is None else kept[1],
    }


def _refuse_what_is_not_carried(policy: Policy) -> None:
    named = {"rules": policy.rules, "paths": policy.paths, "explore": policy.explore}
    found = [name for name, value in named.items() if value]
    if found:
        msg = (
            f"policy {policy.name!r} has {', '.join(found)}; expected none of these in a pack, whose readers do not "
            "keep them. Ask the service instead, or pack a policy without."
        )
        raise PolicyError(msg)
