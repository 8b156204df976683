"""Fault profiles drawn from a seed: the same generator state gives the same profile anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, Kind, Scalar, Site
from hascodesign.faults.places import (
    HALVES,
    Half,
    Places,
    check_amount,
    check_kinds,
    in_order,
    pick,
    sample,
    weighted_sites,
)
from hascodesign.faults.profile import MAX_ENTRIES, check, check_array, one_of, shown

AREA_WEIGHTS: Mapping[Site, float] = {"product": 81, "psum": 11, "weight": 4, "act": 4}
STUCK: tuple[Kind, ...] = ("sa0", "sa1")
_TRIES = 1000  # draws of one clustered fault before its cluster counts as full


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
    check_amount("faulty_pes", faulty_pes, array.pe)
    check_kinds(kinds)
    if bits not in HALVES:
        raise ConfigError(f"bits must be {one_of(HALVES)}, not {shown(bits)}")
    sites = weighted_sites(array, AREA_WEIGHTS if weights is None else weights)
    draw = Places(array, rng, bits)
    check_amount("faults_per_pe", faults_per_pe, sum(draw.count(site) for site in sites))
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


def uniform(
    array: ArraySpec,
    rng: np.random.Generator,
    *,
    count: int,
    sites: Sequence[Site] | None = None,
    kinds: Sequence[Kind] = STUCK,
    seed: int = 0,
) -> FaultProfile:
    """``count`` permanent faults, every bit of every named site of the array equally likely.

    Parameters
    ----------
    array : the array.
    rng : generator of every draw.
    count : faults, all on different bits.
    sites : sites whose bits are drawn from; None = all that the dataflow has, `wmem` among them
        where the array fixes ``wmem_depth``.
    kinds : permanent kinds, drawn evenly.
    seed : seed of the transient draws, kept in the profile.

    Raises
    ------
    ConfigError
        More faults than bits, or a site that the array does not have.
    """
    check_array(array)
    check_kinds(kinds)
    chosen = weighted_sites(array, None if sites is None else dict.fromkeys(sites, 1.0))
    places = Places(array, rng)
    per_pe = sum(places.count(site) for site in chosen)
    check_amount("count", count, min(per_pe * array.pe, MAX_ENTRIES))
    faults = []
    for number in sorted(sample(rng, per_pe * array.pe, count)):
        pe, place = divmod(number, per_pe)
        for site in chosen:
            if place < places.count(site):
                break
            place -= places.count(site)
        faults.append(places.at(pe, site, kinds[int(rng.integers(len(kinds)))], place))
    source = f"drawn: {count} faults evenly over the bits of {', '.join(chosen)}"
    return check(FaultProfile(array, in_order(faults), seed, source, {"generator": "uniform"}))


def clustered(
    array: ArraySpec,
    rng: np.random.Generator,
    *,
    count: int,
    clusters: int = 2,
    radius: int = 2,
    weights: Mapping[Site, float] | None = None,
    kinds: Sequence[Kind] = STUCK,
    seed: int = 0,
) -> FaultProfile:
    """Permanent faults in clusters on the P x S grid of multipliers.

    A cluster's centre is an evenly drawn multiplier. Each fault belongs to an evenly drawn cluster
    and stands off its centre by the difference of two even draws of 0..``radius``, in PEs and in
    multipliers: a triangular distance, densest at the centre. What falls outside the grid is
    drawn again. A site that has no multiplier takes the PE alone.

    Parameters
    ----------
    array : the array.
    rng : generator of every draw.
    count : faults, all on different bits.
    clusters : number of clusters, at least 1.
    radius : the farthest that a fault stands from its centre, in PEs and in multipliers.
    weights : relative area of each site, as for ``by_area``.
    kinds : permanent kinds, drawn evenly.
    seed : seed of the transient draws, kept in the profile.

    Raises
    ------
    ConfigError
        No room for so many faults in the clusters.
    """
    check_array(array)
    check_kinds(kinds)
    sites = weighted_sites(array, AREA_WEIGHTS if weights is None else weights)
    check_amount("count", count, MAX_ENTRIES)
    check_amount("clusters", clusters, array.pe * array.simd, low=1)
    check_amount("radius", radius, max(array.pe, array.simd))
    places = Places(array, rng)
    centres = [divmod(n, array.simd) for n in sample(rng, array.pe * array.simd, clusters)]
    faults = []
    for _ in range(count):
        kind = kinds[int(rng.integers(len(kinds)))]
        faults.append(_near(places, centres[int(rng.integers(clusters))], radius, sites, kind))
    source = f"drawn: {count} faults in {clusters} clusters of radius {radius} multipliers"
    conditions: dict[str, Scalar] = {
        "generator": "clustered",
        "clusters": clusters,
        "radius": radius,
    }
    return check(FaultProfile(array, in_order(faults), seed, source, conditions))


def dead(array: ArraySpec, rng: np.random.Generator, *, count: int, seed: int = 0) -> FaultProfile:
    """``count`` PEs that are dead, drawn evenly without replacement."""
    check_array(array)
    check_amount("count", count, array.pe)
    faults = tuple(Fault(pe, "dead") for pe in sorted(sample(rng, array.pe, count)))
    source = f"drawn: {count} dead of {array.pe} PEs"
    return check(FaultProfile(array, faults, seed, source, {"generator": "dead"}))


def _near(
    places: Places,
    centre: tuple[int, int],
    radius: int,
    sites: Mapping[Site, float],
    kind: Kind,
) -> Fault:
    array, rng = places.array, places.rng
    for _ in range(_TRIES):
        pe, lane = (
            c + int(rng.integers(radius + 1)) - int(rng.integers(radius + 1)) for c in centre
        )
        if not (0 <= pe < array.pe and 0 <= lane < array.simd):
            continue
        site = pick(rng, sites)
        lanes = array.simd if array.has_lane(site) else 1
        per_lane = places.count(site) // lanes
        place = (lane if lanes > 1 else 0) * per_lane + int(rng.integers(per_lane))
        if places.take(pe, site, place):
            return places.at(pe, site, kind, place)
    raise ConfigError(
        f"the clusters must have room for all faults: the one at PE {centre[0]}, multiplier "
        f"{centre[1]} is full; take fewer faults, more clusters or a larger radius"
    )
