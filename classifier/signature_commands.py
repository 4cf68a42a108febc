"""`pointsman sign` and `pointsman verify`: who made a bundle, and whether it is whole."""

import argparse
import sys
from pathlib import Path

from .bundle import DEFAULT_BUNDLE, load_bundle
from .errors import BundleError
from .signature import require_signature, sign_bundle


class SignCommand:
    """Signs a bundle."""

    help = "sign a bundle with an Ed25519 private key"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, help="bundle folder")
        parser.add_argument("--key", type=Path, required=True, help="PEM file with the private key")

    def run(self, args: argparse.Namespace) -> int:
        try:
            print(f"Signed: {sign_bundle(args.bundle, args.key)}")
        except (BundleError, OSError) as exc:
            return _fail(exc)
        return 0


class VerifyCommand:
    """Verifies a bundle."""

    help = "verify a bundle's digests, and its signature where a public key is named"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, nargs="?", default=DEFAULT_BUNDLE, help="default: the packaged one")
        parser.add_argument("--key", type=Path, help="PEM file with the signer's public key")

    def run(self, args: argparse.Namespace) -> int:
        try:
            if args.key is not None:
                require_signature(args.bundle, args.key)
            bundle = load_bundle(args.bundle)
        except BundleError as exc:
            return _fail(exc)
        signed = "signed by this key" if args.key is not None else "signature not looked at (--key)"
        print(f"ok    {bundle.manifest.version}: every file has its digest, {signed}, manifest {bundle.digest}")
        return 0


def _fail(exc: Exception) -> int:
    print(f"pointsman: {exc}", file=sys.stderr)
    return 2
