"""Words and codes of the vectors that tell the faults of an array's logic apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hascodesign.contract.types import ArraySpec, Dataflow, IntArray

ZEROS = 4  # vectors of one step that are 0 throughout: one at least is to meet clean words
#: Vectors that drive all multipliers, any words and codes: steps, unsigned, signed.
MIXED: Mapping[Dataflow, Sequence[tuple[int, int, int]]] = {
    "os": ((1, 67, 33), (2, 27, 13), (4, 27, 13)),
    "ws": ((1, 67, 33), (2, 14, 7), (4, 14, 7)),
}
LARGE = (276, 138)  # of one step that take the sums of `ws` far: unsigned, signed


def of_group(
    array: ArraySpec, rng: np.random.Generator, steps: int, signed: bool
) -> tuple[IntArray, IntArray]:
    """[V, T, S] words and codes of all vectors of so many steps, signed or not.

    First those that are 0 throughout, then each multiplier alone, then several together.
    """
    nothing = np.zeros((zeros(steps, signed), steps, array.simd), dtype=np.int64)
    parts = [(nothing, nothing)]
    if steps == 1:
        parts.append(each_lane(array, np.array(alone(array, signed))))
    counts = {of: each for of, *each in MIXED[array.dataflow]}
    if steps in counts:
        parts.append(_mixed(array, rng, (counts[steps][signed], steps, array.simd), signed))
    if steps == 1 and array.dataflow == "ws":
        parts.append(_large(array, rng, LARGE[signed], signed))
    words, codes = (np.concatenate(part) for part in zip(*parts, strict=True))
    return words, codes


def _mixed(
    array: ArraySpec, rng: np.random.Generator, shape: tuple[int, int, int], signed: bool
) -> tuple[IntArray, IntArray]:
    """Any words and codes [V, T, S] at the multipliers that a vector drives."""
    driven = _driven(array, shape[0])
    return driven * _any_words(array, rng, shape), driven * _any_codes(array, rng, shape, signed)


def zeros(steps: int, signed: bool) -> int:
    """Vectors that are 0 throughout, at the start of their group."""
    return ZEROS if steps == 1 else int(not signed)


def alone(array: ArraySpec, signed: bool) -> list[tuple[int, int]]:
    """Word and code of each vector that drives one multiplier alone."""
    low, high = -1 << (array.weight_bits - 1), (1 << (array.weight_bits - 1)) - 1
    bits = array.act_bits
    if signed:
        full = 1 << bits
        codes = {-1, -full >> 1, full // 3 * 2 - full if bits > 1 else -1}  # 1010..10
        words = {low, -1, min(1, high), high}
    else:
        codes = {0, (1 << bits) - 1, (1 << bits) // 3, ((1 << bits) - 1) // 3 * 2}
        codes |= {1 << bit for bit in range(bits)}
        words = {0, low, -1, high} | {1 << bit for bit in range(array.weight_bits - 1)}
    pairs = [(w, a) for w in sorted(words) for a in sorted(codes) if (w, a) != (0, 0)]
    if array.dataflow == "os":
        return pairs
    single = set() if signed else {1 << bit for bit in range(bits)}
    return [(w, a) for w, a in pairs if w and a and (w in {low, 1, high} or a not in single)]


def each_lane(array: ArraySpec, pairs: IntArray) -> tuple[IntArray, IntArray]:
    """The pairs at each multiplier in turn, 0 at all others: [S*n, 1, S] words and codes."""
    words = np.zeros((array.simd, len(pairs), array.simd), dtype=np.int64)
    codes = np.zeros_like(words)
    lanes = np.arange(array.simd)
    words[lanes, :, lanes] = pairs[:, 0]
    codes[lanes, :, lanes] = pairs[:, 1]
    return words.reshape(-1, 1, array.simd), codes.reshape(-1, 1, array.simd)


def _any_words(array: ArraySpec, rng: np.random.Generator, shape: tuple[int, ...]) -> IntArray:
    half = 1 << (array.weight_bits - 1)
    return rng.integers(-half, half, shape)


def _any_codes(
    array: ArraySpec, rng: np.random.Generator, shape: tuple[int, ...], signed: bool
) -> IntArray:
    """Any codes in every other vector, powers of two in the rest."""
    codes = rng.integers(0, 1 << array.act_bits, shape)
    powers = 1 << rng.integers(0, array.act_bits, shape)
    codes[1::2] = powers[1::2]
    half = 1 << (array.act_bits - 1)
    return (codes ^ half) - half if signed else codes


def _driven(array: ArraySpec, count: int) -> IntArray:
    """[count, 1, S] 1 where a vector drives a multiplier together with others, else 0.

    In `os` that is all of them. In `ws` the second half of the vectors leaves the first ones of
    the chain at 0, as many as it comes to in turn: what the others do shows without those.
    """
    first = np.zeros(count, dtype=np.int64)
    if array.dataflow == "ws" and array.simd > 1:
        half = count // 2
        first[half:] = array.simd - 1 - np.arange(count - half) % (array.simd - 1)
    return np.asarray(np.arange(array.simd) >= first[:, None], dtype=np.int64)[:, None]


def _large(
    array: ArraySpec, rng: np.random.Generator, count: int, signed: bool
) -> tuple[IntArray, IntArray]:
    """[count, 1, S] words and codes that take the sums far up and down the chain.

    In turn: products near the greatest and the least one that change sign once, and such of any
    signs; and twice products by which every sum is on another side than the one before of 0 or of
    a power of two, where they reach it. The first multipliers are left at 0, as many as it comes
    to in turn.
    """
    reach = max(2, 1 << (array.weight_bits - 1 + array.act_bits - signed))
    rows = np.arange(count)
    kind, first = rows % 4, rows // 4 % array.simd
    turn, up = rng.integers(first, array.simd), rng.choice((-1, 1), count)
    powers = [side << (reach.bit_length() + more) for side in (-1, 1) for more in (-1, 0, 1)]
    level = rng.integers(0, 2, count) * rng.choice(powers, count)
    sums, words, codes = np.zeros(count, dtype=np.int64), [], []
    for lane in range(array.simd):
        far = reach * rng.integers(8, 17, count) // 16
        near = level + up * (-1) ** lane * rng.integers(1, 1 + reach // 2, count) - sums
        wanted = np.choose(
            kind,
            [np.where(lane < turn, up, -up) * far, rng.choice((-1, 1), count) * far, near, near],
        )
        made = _product(array, rng, np.where(lane < first, 0, wanted), signed)
        words.append(made[0])
        codes.append(made[1])
        sums += made[0] * made[1]
    return np.stack(words, axis=-1)[:, None], np.stack(codes, axis=-1)[:, None]


def _product(
    array: ArraySpec, rng: np.random.Generator, wanted: IntArray, signed: bool
) -> tuple[IntArray, IntArray]:
    """Words [n] of the greatest size and codes [n] whose products are near ``wanted`` [n]."""
    negative = wanted < 0
    below = (rng.integers(0, 2, wanted.shape) > 0) & signed
    half, most = 1 << (array.weight_bits - 1), (1 << (array.act_bits - signed)) - 1
    words = np.where(negative ^ below, -half, half - 1)
    codes = (np.abs(wanted) // np.maximum(np.abs(words), 1)).clip(0, most + below)
    return np.where(wanted == 0, 0, words), np.where(below, -codes, codes)
