"""numba kernels on planes [channels, height, width, images]: columns, thresholds, pooling."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hascodesign.engine.kernels import compiled

SPAN = 1024  # accumulators of one row that stay in the first-level cache over all its limits


@compiled(parallel=True)
def gather_columns(planes: NDArray[np.uint8], geometry: Any, columns: NDArray[np.uint8]) -> None:
    """Fill columns [(channel, ky, kx), y, x, images]; geometry = kernel, stride, padding (y, x)."""
    kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x = geometry
    height, width, images = planes.shape[1:]
    for k in numba.prange(columns.shape[0]):
        channel, rest = k // (kernel_y * kernel_x), k % (kernel_y * kernel_x)
        ky, kx = rest // kernel_x, rest % kernel_x
        for y in range(columns.shape[1]):
            for x in range(columns.shape[2]):
                from_y, from_x = y * stride_y + ky - pad_y, x * stride_x + kx - pad_x
                if 0 <= from_y < height and 0 <= from_x < width:
                    for i in range(images):
                        columns[k, y, x, i] = planes[channel, from_y, from_x, i]
                else:
                    for i in range(images):
                        columns[k, y, x, i] = 0


@compiled()
def _count_narrow(
    acc: Any, row: int, first: int, turn: Any, limits: Any, levels: int, passed: Any
) -> None:
    """Count where 16 bits hold every limit; sums beyond them are clamped, which passes the same."""
    count = min(SPAN, acc.shape[1] - first)
    sums = np.zeros(SPAN, dtype=np.int16)
    for i in range(count):
        v = np.int32(acc[row, first + i] ^ turn)
        sums[i] = np.int16(min(max(v, np.int32(-(1 << 15))), np.int32((1 << 15) - 1)))
    for level in range(levels):
        limit = np.int16(limits[row, level])
        for i in range(SPAN):
            passed[i] += np.int16(1) if sums[i] >= limit else np.int16(0)


@compiled()
def _count_wide(
    acc: Any, row: int, first: int, turn: Any, limits: Any, levels: int, passed: Any
) -> None:
    count = min(SPAN, acc.shape[1] - first)
    sums = np.zeros(SPAN, dtype=np.int32)
    for i in range(count):
        sums[i] = np.int32(acc[row, first + i] ^ turn)
    for level in range(levels):
        limit = limits[row, level]
        for i in range(SPAN):
            passed[i] += np.int16(1) if sums[i] >= limit else np.int16(0)


@compiled(parallel=True)
def count_passed(
    acc: NDArray[np.int32],
    turn: NDArray[np.int32],
    limits: NDArray[np.int32],
    levels: NDArray[np.int64],
    lowest: int,
    codes: NDArray[np.uint8],
) -> None:
    """Codes [n, N] = lowest + number of limits that (acc XOR turn) reaches, in 8 bits."""
    rows, columns = acc.shape
    spans = (columns + SPAN - 1) // SPAN
    for block in numba.prange(rows * spans):
        row, first = block // spans, (block % spans) * SPAN
        count = min(SPAN, columns - first)
        passed = np.empty(SPAN, dtype=np.int16)
        for i in range(SPAN):
            passed[i] = np.int16(lowest)
        least, most = np.int32(0), np.int32(0)
        for level in range(levels[row]):
            least, most = min(least, limits[row, level]), max(most, limits[row, level])
        if least > -(1 << 15) and most < (1 << 15):
            _count_narrow(acc, row, first, turn[row], limits, levels[row], passed)
        else:
            _count_wide(acc, row, first, turn[row], limits, levels[row], passed)
        for i in range(count):
            codes[row, first + i] = np.uint8(passed[i])


@compiled(parallel=True)
def pool_planes(
    planes: NDArray[np.uint8], geometry: Any, sign: int, pooled: NDArray[np.uint8]
) -> None:
    """Maximum over windows; geometry = kernel, stride (y, x); sign = 0x80 for signed codes."""
    kernel_y, kernel_x, stride_y, stride_x = geometry
    flip = np.uint8(sign)
    for channel in numba.prange(pooled.shape[0]):
        for y in range(pooled.shape[1]):
            for x in range(pooled.shape[2]):
                for i in range(pooled.shape[3]):
                    pooled[channel, y, x, i] = 0
                for ky in range(kernel_y):
                    for kx in range(kernel_x):
                        from_y, from_x = y * stride_y + ky, x * stride_x + kx
                        for i in range(pooled.shape[3]):
                            code = np.uint8(planes[channel, from_y, from_x, i] ^ flip)
                            pooled[channel, y, x, i] = max(pooled[channel, y, x, i], code)
                for i in range(pooled.shape[3]):
                    pooled[channel, y, x, i] ^= flip


@compiled(parallel=True)
def exchange(
    usual: NDArray[np.int32],
    old: NDArray[np.int32],
    new: NDArray[np.int32],
    bits: int,
    place: int,
    out: NDArray[np.int32],
) -> None:
    """Put usual - old + new [R, positions * images] modulo 2^bits into out[:, :, place, :]."""
    positions, images = out.shape[1], out.shape[3]
    up = np.int64(64 - bits)
    for row in numba.prange(usual.shape[0]):
        for position in range(positions):
            first = position * images
            for i in range(images):
                total = np.int64(usual[row, first + i]) - old[row, first + i] + new[row, first + i]
                out[row, position, place, i] = np.int32((total << up) >> up)
