"""Exact integer matrix products in the narrowest numbers that are exact here, by torch.

Tried in this order: 8-bit numbers with 32-bit sums, where this processor computes them without
saturation and faster than float32; float32, where every partial sum stays below 2^24; float64.
Integers below these bounds are exact in floating point whatever the order of summing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.engine.kernels import largest_row

FLOAT32_EXACT = 1 << 24
INT32_EXACT = 1 << 31
CHUNK = 1 << 20  # numbers of one operand worked on at once, in the second-level cache
LEAST_COLUMNS = 1 << 10  # columns that a product needs to be fast
_FLOAT_ONLY: ContextVar[bool] = ContextVar("float products only", default=False)


@dataclass(frozen=True)
class Weights:
    """Left operand [n, K] of 8-bit integers, and what is known of it."""

    values: NDArray[np.int8]

    @cached_property
    def float32(self) -> NDArray[np.float32]:
        """The same numbers."""
        return self.values.astype(np.float32)

    @cached_property
    def float64(self) -> NDArray[np.float64]:
        """The same numbers."""
        return self.values.astype(np.float64)

    @cached_property
    def row_sums(self) -> NDArray[np.int32]:
        """[n, 1] sum of each row."""
        return self.values.sum(axis=1, keepdims=True, dtype=np.int32)

    @cached_property
    def largest(self) -> int:
        """Largest sum of magnitudes in a row."""
        return int(largest_row(self.values))


@contextmanager
def float_only() -> Iterator[None]:
    """No 8-bit products inside, as on a processor without them; the same integers."""
    token = _FLOAT_ONLY.set(True)
    try:
        yield
    finally:
        _FLOAT_ONLY.reset(token)


def products(
    weights: Weights, codes: NDArray[np.uint8], signed: bool
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Weights @ codes piece by piece: first column, sums [n, columns] as exact integers.

    Parameters
    ----------
    weights : left operand.
    codes : [K, N] bytes, two's complement where ``signed``.
    signed : how the bytes are read.
    """
    chunk = max(CHUNK // max(codes.shape[0], 1), LEAST_COLUMNS)
    largest = 128 if signed else 255
    narrow = codes.size and not _FLOAT_ONLY.get() and int8_is_best()
    if narrow and weights.largest * 256 < INT32_EXACT:
        multiply = _int8
    else:
        if weights.largest * largest >= FLOAT32_EXACT:
            largest = _magnitude(codes, signed)
        exact = weights.largest * largest < FLOAT32_EXACT and _float32_is_whole()
        multiply = _float32 if exact else _float64
    for first in range(0, codes.shape[1], chunk):
        yield first, multiply(weights, codes[:, first : first + chunk], signed)


def _int8(weights: Weights, codes: NDArray[np.uint8], signed: bool) -> NDArray[Any]:
    import torch  # noqa: PLC0415  (takes seconds to import; the rest of the engine needs none)

    right = np.ascontiguousarray(codes)
    offset = not signed and bool((right & 0x80).any())
    if offset:
        right = right ^ np.uint8(0x80)  # the byte of x - 128
    sums = torch._int_mm(torch.from_numpy(weights.values), torch.from_numpy(right.view(np.int8)))
    result: NDArray[np.int32] = sums.numpy()
    if offset:
        result += weights.row_sums * 128
    return result


def _float32(weights: Weights, codes: NDArray[np.uint8], signed: bool) -> NDArray[Any]:
    return _by_torch(weights.float32, codes, signed)


def _float64(weights: Weights, codes: NDArray[np.uint8], signed: bool) -> NDArray[Any]:
    return _by_torch(weights.float64, codes, signed)


def _by_torch(left: NDArray[Any], codes: NDArray[np.uint8], signed: bool) -> NDArray[Any]:
    """Product in the left operand's numbers.

    torch rather than numpy, whose BLAS keeps threads of its own spinning on the cores that the
    kernels want next.
    """
    import torch  # noqa: PLC0415

    first = torch.from_numpy(left)
    right = np.ascontiguousarray(codes.view(np.int8) if signed else codes)
    sums = first @ torch.from_numpy(right).to(first.dtype)
    return sums.numpy()


def _float32_is_whole() -> bool:
    """Whether torch multiplies float32 as such; a program may have let it take fewer bits."""
    import torch  # noqa: PLC0415

    return torch.get_float32_matmul_precision() == "highest"


def _magnitude(codes: NDArray[np.uint8], signed: bool) -> int:
    numbers = codes.view(np.int8) if signed else codes
    return max(-int(numbers.min(initial=0)), int(numbers.max(initial=0)))


@cache
def int8_is_exact() -> bool:
    """Whether torch's 8-bit product is there and exact on this processor.

    Processors without 8-bit dot products add pairs in 16 bits, which saturates: numbers at the
    ends of the range show it.
    """
    try:
        import torch  # noqa: PLC0415

        product = torch._int_mm
    except (ImportError, AttributeError):
        return False
    rng = np.random.default_rng(0)
    for rows, depth, columns in ((1, 1, 1), (3, 64, 5), (17, 131, 33), (64, 1024, 256)):
        for low in (-128, 127):
            left = rng.choice(np.array([-128, 127], dtype=np.int8), (rows, depth))
            right = np.full((depth, columns), low, dtype=np.int8)
            exact = left.astype(np.int64) @ right.astype(np.int64)
            try:
                got = product(torch.from_numpy(left), torch.from_numpy(right)).numpy()
            except RuntimeError:  # torch built without it
                return False
            if not np.array_equal(got, exact):
                return False
    return True


@cache
def int8_is_best() -> bool:
    """Whether torch's 8-bit product is exact here, and faster than the float32 product."""
    if not int8_is_exact():
        return False
    weights = Weights(np.ones((64, 1024), dtype=np.int8))
    codes = np.ones((1024, 1024), dtype=np.uint8)
    return _seconds(_int8, weights, codes) < _seconds(_float32, weights, codes)


def _seconds(multiply: Any, weights: Weights, codes: NDArray[np.uint8]) -> float:
    """Time of the best of some runs: other work on the machine only ever adds."""
    best = np.inf
    for _ in range(7):
        start = time.perf_counter()
        multiply(weights, codes, False)
        best = min(best, time.perf_counter() - start)
    return float(best)
