"""The service as it ships: the bundle in the package, the default catalogue and policy."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.testclient import TestClient

from pointsman.classifier.bundle import DEFAULT_BUNDLE, MANIFEST, load_bundle
from pointsman.classifier.errors import BundleSignatureError
from pointsman.serving.app import create_app
from pointsman.serving.live_model import open_router
from pointsman.serving.settings import load_settings

from .clients import CAREFUL, RACE, TYPO, claude_body
from .conftest import wait_until_ready

pytestmark = pytest.mark.skipif(
    not (DEFAULT_BUNDLE / MANIFEST).is_file(), reason="no bundle is in the package yet: train one (pointsman train)"
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'records.sqlite'}"
    with TestClient(create_app(load_settings(database_url=url))) as client:
        wait_until_ready(client)
        yield client


def decide(client, session, *prompts, **options):
    headers = {"x-claude-code-session-id": session}
    return client.post("/v1/decide/v1/messages", json=claude_body(*prompts, **options), headers=headers).json()


def test_info_names_the_bundle_that_ships(shipped):
    bundle = load_bundle()
    info = shipped.get("/info").json()
    assert (info["bundle_digest"], info["model_version"]) == (bundle.digest, bundle.manifest.version)


def test_race_in_payments_goes_to_a_careful_model_and_stays(shipped):
    first = decide(shipped, "race", RACE)
    assert first["model"] in CAREFUL
    assert decide(shipped, "race", RACE, tool_results=2)["model"] == first["model"]
    assert decide(shipped, "race", RACE, "yes, go on")["model"] == first["model"]


def test_typo_goes_to_a_cheap_model_and_stays(shipped):
    first = decide(shipped, "typo", TYPO)
    assert first["model"] not in CAREFUL
    assert decide(shipped, "typo", TYPO, "yes, go on")["model"] == first["model"]


def test_classify_agrees_with_decide(shipped):
    (assessment,) = shipped.post("/v1/classify", json={"inputs": [{"prompt": RACE}]}).json()["assessments"]
    decided = shipped.post("/v1/decide", json={"prompt": RACE}).json()
    for head in ("category", "risk", "scope", "turn"):
        assert assessment[head]["probabilities"] == pytest.approx(decided[head]["probabilities"], abs=1e-6)


def test_bundle_that_the_named_key_did_not_sign_is_refused_at_the_start(tmp_path):
    private = Ed25519PrivateKey.generate()
    key = tmp_path / "public.pem"
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    key.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, public))
    with pytest.raises(BundleSignatureError, match=r"has no manifest\.sig; a signed one is asked for"):
        open_router(load_settings(bundle_key=key))
