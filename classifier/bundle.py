"""The bundle: the folder that is deployed, and the manifest that vouches for it.

    manifest.json    format version, digests of every other file, heads and labels, temperatures, limits, metrics
    model.onnx       one graph: token ids -> logits per head, the embedding, the state that novelty is read from
    tokenizer.json   the tokenizer
    glosses.json     tokens of other languages and the word pieces of their English gloss
    reference.npy    mean and whitening matrix of the training turns, for novelty (numbers, never text)
    card.md          the model card

Every file is checked against its digest before anything is parsed. Nothing is ever unpickled.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from .aliases import resolve_bundle
from .errors import BundleCorruptError, BundleNotFoundError, BundleVersionError
from .labels import HEADS, Head
from .risk_bound import RiskBound
from .tokens import TokenBudget

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
MODEL: Final = "model.onnx"
TOKENIZER: Final = "tokenizer.json"
GLOSSES: Final = "glosses.json"
REFERENCE: Final = "reference.npy"
CARD: Final = "card.md"
FILES: Final = (MODEL, TOKENIZER, GLOSSES, REFERENCE, CARD)

#: The bundle inside the package.
DEFAULT_BUNDLE: Final = Path(__file__).parent / "bundles" / "default"


@dataclass(frozen=True, slots=True)
class Encoder:
    """Where the encoder's first weights came from."""

    name: str
    licence: str
    sha256: str


@dataclass(frozen=True, slots=True)
class NoveltyScale:
    """Distances from the training turns: below `near` a text is ordinary, from `far` on it is foreign."""

    near: float
    far: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself.

    Attributes
    ----------
    format : int
        Layout version; a newer one than this code's is refused.
    version : str
        Name of the model, kept in every decision.
    digests : dict
        SHA-256 per file.
    heads : dict
        Labels per head, in column order.
    temperatures : dict
        Calibration temperature per head, > 0.
    training_data : dict
        SHA-256 per training file, and row counts under `rows`.
    risk_bound : RiskBound or None
        What the bundle promises of turns that need care; None in bundles that were never asked to.
    """

    version: str
    digests: dict[str, str]
    temperatures: dict[Head, float]
    budget: TokenBudget
    encoder: Encoder
    novelty: NoveltyScale
    opset: int
    created_at: str
    training_data: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    heads: dict[Head, tuple[str, ...]] = field(default_factory=lambda: dict(HEADS))
    risk_bound: RiskBound | None = None
    format: int = FORMAT

    def to_json(self) -> str:
        """Return the manifest as indented JSON with a stable key order."""
        return json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    manifest: Manifest
    digest: str

    def file(self, name: str) -> Path:
        return self.path / name


def load_bundle(path: Path | str | None = None) -> Bundle:
    """Read and verify a bundle.

    Parameters
    ----------
    path : path, optional
        Folder of the bundle, or an alias folder (`aliases.py`), whose champion is meant; the one inside the package
        when left out.

    Raises
    ------
    BundleNotFoundError
        There is no manifest at the path.
    BundleVersionError
        The format is newer than this code reads.
    BundleCorruptError
        A file is missing, differs from its digest, or the manifest makes no sense.
    """
    folder = resolve_bundle(Path(path)) if path is not None else DEFAULT_BUNDLE
    manifest_path = folder / MANIFEST
    if not manifest_path.is_file():
        msg = f"no bundle at '{folder}': {MANIFEST} is missing. Name a bundle folder, or train one: pointsman train."
        raise BundleNotFoundError(msg)
    raw = manifest_path.read_bytes()
    manifest = _parse_manifest(folder, raw)
    for name in FILES:
        _verify(folder, name, manifest.digests)
    return Bundle(folder, manifest, hashlib.sha256(raw).hexdigest())


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest last, with the digests of the files that lie there."""
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(folder: Path, name: str, digests: Mapping[str, str]) -> None:
    path = folder / name
    if not path.is_file():
        msg = f"bundle '{folder.name}' has no {name}. The copy is incomplete; fetch the bundle again."
        raise BundleCorruptError(msg)
    found, expected = sha256_of(path), digests.get(name, "nothing")
    if found != expected:
        msg = (
            f"{name}: sha256 is {found[:12]}..., manifest says {expected[:12]}.... "
            "The file changed after export; fetch the bundle again."
        )
        raise BundleCorruptError(msg)


def _parse_manifest(folder: Path, raw: bytes) -> Manifest:
    try:
        values = json.loads(raw)
        version = int(values["format"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{folder.name}/{MANIFEST} is not a manifest ({type(error).__name__}). Fetch the bundle again."
        raise BundleCorruptError(msg) from error
    if version > FORMAT or version < 1:
        msg = (
            f"bundle '{folder.name}' has format {version}; this code reads 1 to {FORMAT}. "
            "Upgrade pointsman, or export the bundle again with this version."
        )
        raise BundleVersionError(msg)
    try:
        manifest = _manifest(values)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{folder.name}/{MANIFEST}: {error!r}; expected a format-{FORMAT} manifest. Fetch the bundle again."
        raise BundleCorruptError(msg) from error
    _check_values(folder, manifest)
    return manifest


def _manifest(values: Mapping[str, Any]) -> Manifest:
    budget, bound = values["budget"], values.get("risk_bound")
    return Manifest(
        version=str(values["version"]),
        digests={str(name): str(digest) for name, digest in values["digests"].items()},
        temperatures={head: float(values["temperatures"][head]) for head in HEADS},
        budget=TokenBudget(int(budget["prompt"]), tuple(int(room) for room in budget["context"])),
        encoder=Encoder(**{key: str(values["encoder"][key]) for key in ("name", "licence", "sha256")}),
        novelty=NoveltyScale(float(values["novelty"]["near"]), float(values["novelty"]["far"])),
        opset=int(values["opset"]),
        created_at=str(values["created_at"]),
        training_data=dict(values.get("training_data", {})),
        metrics=dict(values.get("metrics", {})),
        heads={head: tuple(values["heads"][head]) for head in HEADS},
        risk_bound=None if bound is None else RiskBound.from_json(bound),
        format=int(values["format"]),
    )


def _check_values(folder: Path, manifest: Manifest) -> None:
    for head, labels in HEADS.items():
        if manifest.heads[head] != labels:
            msg = (
                f"bundle '{folder.name}': head '{head}' has labels {list(manifest.heads[head])}, this code knows "
                f"{list(labels)}. Upgrade pointsman, or train the bundle again."
            )
            raise BundleVersionError(msg)
        temperature = manifest.temperatures[head]
        if not (math.isfinite(temperature) and temperature > 0):
            msg = f"bundle '{folder.name}': temperature of '{head}' must be finite and > 0, got {temperature}."
            raise BundleCorruptError(msg)
