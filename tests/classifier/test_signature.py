"""A bundle is served only when the key that is asked for signed it, and needs no library when none is."""

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.commands import main
from pointsman.classifier.errors import BundleCorruptError, BundleNotFoundError, BundleSignatureError
from pointsman.classifier.signature import SIGNATURE, require_signature, sign_bundle

PEM = serialization.Encoding.PEM


def key_pair(folder, name="key", kind=Ed25519PrivateKey):
    private = kind.generate()
    secret, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    plain = serialization.NoEncryption()
    secret.write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return secret, public


@pytest.fixture
def keys(tmp_path):
    return key_pair(tmp_path)


@pytest.fixture
def signed(tiny_bundle_copy, keys):
    sign_bundle(tiny_bundle_copy, keys[0])
    return tiny_bundle_copy


def test_signed_bundle_is_taken_and_loads_as_before(signed, keys):
    require_signature(signed, keys[1])
    assert load_bundle(signed).manifest.version


def test_unsigned_bundle_is_refused(tiny_bundle_copy, keys):
    with pytest.raises(BundleSignatureError, match=r"has no manifest\.sig; a signed one is asked for"):
        require_signature(tiny_bundle_copy, keys[1])


def test_signature_of_another_is_refused(signed, tmp_path):
    _, other = key_pair(tmp_path, "other")
    with pytest.raises(BundleSignatureError, match="is not this key's signature"):
        require_signature(signed, other)


def test_changed_manifest_is_refused(signed, keys):
    manifest = signed / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    with pytest.raises(BundleSignatureError, match="is not this key's signature"):
        require_signature(signed, keys[1])


@pytest.mark.parametrize("content", [b"", b"!!!", b"AAAA", b"\xff" * 100], ids=["empty", "no base64", "short", "bytes"])
def test_odd_signature_is_refused(signed, keys, content):
    (signed / SIGNATURE).write_bytes(content)
    with pytest.raises(BundleSignatureError, match="is not this key's signature"):
        require_signature(signed, keys[1])


def test_damaged_bundle_is_not_signed(tiny_bundle_copy, keys):
    (tiny_bundle_copy / "model.onnx").write_bytes(b"other")
    with pytest.raises(BundleCorruptError, match="sha256"):
        sign_bundle(tiny_bundle_copy, keys[0])


def test_key_of_another_kind_is_named_with_the_way_to_make_one(signed, tmp_path):
    _, public = key_pair(tmp_path, "x25519", X25519PrivateKey)
    with pytest.raises(BundleSignatureError, match="openssl genpkey -algorithm ed25519"):
        require_signature(signed, public)


def test_private_key_does_not_pass_for_the_public_one(signed, keys):
    with pytest.raises(BundleSignatureError, match="Ed25519 public key"):
        require_signature(signed, keys[0])


def test_key_that_is_not_there_is_named(signed, tmp_path):
    with pytest.raises(BundleSignatureError, match=r"none\.pem cannot be read: No such file"):
        require_signature(signed, tmp_path / "none.pem")


def test_folder_without_a_bundle_is_named(tmp_path, keys):
    with pytest.raises(BundleNotFoundError, match=r"manifest\.json cannot be read"):
        require_signature(tmp_path, keys[1])


def test_commands_sign_and_verify(tiny_bundle_copy, keys, capsys):
    bundle, (secret, public) = str(tiny_bundle_copy), map(str, keys)
    assert main(["verify", bundle, "--key", public]) == 2
    assert "Sign it: pointsman sign" in capsys.readouterr().err
    assert main(["sign", bundle, "--key", secret]) == 0
    assert main(["verify", bundle, "--key", public]) == 0
    assert "signed by this key" in capsys.readouterr().out


def test_openssl_agrees(signed, keys, tmp_path):
    decoded = tmp_path / "signature"
    decoded.write_bytes(subprocess.run(["base64", "-d", signed / SIGNATURE], capture_output=True, check=True).stdout)
    check = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", keys[1], "-sigfile", decoded]
    done = subprocess.run([*check, "-in", signed / "manifest.json"], capture_output=True, text=True)
    assert "Verified Successfully" in done.stdout, done.stderr


def test_nothing_is_needed_where_no_key_is_named(tiny_bundle):
    script = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from pointsman.classifier.commands import main\n"
        f"main(['verify', {str(tiny_bundle)!r}])\n"
        f"main(['verify', {str(tiny_bundle)!r}, '--key', 'public.pem'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.startswith("ok    ")
    assert "needs cryptography" in done.stderr.replace("signatures need ", "needs ")
    assert "pip install 'pointsman[signing]'" in done.stderr
