"""numba kernels on planes [channels, height, width, images]: columns, thresholds, pooling."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hascodesign.engine.kernels import compiled


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
def _window_maximum(
    acc: Any, row: int, first: int, width: int, kernel: Any, turn: Any, best: Any
) -> None:
    """Greatest (acc XOR turn) over a window whose corner starts at column ``first``."""
    count = best.size
    images, height_k, width_k = kernel
    for i in range(count):
        best[i] = np.int32(acc[row, first + i] ^ turn)
    for ky in range(height_k):
        for kx in range(width_k):
            if ky == 0 and kx == 0:
                continue
            at = first + (ky * width + kx) * images
            for i in range(count):
                best[i] = max(best[i], np.int32(acc[row, at + i] ^ turn))


@compiled()
def _count_narrow(best: Any, limits: Any, row: int, levels: int, passed: Any) -> None:
    """Count where 16 bits hold every limit; sums beyond them are clamped, which passes the same."""
    sums = np.empty(best.size, dtype=np.int16)
    for i in range(best.size):
        v = best[i]
        sums[i] = np.int16(min(max(v, np.int32(-(1 << 15))), np.int32((1 << 15) - 1)))
    for level in range(levels):
        limit = np.int16(limits[row, level])
        for i in range(sums.size):
            passed[i] += np.int16(1) if sums[i] >= limit else np.int16(0)


@compiled()
def _count_wide(best: Any, limits: Any, row: int, levels: int, passed: Any) -> None:
    for level in range(levels):
        limit = limits[row, level]
        for i in range(best.size):
            passed[i] += np.int16(1) if best[i] >= limit else np.int16(0)


@compiled(parallel=True)
def count_passed(
    acc: NDArray[np.int32],
    geometry: Any,
    turn: NDArray[np.int32],
    limits: NDArray[np.int32],
    levels: NDArray[np.int64],
    lowest: int,
    codes: NDArray[np.uint8],
) -> None:
    """Codes [n, height, width, images] = lowest + number of limits passed, in 8 bits, pooled.

    Thresholds are monotone in (acc XOR turn), so the maximum of the codes in a window is the code
    of the maximum. ``geometry`` is the width of ACC's map, then kernel and stride (y, x) of the
    pooling, all 1 where there is none.
    """
    map_width, kernel_y, kernel_x, stride_y, stride_x = geometry
    rows, height, width, images = codes.shape
    for block in numba.prange(rows * height):
        row, y = block // height, block % height
        least, most = np.int32(0), np.int32(0)
        for level in range(levels[row]):
            least, most = min(least, limits[row, level]), max(most, limits[row, level])
        narrow = least > -(1 << 15) and most < (1 << 15)
        best = np.empty(images, dtype=np.int32)
        passed = np.empty(images, dtype=np.int16)
        for x in range(width):
            first = (y * stride_y * map_width + x * stride_x) * images
            window = (images, kernel_y, kernel_x)
            _window_maximum(acc, row, first, map_width, window, turn[row], best)
            for i in range(images):
                passed[i] = np.int16(lowest)
            if narrow:
                _count_narrow(best, limits, row, levels[row], passed)
            else:
                _count_wide(best, limits, row, levels[row], passed)
            for i in range(images):
                codes[row, y, x, i] = np.uint8(passed[i])


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
