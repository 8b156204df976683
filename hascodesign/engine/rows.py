"""Output channels of one block on the array, computed a share of the images at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import IntArray
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.planes import Block, Planes

CHUNK_BYTES = 8 << 20  # columns or accumulators of the images worked on at once


def compute(
    block: Block, on_array: LayerOnArray, rows: IntArray, classes: IntArray, planes: Planes
) -> NDArray[Any]:
    """Planes uint8 [n, height, width, images] of some rows; of the last layer int64 [n, images]."""
    images, layer = planes.shape[-1], block.layer
    out: NDArray[Any]
    if block.limits is None:
        out = np.empty((len(rows), images), dtype=np.int64)
    else:
        out = np.empty((len(rows), *block.out_shape, images), dtype=np.uint8)
    per_image = layer.positions * max(layer.depth, 4 * len(rows))
    chunk = max(CHUNK_BYTES // per_image, 1)
    for first in range(0, images, chunk):
        part = planes[..., first : first + chunk]
        counters = block.counters(np.arange(first, first + part.shape[-1]))
        acc = on_array.accumulate(rows, classes, block.columns(part), counters)
        if block.limits is None:
            out[:, first : first + chunk] = acc.astype(np.int64) + layer.bias[rows, None]
        else:
            out[..., first : first + chunk] = block.finish(rows, acc)
    return out
