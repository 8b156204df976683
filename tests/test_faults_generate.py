"""Drawn profiles: sound, reproducible, and of the distribution they promise."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hascodesign.contract.array import generator
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault
from hascodesign.faults.formats import write_json
from hascodesign.faults.generate import by_area, clustered, dead, uniform
from hascodesign.faults.profile import check

ARRAY = ArraySpec(16, 8, 4, 8, 24)


def test_by_area_is_this_profile() -> None:
    drawn = by_area(ARRAY, generator(1, "faults"), seed=1)
    assert drawn.seed == 1
    assert drawn.faults == GOLDEN
    assert write_json(drawn) == write_json(by_area(ARRAY, generator(1, "faults"), seed=1))
    assert drawn.faults != by_area(ARRAY, generator(2, "faults")).faults


GOLDEN = (
    Fault(4, "sa1", "product", 0, 11),
    Fault(5, "sa0", "product", 4, 2),
    Fault(6, "sa1", "product", 2, 11),
    Fault(10, "sa1", "product", 0, 8),
)


def test_by_area_has_the_shares_it_was_given() -> None:
    rng = generator(3, "shares")
    faults = [f for _ in range(2000) for f in by_area(ARRAY, rng).faults]
    assert len(faults) == 8000
    sites = Counter(f.site for f in faults)
    for site, share in {"product": 81, "psum": 11, "weight": 4, "act": 4}.items():
        expected = 80 * share
        assert abs(sites[site] - expected) < 4 * expected**0.5, site
    assert abs(sum(f.kind == "sa0" for f in faults) - 4000) < 4 * 2000**0.5
    bits = Counter(f.bit for f in faults if f.site == "product")
    assert sorted(b for b in bits if b is not None) == list(range(13))
    assert max(bits.values()) < 1.3 * min(bits.values())
    pes = Counter(f.pe for f in faults)
    assert len(pes) == 16
    assert max(pes.values()) < 1.35 * min(pes.values())


def test_by_area_spreads_over_the_pes_asked_for() -> None:
    drawn = by_area(ARRAY, generator(1, "x"), faulty_pes=7, faults_per_pe=3)
    assert sorted(Counter(f.pe for f in drawn.faults).values()) == [3] * 7
    assert all((f.simd is None) == (f.site == "psum") for f in drawn.faults)


def test_upper_half() -> None:
    rng = generator(1, "upper")
    weights = {"product": 1, "psum": 1}
    faults = [
        f for _ in range(300) for f in by_area(ARRAY, rng, bits="upper", weights=weights).faults
    ]
    seen = {site: {f.bit for f in faults if f.site == site} for site in ("product", "psum")}
    assert seen == {"product": set(range(7, 13)), "psum": set(range(12, 24))}


def test_an_array_can_be_filled() -> None:
    tiny = ArraySpec(2, 1, 1, 1, 16, "ws")
    every = {"weight": 1.0, "act": 1.0, "product": 1.0, "psum": 1.0, "acc": 1e-9}
    places = 1 + 1 + 3 + 16 + 16
    drawn = by_area(tiny, generator(1, "x"), faulty_pes=2, faults_per_pe=places, weights=every)
    assert len(drawn.faults) == 2 * places
    check(drawn)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(faulty_pes=17), "faulty_pes must be 0..16, not 17"),
        (dict(faulty_pes=-1), "faulty_pes must be 0..16, not -1"),
        (dict(weights={"psum": 1}, faults_per_pe=25), "faults_per_pe must be 0..24, not 25"),
        (dict(weights={"acc": 1}), "must be weight, act, product or psum, not 'acc'"),
        (dict(weights={"psum": -1}), "the weight of site psum must be 0 or more, not -1"),
        (dict(weights={"psum": float("nan")}), "must be 0 or more, not nan"),
        (dict(weights={"psum": 0}), "the weight of one site at least must be above 0"),
        (dict(kinds=("dead",)), "a kind to draw must be sa0, sa1 or flip, not 'dead'"),
        (dict(kinds=()), "one kind at least must be given"),
        (dict(bits="lower"), "bits must be all or upper, not 'lower'"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        by_area(ARRAY, np.random.default_rng(1), **options)
    assert words in str(caught.value)


# --------------------------------------------------------------------------- the other generators


def test_uniform_takes_every_bit_alike() -> None:
    array = ArraySpec(2, 2, 2, 2, 16, "os", 3)
    bits = 2 * (2 * 3 * 2 + 2 * 2 + 2 * 2 + 2 * 5 + 16)  # wmem, weight, act, product, psum
    full = uniform(array, generator(1, "x"), count=bits)
    assert len({(f.pe, f.site, f.simd, f.address, f.bit) for f in full.faults}) == bits
    rng = generator(1, "many")
    seen = Counter(
        (f.pe, f.site, f.simd, f.address, f.bit)
        for _ in range(3000)
        for f in uniform(array, rng, count=5).faults
    )
    assert len(seen) == bits
    expected = 3000 * 5 / bits
    assert max(abs(n - expected) for n in seen.values()) < 5 * expected**0.5
    only = uniform(array, generator(1, "x"), count=9, sites=["psum"], kinds=["flip"])
    assert {(f.site, f.kind) for f in only.faults} == {("psum", "flip")}
    assert uniform(array, generator(4, "x"), count=9) == uniform(array, generator(4, "x"), count=9)


def test_clusters_keep_their_radius() -> None:
    array = ArraySpec(64, 16, 8, 8, 32)
    for seed in range(20):
        drawn = clustered(
            array, generator(seed, "x"), count=40, clusters=1, radius=3, weights={"product": 1}
        )
        assert len(drawn.faults) == 40
        pes = [f.pe for f in drawn.faults]
        lanes = [f.simd or 0 for f in drawn.faults]
        assert max(pes) - min(pes) <= 6
        assert max(lanes) - min(lanes) <= 6
    area = clustered(array, generator(1, "x"), count=200, clusters=5, radius=4)
    assert {f.site for f in area.faults} >= {"product", "psum"}
    assert area == clustered(array, generator(1, "x"), count=200, clusters=5, radius=4)


def test_a_cluster_of_radius_0_fills_one_multiplier() -> None:
    array = ArraySpec(4, 4, 4, 4, 16)
    one = clustered(array, generator(1, "x"), count=9, clusters=1, radius=0, weights={"product": 1})
    assert len({(f.pe, f.simd) for f in one.faults}) == 1
    assert sorted(f.bit or 0 for f in one.faults) == list(range(9))
    with pytest.raises(ConfigError, match="the clusters must have room for all faults"):
        clustered(array, generator(1, "x"), count=10, clusters=1, radius=0, weights={"product": 1})


def test_dead_pes() -> None:
    drawn = dead(ARRAY, generator(1, "x"), count=5)
    assert len({f.pe for f in drawn.faults}) == 5
    assert {f.kind for f in drawn.faults} == {"dead"}
    assert len(dead(ARRAY, generator(1, "x"), count=16).faults) == 16
    with pytest.raises(ConfigError, match=r"count must be 0\.\.16, not 17"):
        dead(ARRAY, generator(1, "x"), count=17)


def test_no_more_faults_than_bits() -> None:
    array = ArraySpec(1, 1, 1, 1, 16)
    with pytest.raises(ConfigError, match=r"count must be 0\.\.21, not 22"):
        uniform(array, generator(1, "x"), count=22)
    with pytest.raises(ConfigError, match="must be weight, act, product or psum, not 'wmem'"):
        uniform(array, generator(1, "x"), count=1, sites=["wmem"])
