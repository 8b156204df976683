"""Fault profiles drawn from a seed: the same generator state gives the same profile anywhere.

Only ``Generator.integers`` and ``Generator.random`` are drawn from: no draw goes through a
platform's mathematics library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hascodesign.errors import ConfigError
from hascodesign.faults.profile import (
    SITES,
    check,
    check_array,
    one_of,
    shown,
    sites_of,
    takes_simd,
)
from hascodesign.types import ArraySpec, Fault, FaultProfile, Kind, Site

AREA_WEIGHTS: Mapping[Site, float] = {"product": 81, "psum": 11, "weight": 4, "act": 4}
STUCK: tuple[Kind, ...] = ("sa0", "sa1")
PERMANENT: tuple[Kind, ...] = ("sa0", "sa1", "flip")
Half = Literal["all", "upper"]
HALVES: tuple[Half, ...] = ("all", "upper")


def by_area(
    array: ArraySpec,
    rng: np.random.Generator,
    *,
    faulty_pes: int = 4,
    faults_per_pe: int = 1,
    weights: Mapping[Site, float] | None = None,
    bits: Half = "all",
    kinds: Sequence[Kind] = STUCK,
    seed: int = 0,
) -> FaultProfile:
    """Permanent faults on some PEs, each at a site drawn by its share of the PE's area.

    Parameters
    ----------
    array : the array.
    rng : generator of every draw.
    faulty_pes : PEs that are faulty, drawn evenly without replacement.
    faults_per_pe : faults on each of them, all on different bits.
    weights : relative area of each site, ``AREA_WEIGHTS`` where None; a site that is not named
        gets no fault. `wmem` may be named where the array fixes ``wmem_depth``.
    bits : ``all`` bits of a site evenly, or the ``upper`` half (the most significant floor(n/2)
        of n bits, at least one) evenly.
    kinds : permanent kinds, drawn evenly.
    seed : seed of the transient draws, kept in the profile.

    Returns
    -------
    Checked profile, entries in order of PE, then site, then position.

    Raises
    ------
    ConfigError
        More faulty PEs than PEs, more faults than bits, or weights that are not shares.

    References
    ----------
    The default shares: multiplier 81 %, partial-sum register 11 %, weight and activation registers
    4 % each, of a systolic MAC (STRAIT, IEEE TCAD 2023).
    """
    check_array(array)
    _check_count("faulty_pes", faulty_pes, array.pe)
    _check_kinds(kinds)
    if bits not in HALVES:
        raise ConfigError(f"bits must be {one_of(HALVES)}, not {shown(bits)}")
    sites = _weighted_sites(array, AREA_WEIGHTS if weights is None else weights)
    draw = _Draw(array, rng, bits, array.wmem_depth)
    _check_count("faults_per_pe", faults_per_pe, sum(draw.places(site) for site in sites))
    faults = []
    for pe in sorted(sample(rng, array.pe, faulty_pes)):
        for _ in range(faults_per_pe):
            free = {site: sites[site] for site in sites if draw.free(pe, site)}
            site = pick(rng, free)
            faults.append(draw.fault(pe, site, kinds[int(rng.integers(len(kinds)))]))
    shares = ", ".join(f"{site} {weight:g}" for site, weight in sites.items())
    source = (
        f"drawn: {faults_per_pe} on each of {faulty_pes} of {array.pe} PEs, site by area ({shares})"
    )
    conditions = {"generator": "by_area", "bits": bits}
    return check(FaultProfile(array, in_order(faults), seed, source, conditions))


def sample(rng: np.random.Generator, total: int, count: int) -> list[int]:
    """``count`` different integers below ``total``, drawn evenly."""
    chosen: dict[int, None] = {}
    if 2 * count > total:  # the ones left out are fewer
        left_out = set(sample(rng, total, total - count))
        return [value for value in range(total) if value not in left_out]
    while len(chosen) < count:
        chosen.setdefault(int(rng.integers(total)))
    return list(chosen)


def pick(rng: np.random.Generator, weights: Mapping[Site, float]) -> Site:
    """A site drawn by weight, in the order in which the sites stand."""
    point = rng.random() * math.fsum(weights.values())
    passed = 0.0
    for site, weight in weights.items():
        passed += weight
        if point < passed:
            return site
    return list(weights)[-1]  # the sum's rounding let the point reach the end


def in_order(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """The entries by PE, site, multiplier, address and bit."""

    def key(fault: Fault) -> tuple[int, ...]:
        site = -1 if fault.site is None else SITES.index(fault.site)
        place = (fault.simd, fault.address, fault.bit)
        return (fault.pe, site, *(-1 if value is None else value for value in place))

    return tuple(sorted(faults, key=key))


@dataclass(slots=True)
class _Draw:
    """Draws places of the array, none of them twice."""

    array: ArraySpec
    rng: np.random.Generator
    half: Half
    words: int = 0  # words of a weight bank
    used: dict[tuple[int, Site], set[int]] = field(default_factory=dict)

    def bits(self, site: Site) -> range:
        """The bits that may be drawn at a site."""
        width = self.array.site_bits(site)
        return range(width - max(1, width // 2) if self.half == "upper" else 0, width)

    def places(self, site: Site) -> int:
        """Places of a site in one PE."""
        lanes = self.array.simd if takes_simd(self.array, site) else 1
        return lanes * (self.words if site == "wmem" else 1) * len(self.bits(site))

    def free(self, pe: int, site: Site) -> bool:
        """Whether a place of the site is left in the PE."""
        return len(self.used.get((pe, site), ())) < self.places(site)

    def fault(self, pe: int, site: Site, kind: Kind) -> Fault:
        """A fault at a free place of the site, drawn evenly."""
        used = self.used.setdefault((pe, site), set())
        while (place := int(self.rng.integers(self.places(site)))) in used:
            pass
        used.add(place)
        return self.at(pe, site, kind, place)

    def at(self, pe: int, site: Site, kind: Kind, place: int) -> Fault:
        """The fault at one of the places, counted by multiplier, then address, then bit."""
        bits = self.bits(site)
        word, bit = divmod(place, len(bits))
        lane, address = divmod(word, self.words) if site == "wmem" else (word, None)
        simd = lane if takes_simd(self.array, site) else None
        return Fault(pe, kind, site, simd, bits[bit], address)


def _weighted_sites(array: ArraySpec, weights: Mapping[Site, float]) -> dict[Site, float]:
    known: tuple[Site, ...] = tuple(
        site for site in sites_of(array) if site != "wmem" or array.wmem_depth
    )
    for site, weight in weights.items():
        if site not in known:
            raise ConfigError(f"a site of the weights must be {one_of(known)}, not {shown(site)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"the weight of site {site} must be 0 or more, not {weight}")
    chosen: dict[Site, float] = {site: weights[site] for site in known if weights.get(site, 0) > 0}
    if not chosen:
        raise ConfigError("the weight of one site at least must be above 0")
    return chosen


def _check_count(name: str, value: int, high: int) -> None:
    if not 0 <= value <= high:
        raise ConfigError(f"{name} must be 0..{high}, not {value}")


def _check_kinds(kinds: Sequence[Kind]) -> None:
    for kind in kinds:
        if kind not in PERMANENT:
            raise ConfigError(f"a kind to draw must be {one_of(PERMANENT)}, not {shown(kind)}")
    if not kinds:
        raise ConfigError("one kind at least must be given")
