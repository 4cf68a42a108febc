"""Where a key is named, no bundle serves or is tried that the key did not sign, whenever it comes."""

import shutil

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pointsman.classifier.aliases import AliasFolder, Challenger
from pointsman.classifier.errors import BundleSignatureError
from pointsman.classifier.signature import SIGNATURE, sign_bundle
from pointsman.serving.bundle_watch import BundleWatch
from pointsman.serving.live_model import open_router
from pointsman.serving.model_source import ModelSource
from pointsman.serving.settings import load_settings
from pointsman.serving.telemetry import Telemetry

from .bundles import promoted, variant

PEM = serialization.Encoding.PEM


@pytest.fixture
def private(tmp_path):
    """A private key's file, with the public key's beside it."""
    key = Ed25519PrivateKey.generate()
    plain = serialization.NoEncryption()
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path


@pytest.fixture
def settings(tmp_path, tiny_bundle_copy, private):
    """The settings of a service on an alias folder whose champion is signed."""
    sign_bundle(tiny_bundle_copy, private)
    promoted(tmp_path / "aliases", tiny_bundle_copy)
    return load_settings(
        bundle=tmp_path / "aliases", bundle_key=private.with_suffix(".pub"), max_bundle_slowdown=1e9, n_threads=1
    )


@pytest.fixture
def watch(settings):
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    watch = BundleWatch(open_router(settings), ModelSource.of(settings), Telemetry(), settings, clock=Clock())
    yield watch
    watch.stop()


@pytest.fixture
def second(tmp_path, tiny_bundle):
    return variant(tiny_bundle, tmp_path / "second", "tiny-2")


def version_of(watch):
    return watch._router.model_version


def test_signed_bundle_is_taken_up(watch, settings, second, private):
    sign_bundle(second, private)
    promoted(settings.bundle, second)
    assert watch.look() is True
    assert version_of(watch) == "tiny-2"


def test_unsigned_bundle_never_gets_in(watch, settings, second):
    promoted(settings.bundle, second)
    assert watch.look() is False
    assert version_of(watch) == "tiny-1"
    assert "has no manifest.sig; a signed one is asked for" in watch.problem()


def test_bundle_that_is_signed_later_is_taken_up_at_the_next_try(watch, settings, second, private):
    promoted(settings.bundle, second)
    watch.look()
    sign_bundle(settings.bundle, private)
    watch._clock.now += 61
    assert watch.look() is True
    assert version_of(watch) == "tiny-2"


def test_signature_of_another_bundle_is_refused(watch, settings, second, tiny_bundle_copy):
    shutil.copyfile(tiny_bundle_copy / SIGNATURE, second / SIGNATURE)
    promoted(settings.bundle, second)
    assert watch.look() is False
    assert "is not this key's signature" in watch.problem()


def test_unsigned_challenger_is_not_tried(watch, settings, second):
    folder = AliasFolder(settings.bundle)
    folder.challenge(Challenger(folder.add(second)))
    watch.look()
    assert watch.trial is None
    assert "manifest.sig" in watch.describe()["bundle"]["refused"]["challenger"]["problem"]


def test_start_passes_over_an_unsigned_champion(settings, second):
    promoted(settings.bundle, second)
    assert open_router(settings).model_version == "tiny-1"


def test_start_without_a_signed_bundle_says_why(settings, tiny_bundle, tmp_path):
    unsigned = load_settings(bundle=tiny_bundle, bundle_key=settings.bundle_key)
    with pytest.raises(BundleSignatureError, match=r"has no manifest\.sig"):
        open_router(unsigned)
