"""The study's faults: which partial sums are corrupted, and how.

A tile is 32 rows x one K-tile; a *block* of 32 threads computes it, row by thread, and every
column of the tile runs on the same block. Tiles take blocks in the order row group, then K-tile,
then layer: LIM has 10 blocks and takes them in turn, INF has 20,000 and takes none twice (the
study's networks have fewer tiles). A partial sum of block b and thread t is corrupted with
probability p[b, t], drawn anew each time.

Which partial sums are struck hangs on the row and not on its thread: a row draws its candidates
at the largest probability, and those below its thread's own probability count. Two maps that are
compared meet the same candidates, and the draws are Bernoulli(p) exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import FloatArray, IntArray, frozen
from hascodesign.study.has.model import Floats, StudyNetwork

PMAX = tuple(n / 1000 for n in (1, 2, 5, 10, 20, 50, 99, 100, 200, 500, 999))
THREADS = 32
BLOCKS: Mapping[str, int] = MappingProxyType({"lim": 10, "inf": 20_000})
KINDS = ("invert", "set1", "set0", "tf32", "bf16")
LOW_BIT, HIGH_BIT = 23, 29  # of float32: the exponent's bits but for the highest

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    """Function compiled by numba, its type kept."""
    return numba.njit(cache=True, nogil=True)(function)


@dataclass(frozen=True, slots=True)
class BlockProfile:
    """Probability that a partial sum is corrupted, by block and thread."""

    p: FloatArray  # [blocks, THREADS], 0..pmax
    pmax: float

    def slots(self, groups: int, tiles: int, first: int) -> FloatArray:
        """Probabilities [groups*THREADS, tiles] that the slots of one layer meet.

        Parameters
        ----------
        groups : row groups of the layer; slot g*THREADS + t is thread t of group g.
        tiles : K-tiles of the layer.
        first : tiles of the layers before it.
        """
        blocks = (first + np.arange(groups * tiles)) % len(self.p)
        by_tile = self.p[blocks].reshape(groups, tiles, THREADS)
        return np.ascontiguousarray(by_tile.transpose(0, 2, 1)).reshape(-1, tiles)


def draw_profile(rng: np.random.Generator, pmax: float, blocks: str) -> BlockProfile:
    """Profile with p even in [0, pmax].

    Parameters
    ----------
    rng : generator of every draw.
    pmax : largest probability, above 0 and below 1.
    blocks : ``lim`` or ``inf``.
    """
    if not 0 < pmax < 1:
        raise ConfigError(f"pmax must be above 0 and below 1, not {pmax}")
    if blocks not in BLOCKS:
        raise ConfigError(f"blocks must be one of {', '.join(BLOCKS)}, not {blocks}")
    return BlockProfile(frozen(rng.random((BLOCKS[blocks], THREADS)) * pmax, np.float64), pmax)


def groups_of(rows: int) -> int:
    """Row groups of a layer."""
    return -(-rows // THREADS)


def first_tiles(network: StudyNetwork) -> tuple[int, ...]:
    """Tiles of the layers before each layer."""
    counts = [groups_of(layer.rows) * layer.tiles for layer in network.layers]
    return tuple(sum(counts[:index]) for index in range(len(counts)))


def plain_map(rows: int) -> IntArray:
    """Slot of each row without scheduling: row r on thread r mod 32 of group r div 32."""
    return frozen(np.arange(rows))


# ---------------------------------------------------------------------------------------- kernels


@_compiled
def _next(state: NDArray[np.uint64]) -> float:
    """Next number in (0, 1) of a splitmix64 stream."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return (float(z >> np.uint64(11)) + 0.5) / 9007199254740992.0


@_compiled
def _start(state: NDArray[np.uint64], seed: int, row: int, tile: int) -> None:
    """Begin the stream of one row and tile."""
    state[0] = np.uint64(seed)
    for word in (row, tile):
        _next(state)
        state[0] ^= np.uint64(word) * np.uint64(0xD6E8FEB86659FD93)
    _next(state)


@_compiled
def corrupted(value: Any, kind: int, draw: float) -> Any:
    """One float32 corrupted; ``draw`` in (0, 1) chooses the exponent bit.

    ``kind`` counts in KINDS.
    """
    bits = np.float32(value).view(np.int32)
    one = np.int32(1) << np.int32(23 + int(draw * 7))
    if kind == 0:
        bits ^= one
    elif kind == 1:
        bits |= one
    elif kind == 2:
        bits &= ~one
    elif kind == 3:
        bits &= np.int32(-8192)
    else:
        bits &= np.int32(-65536)
    return np.int32(bits).view(np.float32)


