"""Transient profiles: the LIM and INF profiles of the HAS study, and its probability files.

The study gives every thread t of every block b a probability p[b, t] that a tile's partial sum is
corrupted. Thread t is a PE here; a tile's partial sum is the accumulator after a step. A profile
holds one probability per PE, so the blocks have to be brought down to one array:

* a block's number: the array is that block. PE t takes p[b, t].
* ``mean``: the tiles of a layer visit the blocks in turn, and PE t takes the mean of p[:, t], the
  rate at which its partial sums are then corrupted over all tiles.
* ``all``: the array is all blocks side by side; PE b * threads + t takes p[b, t].

LIM (10 blocks reused in turn) is block 0 by default, which is what a layer of a single tile meets;
INF (20,000 blocks, none used twice) is the mean.

References
----------
S. Shresthamali, Y. He, M. Kondo, "Fault-aware Hardware Scheduling of Computations in Deep Neural
Networks", IPSJ SIG Technical Report 2022-ARC-249 no. 19.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Literal

import numpy as np

from hascodesign.common import inputs
from hascodesign.common.arrays import read_npy
from hascodesign.common.inputs import printable
from hascodesign.contract.errors import ConfigError, FaultProfileError
from hascodesign.contract.types import ArraySpec, Fault, FaultProfile, FloatArray
from hascodesign.faults.profile import check, check_array, shown

PMAX = tuple(n / 1000 for n in (1, 2, 5, 10, 20, 50, 99, 100, 200, 500, 999))  # of the study
LIM_BLOCKS = 10
INF_BLOCKS = 20_000
BITS = (6, 14)  # of the accumulator; the study draws float32 exponent bits, which it has not
_MAX_VALUES = 50_000_000
Block = int | Literal["mean", "all"]


def lim(
    array: ArraySpec,
    rng: np.random.Generator,
    *,
    pmax: float,
    blocks: int = LIM_BLOCKS,
    block: Block = 0,
    bits: tuple[int, int] = BITS,
    seed: int = 0,
) -> FaultProfile:
    """The study's LIM profile: p even in [0, pmax] for each of ``blocks`` blocks and each PE.

    Parameters
    ----------
    array : the array; one psum entry of kind transient per PE (dataflow `ws`: at its last cell).
    rng : generator of every draw.
    pmax : the largest probability, 0..1 (``PMAX`` holds the study's).
    blocks : blocks that are drawn.
    block : how the blocks come down to the array: a number, ``mean`` or ``all``.
    bits : accumulator bits, both included, of which each error inverts one.
    seed : seed of the transient draws, kept in the profile.

    Raises
    ------
    ConfigError
        pmax outside [0, 1], no such block, or an array that ``all`` does not fit.
    """
    return _drawn("lim", array, rng, (pmax, blocks), block, bits, seed)


def inf(
    array: ArraySpec,
    rng: np.random.Generator,
    *,
    pmax: float,
    blocks: int = INF_BLOCKS,
    bits: tuple[int, int] = BITS,
    seed: int = 0,
) -> FaultProfile:
    """The study's INF profile: no block is used twice, so each PE takes the mean over all."""
    return _drawn("inf", array, rng, (pmax, blocks), "mean", bits, seed)


def from_probabilities(
    array: ArraySpec,
    probabilities: FloatArray,
    *,
    block: Block = 0,
    bits: tuple[int, int] = BITS,
    seed: int = 0,
    source: str = "probabilities by block and thread",
) -> FaultProfile:
    """Profile of one psum entry per PE out of probabilities [blocks, threads].

    A PE whose probability is 0 gets no entry. Means are rounded once (``math.fsum``), so that
    they are the same everywhere.
    """
    check_array(array)
    chosen = _by_pe(array, probabilities, block)
    simd = array.simd - 1 if array.has_lane("psum") else None
    faults = tuple(
        Fault(pe, "transient", "psum", simd, p=p, bits=bits) for pe, p in enumerate(chosen) if p
    )
    return check(FaultProfile(array, faults, seed, source, {"block": block}))


def read_probabilities(path: Path) -> FloatArray:
    """Probabilities [blocks, threads] of a ``.npy`` file.

    Raises
    ------
    FaultProfileError
        Not such a file, not two axes of real numbers, or a value outside [0, 1], with its place.
    """
    values = read_npy(path, inputs.PROBABILITIES)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        raise FaultProfileError(
            f"{printable(path)}: must hold numbers [blocks, threads], "
            f"not {values.dtype} {values.shape}"
        )
    if values.size > _MAX_VALUES:
        raise FaultProfileError(f"{printable(path)}: must hold at most {_MAX_VALUES} numbers")
    result = np.asarray(values, dtype=np.float64)
    outside = ~((result >= 0) & (result <= 1))  # NaN compares false
    if outside.any():
        block, thread = (int(n) for n in np.argwhere(outside)[0])
        raise FaultProfileError(
            f"{printable(path)}: block {block}, thread {thread}: p must be in [0, 1], "
            f"not {result[block, thread]}"
        )
    return result


def write_probabilities(profile: FaultProfile) -> bytes:
    """The ``.npy`` file of probabilities [1, PEs] that `from_probabilities` makes a profile of.

    Raises
    ------
    FaultProfileError
        An entry that is no transient of a PE's accumulated sum (its last cell in dataflow `ws`),
        two of one PE, or entries that do not draw from the same bits; with the entry's number.
    """
    simd = profile.array.simd - 1 if profile.array.has_lane("psum") else None
    values = np.zeros((1, profile.array.pe))
    span = transient_bits(profile.faults[0]) if profile.faults else BITS
    for entry, fault in enumerate(profile.faults):
        place = (fault.kind, fault.site, fault.simd)
        if place != ("transient", "psum", simd) or fault.p is None:
            cell = "" if simd is None else f" of multiplier {simd}"
            raise FaultProfileError(
                f"entry {entry}: a file of probabilities must hold kind transient at site psum"
                f"{cell} only"
            )
        if values[0, fault.pe]:
            raise FaultProfileError(f"entry {entry}: pe {fault.pe} must have one probability")
        if transient_bits(fault) != span:
            raise FaultProfileError(
                f"entry {entry}: bits must be {list(span)} as in entry 0, the file has no bits"
            )
        values[0, fault.pe] = fault.p
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def transient_bits(fault: Fault) -> tuple[int, int]:
    """Lowest and highest bit that a transient entry draws from."""
    return fault.bits if fault.bits is not None else (fault.bit or 0, fault.bit or 0)


def _drawn(
    name: str,
    array: ArraySpec,
    rng: np.random.Generator,
    drawn: tuple[float, int],
    block: Block,
    bits: tuple[int, int],
    seed: int,
) -> FaultProfile:
    pmax, blocks = drawn
    if not 0 <= pmax <= 1:
        raise ConfigError(f"pmax must be a number in [0, 1], not {pmax}")
    check_array(array)
    threads = array.pe
    if block == "all":
        if array.pe % max(blocks, 1):
            raise ConfigError(f"the PEs must be a multiple of the {blocks} blocks, not {array.pe}")
        threads = array.pe // max(blocks, 1)
    if not 1 <= blocks <= _MAX_VALUES // threads:
        raise ConfigError(f"blocks must be 1..{_MAX_VALUES // threads}, not {blocks}")
    probabilities = rng.random((blocks, threads)) * pmax
    source = f"drawn: {name.upper()} of {blocks} blocks, p even in [0, {pmax:g}], block {block}"
    profile = from_probabilities(
        array, probabilities, block=block, bits=bits, seed=seed, source=source
    )
    conditions = {"generator": name, "pmax": pmax, "blocks": blocks, **profile.conditions}
    return FaultProfile(array, profile.faults, seed, source, conditions)


def _by_pe(array: ArraySpec, probabilities: FloatArray, block: Block) -> list[float]:
    blocks, threads = probabilities.shape
    if block == "all":
        if blocks * threads != array.pe:
            raise ConfigError(
                f"the PEs must be {blocks} blocks x {threads} threads, not {array.pe}"
            )
        return [float(p) for p in probabilities.ravel()]
    if threads != array.pe:
        raise ConfigError(f"the threads of a block must be the {array.pe} PEs, not {threads}")
    if block == "mean":
        return [math.fsum(column) / blocks for column in probabilities.T.tolist()]
    if type(block) is not int or not 0 <= block < blocks:
        raise ConfigError(f"block must be 0..{blocks - 1}, mean or all, not {shown(block)}")
    return [float(p) for p in probabilities[block]]
