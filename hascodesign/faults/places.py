"""Places where a fault can sit, and even draws among them.

Only ``Generator.integers`` and ``Generator.random`` are drawn from: no draw goes through a
platform's mathematics library, so the same generator state gives the same places anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, Kind, Site
from hascodesign.faults.profile import SITES, one_of, shown

PERMANENT: tuple[Kind, ...] = ("sa0", "sa1", "flip")
Half = Literal["all", "upper"]
HALVES: tuple[Half, ...] = ("all", "upper")


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
class Places:
    """The places of an array; draws give none of them twice."""

    array: ArraySpec
    rng: np.random.Generator
    half: Half = "all"
    used: dict[tuple[int, Site], set[int]] = field(default_factory=dict)

    def bits(self, site: Site) -> range:
        """The bits that may be drawn at a site."""
        width = self.array.site_bits(site)
        return range(width - max(1, width // 2) if self.half == "upper" else 0, width)

    def count(self, site: Site) -> int:
        """Places of a site in one PE."""
        lanes = self.array.simd if self.array.has_lane(site) else 1
        return lanes * (self.array.wmem_depth if site == "wmem" else 1) * len(self.bits(site))

    def free(self, pe: int, site: Site) -> bool:
        """Whether a place of the site is left in the PE."""
        return len(self.used.get((pe, site), ())) < self.count(site)

    def fault(self, pe: int, site: Site, kind: Kind) -> Fault:
        """A fault at a free place of the site, drawn evenly."""
        while not self.take(pe, site, place := int(self.rng.integers(self.count(site)))):
            pass
        return self.at(pe, site, kind, place)

    def take(self, pe: int, site: Site, place: int) -> bool:
        """Mark a place as used; False where it was used before."""
        used = self.used.setdefault((pe, site), set())
        fresh = place not in used
        used.add(place)
        return fresh

    def at(self, pe: int, site: Site, kind: Kind, place: int) -> Fault:
        """The fault at one of the places, counted by multiplier, then address, then bit."""
        bits = self.bits(site)
        word, bit = divmod(place, len(bits))
        lane, address = divmod(word, self.array.wmem_depth) if site == "wmem" else (word, None)
        simd = lane if self.array.has_lane(site) else None
        return Fault(pe, kind, site, simd, bits[bit], address)


def weighted_sites(array: ArraySpec, weights: Mapping[Site, float] | None) -> dict[Site, float]:
    """The sites with a weight above 0, refusing what is no share of an area; None = all."""
    known: tuple[Site, ...] = tuple(
        site for site in array.sites if site != "wmem" or array.wmem_depth
    )
    weights = dict.fromkeys(known, 1.0) if weights is None else weights
    for site, weight in weights.items():
        if site not in known:
            raise ConfigError(f"a site of the weights must be {one_of(known)}, not {shown(site)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise ConfigError(f"the weight of site {site} must be 0 or more, not {weight}")
    chosen: dict[Site, float] = {site: weights[site] for site in known if weights.get(site, 0) > 0}
    if not chosen:
        raise ConfigError("the weight of one site at least must be above 0")
    return chosen


def check_amount(name: str, value: int, high: int, low: int = 0) -> None:
    """Refuse a number outside ``low``..``high``."""
    if not low <= value <= high:
        raise ConfigError(f"{name} must be {low}..{high}, not {value}")


def check_kinds(kinds: Sequence[Kind]) -> None:
    """Refuse what is not a list of permanent kinds."""
    for kind in kinds:
        if kind not in PERMANENT:
            raise ConfigError(f"a kind to draw must be {one_of(PERMANENT)}, not {shown(kind)}")
    if not kinds:
        raise ConfigError("one kind at least must be given")