@_compiled
def strike(
    sums: Floats,
    inputs: Floats,
    weights: Floats,
    p: FloatArray,
    pmax: float,
    k_tile: int,
    kind: int,
    seed: int,
) -> None:
    """Corrupt the partial sums of one layer, in place.

    Parameters
    ----------
    sums : [R, N] sums over all tiles; each struck tile's change is added.
    inputs : [N, K]; not read where the layer has one tile, whose partial sum is the sum.
    weights : [R, K].
    p : [R, tiles] probability of each row's slot, at most ``pmax``.
    kind : place in KINDS.
    seed : of the draws.
    """
    state = np.zeros(1, np.uint64)
    rows, columns = sums.shape
    depth = weights.shape[1]
    skip = math.log1p(-pmax)
    for row in range(rows):
        for tile in range(p.shape[1]):
            chance = p[row, tile] / pmax
            if chance == 0.0:
                continue
            _start(state, seed, row, tile)
            column = -1
            while True:
                column += 1 + int(math.log(_next(state)) / skip)
                if column >= columns:
                    break
                accepted, bit = _next(state) < chance, _next(state)
                if not accepted:
                    continue
                if p.shape[1] == 1:
                    sums[row, column] = corrupted(sums[row, column], kind, bit)
                    continue
                partial = np.float32(0)
                for k in range(tile * k_tile, min(depth, (tile + 1) * k_tile)):
                    partial += weights[row, k] * inputs[column, k]
                sums[row, column] += corrupted(partial, kind, bit) - partial


@_compiled
def strike_first(
    sums: Floats,
    bias: Floats,
    pooled: Floats,
    following: Floats,
    hidden: Floats,
    p: FloatArray,
    pmax: float,
    kind: int,
    seed: int,
) -> None:
    """`strike` on the convolution, and what it changes in the sums of the layer after it.

    Parameters
    ----------
    sums : [R, images, side, side] healthy partial sums (one tile); the same after the call.
    bias : [R].
    pooled : [images, R, half, half] healthy activations after the maximum; the same after it.
    following : [R*half*half, H] weights of the next layer, transposed.
    hidden : [images, H] healthy sums of the next layer; changes are added.
    p : [R] probability of each row's slot, at most ``pmax``.
    """
    state = np.zeros(1, np.uint64)
    rows, images, side, _ = sums.shape
    half = pooled.shape[2]
    columns, skip = images * side * side, math.log1p(-pmax)
    changed = np.zeros((columns if pmax > 0.2 else int(columns * pmax * 1.5) + 4096, 2), np.int64)
    kept = np.zeros((changed.shape[0], 2), np.float32)
    for row in range(rows):
        chance = p[row] / pmax
        if chance == 0.0:
            continue
        flat = sums[row].reshape(-1)
        _start(state, seed, row, 0)
        column, count = -1, 0
        while True:
            column += 1 + int(math.log(_next(state)) / skip)
            if column >= columns:
                break
            accepted, bit = _next(state) < chance, _next(state)
            if not accepted:
                continue
            changed[count, 0] = column
            kept[count, 0] = flat[column]
            flat[column] = corrupted(flat[column], kind, bit)
            count += 1
        for place in range(count):
            image, inner = divmod(changed[place, 0], side * side)
            y, x = (inner // side) // 2, (inner % side) // 2
            changed[place, 1] = -1
            if y >= half or x >= half:
                continue
            best = max(
                sums[row, image, 2 * y, 2 * x],
                sums[row, image, 2 * y, 2 * x + 1],
                sums[row, image, 2 * y + 1, 2 * x],
                sums[row, image, 2 * y + 1, 2 * x + 1],
            )
            best = max(best + bias[row], np.float32(0))
            before = pooled[image, row, y, x]
            if best == before:
                continue
            changed[place, 1], kept[place, 1] = y * half + x, before
            pooled[image, row, y, x] = best
            hidden[image] += (best - before) * following[(row * half + y) * half + x]
        for place in range(count - 1, -1, -1):
            image = changed[place, 0] // (side * side)
            flat[changed[place, 0]] = kept[place, 0]
            if changed[place, 1] >= 0:
                inner = changed[place, 1]
                pooled[image, row, inner // half, inner % half] = kept[place, 1]
