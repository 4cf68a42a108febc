"""What narrows one decision beside the request itself: who asks, what they ask for, and what their rules allow.

A gateway names project, team and key in headers that a client cannot set for itself; the person names a model or a
policy in a header or in the prompt. All of it ends in one frozen `Limits`, which is recorded with the decision.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Self

from .risk_bound import Promises, promise_for

MODEL_HEADER: Final = "x-pointsman-model"
POLICY_HEADER: Final = "x-pointsman-policy"
PROJECT_HEADER: Final = "x-pointsman-project"
TEAM_HEADER: Final = "x-pointsman-team"
#: A key's name or number, never the key: secrets are dropped unread.
KEY_HEADER: Final = "x-pointsman-key-id"

_MAX_CHARS: Final = 200
#: `@model:claude-opus-5-5` or `@policy:careful`, as a word of its own.
_WISH: Final = re.compile(r"(?<!\S)@(model|policy):([\w./:@+-]{1,120}[\w+])")
#: Where a path ends in running text. Splitting is linear in the text, whatever it holds.
_BREAKS: Final = re.compile(
    r"""[\s"'`()<>\[\]{},;:|\u2018-\u201f\u3001-\u3011\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f]+"""
)
_MAX_PATH_CHARS: Final = 300
#: What people and clients write around a path: `@file` mentions, emphasis, the end of a sentence.
_BEFORE_PATH: Final = "@#~=!?*"
_AFTER_PATH: Final = ".!?~*"
#: Lines in a mention, `main.tf#L5-10`.
_LINES: Final = re.compile(r"#L\d[\dL-]*$")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the gateway says, and which model or policy the person names.

    Attributes
    ----------
    project, team, key_id : str or None
        What rules of a policy may be written for.
    model, policy : str or None
        Asked for by header; a name in the prompt stands behind them.
    """

    project: str | None = None
    team: str | None = None
    key_id: str | None = None
    model: str | None = None
    policy: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str] | None) -> Self:
        """Read the headers of a request; names in any case, `_` for `-`."""
        if not headers:
            return cls()
        found: dict[str, str] = {}
        for name, value in headers.items():
            if isinstance(name, str) and isinstance(value, str):
                field = _FIELDS.get(name.lower().replace("_", "-"))
                if field is not None and (text := value.strip()[:_MAX_CHARS]):
                    found[field] = text
        return cls(**found) if found else cls()


_FIELDS: Final = {
    PROJECT_HEADER: "project",
    TEAM_HEADER: "team",
    KEY_HEADER: "key_id",
    MODEL_HEADER: "model",
    POLICY_HEADER: "policy",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one decision has to keep to.

    Attributes
    ----------
    models : frozenset of str or None
        Only these may be taken; None is every candidate of the catalogue.
    denied : frozenset of str
        Models that may not be taken.
    residency : frozenset of str or None
        A model must process data in these places alone; None is anywhere.
    wanted : str or None
        The model or role a person asked for; it wins over costs, manners and the risk bound.
    wanted_by : str or None
        `header` or `prompt`.
    pins : tuple of str
        Path patterns of the policy that the turn mentions.
    spent_share : float or None
        Of the tightest monthly budget, the share already spent; None without a budget.
    soft_from : float
        The share from which money counts for more.
    care_threshold : float or None
        Of the bundle's promise that the policy keeps to: turns with a care probability above it take no cheap model.
    promises : tuple of (float, float)
        All that the bundle could promise, so that the turn can be decided again under a policy that keeps to another.
    seed : str
        Of the draw, where the policy explores; empty where it does not.
    """

    models: frozenset[str] | None = None
    denied: frozenset[str] = frozenset()
    residency: frozenset[str] | None = None
    wanted: str | None = None
    wanted_by: str | None = None
    pins: tuple[str, ...] = ()
    spent_share: float | None = None
    soft_from: float = 0.8
    care_threshold: float | None = None
    promises: Promises = ()
    seed: str = ""

    def keeping(self, promises: Promises, max_missed: float) -> Limits:
        """Return the limits under which the one of a bundle's promises is kept that a policy asks for."""
        if self is UNLIMITED:
            return _keeping_alone(promises, max_missed)
        kept = promise_for(promises, max_missed)
        return replace(self, promises=promises, care_threshold=None if kept is None else kept[1])

    def to_json(self) -> dict[str, Any]:
        """Return the limits as JSON values, those that limit nothing left out."""
        # Not `asdict`, which copies every value: this is done for each decision.
        named = ((name, getattr(self, name)) for name in type(self).__slots__)
        values = {name: value for name, value in named if value != getattr(UNLIMITED, name)}
        return {name: sorted(value) if isinstance(value, frozenset) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        known = {name: value for name, value in values.items() if name in cls.__slots__}
        for name in ("models", "denied", "residency"):
            if known.get(name) is not None:
                known[name] = frozenset(known[name])
        if "pins" in known:
            known["pins"] = tuple(known["pins"])
        if "promises" in known:
            known["promises"] = tuple((float(share), float(threshold)) for share, threshold in known["promises"])
        return cls(**known)


UNLIMITED: Final = Limits()


@lru_cache(maxsize=64)
def _keeping_alone(promises: Promises, max_missed: float) -> Limits:
    """Return the limits of a request that nothing but the promise limits, which most are: made once."""
    return Limits().keeping(promises, max_missed)


def wishes_in(prompt: str) -> dict[str, str]:
    """Return the model and policy that a prompt names, as `@model:NAME` and `@policy:NAME`; the last one counts."""
    return dict(_WISH.findall(prompt)) if "@" in prompt else {}


def paths_in(texts: Iterable[str]) -> set[str]:
    """Return what looks like a path in these texts: words with a slash or a dot, each in all its readings."""
    words = {word for text in texts for word in _BREAKS.split(text) if "." in word or "/" in word or "\\" in word}
    readings = (reading for word in words for reading in _readings(word.replace("\\", "/")))
    return {path for path in readings if 1 < len(path) <= _MAX_PATH_CHARS and ("/" in path or "." in path)}


def _readings(word: str) -> tuple[str, ...]:
    """Return the paths that a word may stand for: what stands at its edges is the path's own, or it is not."""
    bare = _LINES.sub("", word.lstrip(_BEFORE_PATH).rstrip(_AFTER_PATH))
    return word.strip(".!?"), bare, bare.strip("_*").rstrip(".!?")


def matches(pattern: str, path: str) -> bool:
    """Say whether a path lies under a glob: `*` within one part, `**` over parts, from any folder on.

    A person writes `migrations/001.sql` or the absolute path of it; `migrations/**` is meant for both.
    """
    return _glob(pattern).fullmatch(path) is not None


@lru_cache(maxsize=512)
def _glob(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("/"))
    parts = [_WILD.get(piece, re.escape(piece)) for piece in pieces]
    return re.compile(r"(?:.*/)?" + "".join(parts))


_WILD: Final = {"**/": r"(?:.*/)?", "**": r".*", "*": r"[^/]*", "?": r"[^/]"}
