"""A routing pack carries what a decision needs, worked out, and refuses what its readers would not keep."""

import json

import pytest

from pointsman.classifier.bundle import load_bundle
from pointsman.classifier.catalog import Catalog, profile_names
from pointsman.classifier.commands import main
from pointsman.classifier.errors import PolicyError
from pointsman.classifier.manners import OTHER_FAMILY
from pointsman.classifier.pack import ROUTING, write_pack
from pointsman.classifier.policy import Policy, policy_names


def routing(folder, bundle, profile="anthropic-dashscope", policy="balanced"):
    write_pack(folder, Catalog.load(profile), Policy.load(policy), bundle)
    return json.loads((folder / ROUTING).read_text(encoding="utf-8"))


@pytest.mark.parametrize("profile", profile_names())
def test_every_profile_has_its_models_and_their_failure_rates(tmp_path, tiny_bundle, profile):
    found = routing(tmp_path, tiny_bundle, profile)
    catalog = Catalog.load(profile)
    assert {model["name"]: model["rates"] for model in found["models"]} == {
        model.name: list(model.posterior.rates) for model in catalog.models
    }
    assert found["weighed"] == [model.name for model in catalog.weighed]


def test_models_have_tier_and_family_to_count_corrections_by(tmp_path, tiny_bundle):
    found = routing(tmp_path, tiny_bundle)
    models = Catalog.load("anthropic-dashscope").models
    assert [(model["tier"], model["family"]) for model in found["models"]] == [(m.tier, m.family) for m in models]
    assert found["other_family"] == OTHER_FAMILY


def test_presets_are_there_beside_the_policy_of_ones_own(tmp_path, tiny_bundle):
    own = tmp_path / "own.yaml"
    own.write_text("extends: balanced\nscale: 2\n")
    found = routing(tmp_path / "pack", tiny_bundle, policy=str(own))
    assert found["policy"] == "own"
    assert set(found["policies"]) == {"own", *policy_names()}
    assert found["policies"]["own"]["loss_usd"] == list(Policy.load(own).loss_usd)


def test_bundle_lies_beside_it_whole(tmp_path, tiny_bundle):
    found = routing(tmp_path, tiny_bundle)
    assert load_bundle(tmp_path).digest == found["bundle_digest"] == load_bundle(tiny_bundle).digest


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("rules", "rules:\n  - {deny: [cheap]}\n"),
        ("paths", 'paths:\n  - {match: ["db/**"], risk: high}\n'),
        ("explore", "explore: {max_care_probability: 0.05}\n"),
    ],
)
def test_policy_that_readers_would_not_keep_is_refused(tmp_path, tiny_bundle, field, text):
    own = tmp_path / "own.yaml"
    own.write_text(f"extends: balanced\n{text}")
    with pytest.raises(PolicyError, match=f"policy 'own' has {field}; expected none of these in a pack"):
        routing(tmp_path / "pack", tiny_bundle, policy=str(own))
    assert not (tmp_path / "pack").exists()


def test_command_writes_again_over_an_earlier_pack(tmp_path, tiny_bundle, capsys):
    asked = ["pack", "--bundle", str(tiny_bundle), "--output", str(tmp_path), "--policy"]
    assert [main([*asked, policy]) for policy in ("careful", "frugal")] == [0, 0]
    assert json.loads((tmp_path / ROUTING).read_text(encoding="utf-8"))["policy"] == "frugal"
    assert "policy frugal:" in capsys.readouterr().out.splitlines()[-1]
