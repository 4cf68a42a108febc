"""Bundles that differ from the tiny one as a test wants it, and alias folders with them."""

import json
import shutil

from pointsman.classifier.aliases import AliasFolder


def variant(source, folder, version, **changes):
    """A copy of a bundle under another version, with other members of its manifest."""
    shutil.copytree(source, folder)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": version} | changes, indent=2) + "\n")
    return folder


def promoted(aliases, bundle, reason="test"):
    """Let a bundle serve in an alias folder."""
    folder = AliasFolder(aliases)
    return folder.promote(folder.add(bundle), reason=reason).pointer


def damage(bundle):
    """Change one byte of the graph."""
    raw = bytearray((bundle / "model.onnx").read_bytes())
    raw[len(raw) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(bytes(raw))
