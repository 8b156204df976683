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
        last = min(first + SPAN, columns)
        flip, start = turn[row], np.uint8(lowest & 0xFF)
        for i in range(first, last):
            codes[row, i] = start
        for level in range(levels[row]):
            limit = limits[row, level]
            for i in range(first, last):
                codes[row, i] += np.uint8(np.int32(acc[row, i] ^ flip) >= limit)


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
