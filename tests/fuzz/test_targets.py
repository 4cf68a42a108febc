"""What the fuzzers call holds for seeds and for random inputs; `make fuzz` tries a million."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .run import ROOT, SEEDS, SHARES
from .targets import TARGETS

some = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def test_every_target_has_its_share():
    assert set(SHARES) == set(TARGETS)
    assert sum(SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_coped_with(name):
    @some
    @given(data=st.binary(max_size=400))
    def check(data):
        TARGETS[name](data)

    check()


@pytest.mark.parametrize("name", SEEDS)
def test_spoiled_seeds_are_coped_with(name):
    seeds = [seed.read_bytes() for seed in sorted(ROOT.glob(SEEDS[name]))]

    @some
    @given(seed=st.sampled_from(seeds), at=st.integers(0, 4000), part=st.binary(max_size=8), cut=st.integers(0, 40))
    def check(seed, at, part, cut):
        TARGETS[name](seed[:at] + part + seed[at + cut :])

    assert seeds
    check()
