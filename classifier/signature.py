"""Ed25519 signatures of bundles: who made it, where the digests say only that it is whole.

The signature is over the manifest, which holds the digest of every other file. It is optional: the runtime needs
`cryptography` only where a public key is named.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from .aliases import resolve_bundle
from .bundle import MANIFEST, load_bundle
from .errors import BundleNotFoundError, BundleSignatureError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE: Final = "manifest.sig"


def sign_bundle(folder: Path | str, private_key: Path | str) -> Path:
    """Write a bundle's signature beside its manifest.

    Parameters
    ----------
    folder : path
        The bundle; verified before it is signed.
    private_key : path
        PEM file with an Ed25519 private key (`openssl genpkey -algorithm ed25519`), without a password.

    Returns
    -------
    path
        The signature's file.

    Raises
    ------
    BundleError
        The bundle is not whole, or the key cannot be used.
    """
    bundle = load_bundle(folder)
    key = _read_private(Path(private_key))
    path = bundle.file(SIGNATURE)
    path.write_bytes(base64.b64encode(key.sign(bundle.file(MANIFEST).read_bytes())) + b"\n")
    return path


def require_signature(folder: Path | str, public_key: Path | str) -> None:
    """Refuse a bundle that the key's owner did not sign; the digests are `load_bundle`'s to check.

    Raises
    ------
    BundleNotFoundError
        There is no manifest.
    BundleError
        The pointer of an alias folder cannot be read.
    BundleSignatureError
        There is no signature, it is another's or of another manifest, or the key cannot be used.
    """
    folder = resolve_bundle(Path(folder))
    key = _read_public(Path(public_key))
    from cryptography.exceptions import InvalidSignature

    try:
        manifest = (folder / MANIFEST).read_bytes()
    except OSError as exc:
        msg = f"no bundle at '{folder}': {MANIFEST} cannot be read ({exc.strerror}). Name a bundle folder."
        raise BundleNotFoundError(msg) from exc
    try:
        signature = base64.b64decode((folder / SIGNATURE).read_bytes().strip(), validate=True)
        key.verify(signature, manifest)
    except FileNotFoundError as exc:
        msg = f"bundle '{folder.name}' has no {SIGNATURE}; a signed one is asked for. Sign it: pointsman sign."
        raise BundleSignatureError(msg) from exc
    except (OSError, binascii.Error, InvalidSignature) as exc:
        msg = (
            f"bundle '{folder.name}': {SIGNATURE} is not this key's signature of {MANIFEST}. "
            "Fetch the bundle again from who signed it, or name that signer's public key."
        )
        raise BundleSignatureError(msg) from exc


def _read_public(path: Path) -> Ed25519PublicKey:
    serialization, ed25519 = _library()
    key = _loaded(path, serialization.load_pem_public_key)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise _odd_key(path, "public")
    return cast("Ed25519PublicKey", key)


def _read_private(path: Path) -> Ed25519PrivateKey:
    serialization, ed25519 = _library()
    key = _loaded(path, lambda data: serialization.load_pem_private_key(data, password=None))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise _odd_key(path, "private")
    return cast("Ed25519PrivateKey", key)


def _loaded(path: Path, load: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load(path.read_bytes())
    except OSError as exc:
        msg = f"the key {path} cannot be read: {exc.strerror}."
        raise BundleSignatureError(msg) from exc
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _odd_key(path: Path, kind: str) -> BundleSignatureError:
    return BundleSignatureError(
        f"the key {path} is not what was expected: a PEM file with an Ed25519 {kind} key, without a password. "
        "Make a pair: openssl genpkey -algorithm ed25519 -out private.pem; "
        "openssl pkey -in private.pem -pubout -out public.pem."
    )


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as exc:
        msg = "signatures need cryptography, which is not installed. Run: pip install 'pointsman[signing]'."
        raise BundleSignatureError(msg) from exc
    return serialization, ed25519
