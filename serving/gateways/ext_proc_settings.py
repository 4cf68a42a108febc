"""What `pointsman ext-proc` reads: one YAML file, beside Envoy's own."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import yaml

from pointsman.classifier.errors import ClassifierError
from pointsman.serving.asker import DEFAULT_DEADLINE_MS
from pointsman.serving.client import DEFAULT_URL

from .service_key import read_key

DEFAULT_LISTEN: Final = "127.0.0.1:8096"


class ExtProcSettingsError(ClassifierError):
    """The settings cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtProcSettings:
    """What stands in the file.

    Attributes
    ----------
    safe_model : str
        Takes requests without a decision.
    models : mapping of str to str
        The catalogue's names to the provider's; only these are chosen from.
    listen : str
        HOST:PORT or unix:PATH for Envoy.
    url, policy, deadline_ms
        As for `AsyncClient`.
    key : str, optional
        The service's API key, best as `$NAME` of a variable; `POINTSMAN_KEY` when left out.
    """

    safe_model: str
    models: Mapping[str, str]
    listen: str = DEFAULT_LISTEN
    url: str = DEFAULT_URL
    key: str | None = field(default=None, repr=False)
    policy: str | None = None
    deadline_ms: float = DEFAULT_DEADLINE_MS

    @classmethod
    def load(cls, path: Path) -> "ExtProcSettings":
        """Read the file, or raise `ExtProcSettingsError` that names what is wrong."""
        try:
            section = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as exc:
            msg = f"{path} cannot be read ({type(exc).__name__}); expected a YAML file. See `pointsman gateway`."
            raise ExtProcSettingsError(msg) from exc
        return cls._of(section, path)

    @classmethod
    def _of(cls, section: Any, path: Path) -> "ExtProcSettings":
        known = [item.name for item in fields(cls)]
        if not isinstance(section, dict):
            msg = f"{path}: found {type(section).__name__}; expected a mapping with {', '.join(known)}. Write one."
            raise ExtProcSettingsError(msg)
        if unknown := [str(name) for name in section if name not in known]:
            msg = f"{path}: no setting {unknown[0]!r}; expected one of {', '.join(known)}. Correct the name."
            raise ExtProcSettingsError(msg)
        if not (isinstance(section.get("safe_model"), str) and isinstance(section.get("models"), dict)):
            msg = f"{path}: safe_model and models must be set, a name and a mapping of names. Set them."
            raise ExtProcSettingsError(msg)
        deadline_ms = section.get("deadline_ms", DEFAULT_DEADLINE_MS)
        if not (isinstance(deadline_ms, int | float) and deadline_ms > 0):
            msg = f"{path}: deadline_ms must be a number > 0, got {deadline_ms!r}; 250 is the default. Correct it."
            raise ExtProcSettingsError(msg)
        key = section.get("key")
        if not isinstance(key, str | None):
            msg = f"{path}: key must be a text, best $NAME of a variable, got {type(key).__name__}. Correct it."
            raise ExtProcSettingsError(msg)
        try:
            return cls(**section | {"key": read_key(key, f"{path}: key")})
        except ValueError as exc:
            raise ExtProcSettingsError(str(exc)) from None
