"""Output channels of one block on torch tensors of a device: the same integers as ``rows``.

Planes come and go as bytes; columns, products, walks, thresholds and pooling stay on the device.
Nothing here asks which device it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hascodesign.contract.array import row_preloads
from hascodesign.contract.errors import ConfigError
from hascodesign.contract.types import Conv, IntArray
from hascodesign.engine.device_walk import walk, wrap
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.matrix import FLOAT32_EXACT, Weights
from hascodesign.engine.planes import Block, Limits, Planes

CHUNK_BYTES = 256 << 20  # columns or accumulators of the images worked on at once


def check_device(name: str) -> str:
    """The device's name, where torch can compute on it.

    Raises
    ------
    ConfigError
        ``cuda`` where torch finds no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"--device cuda needs a GPU that torch can use; torch {torch.__version__} finds none"
        )
    return name


def compute(
    block: Block,
    on_array: LayerOnArray,
    rows: IntArray,
    classes: IntArray,
    planes: Planes,
    device: str,
) -> NDArray[Any]:
    """Planes uint8 [n, height, width, images] of some rows; of the last layer int64 [n, images]."""
    images, layer = planes.shape[-1], block.layer
    per_image = layer.positions * max(layer.depth, 4 * len(rows))
    chunk = max(CHUNK_BYTES // per_image, 1)
    found = []
    for first in range(0, images, chunk):
        part = torch.from_numpy(planes[..., first : first + chunk]).to(device)
        counters = block.counters(np.arange(first, first + part.shape[-1]))
        columns = columns_of(block, part)
        acc = accumulate(on_array, rows, classes, columns, counters)
        if block.limits is None:
            bias = torch.from_numpy(layer.bias[rows, None].copy()).to(device)
            found.append((acc.long() + bias).cpu().numpy())
        else:
            found.append(finish(block, block.limits, rows, acc).cpu().numpy())
    return np.concatenate(found, axis=-1)


def columns_of(block: Block, planes: Tensor) -> Tensor:
    """X [K, positions * images] of planes [channels, height, width, images]."""
    conv = block.layer.conv
    if conv is None:
        return planes.reshape(-1, planes.shape[-1])
    windows = _windows(_padded(planes, conv), conv.kernel, conv.stride)
    return windows.permute(0, 4, 5, 1, 2, 3).reshape(block.layer.depth, -1)


def _padded(planes: Tensor, conv: Conv) -> Tensor:
    down, right = conv.padding
    return torch.nn.functional.pad(planes, (0, 0, right, right, down, down))


def _windows(planes: Tensor, kernel: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """[channels, y, x, images, ky, kx]."""
    tall: Tensor = planes.unfold(1, kernel[0], stride[0])
    wide: Tensor = tall.unfold(2, kernel[1], stride[1])
    return wide


def accumulate(
    on_array: LayerOnArray, rows: IntArray, classes: IntArray, columns: Tensor, counters: IntArray
) -> Tensor:
    """ACC int32 [n, N], as ``LayerOnArray.accumulate``."""
    signed, bits = on_array.layer.in_signed, on_array.spec.acc_bits
    codes = columns.view(torch.int8) if signed else columns
    total = torch.zeros((len(rows), codes.shape[1]), dtype=torch.int64, device=codes.device)
    plain = np.flatnonzero(on_array.plain(classes))
    if len(plain):
        weights = on_array.folded(rows[plain], classes[plain])
        total[torch.from_numpy(plain).to(codes.device)] = _product(weights, codes)
    starts = np.where(on_array.unwalked(classes), row_preloads(on_array.layer)[rows], 0)
    total += torch.from_numpy(starts).to(codes.device)[:, None]
    drawn = torch.from_numpy(counters).to(codes.device)
    for one in on_array.walks(rows, classes, counters):
        sources = torch.from_numpy(on_array.sources[:, list(one.walked)]).to(codes.device)
        fed = columns[sources.clamp(min=0)] * (sources >= 0).to(torch.uint8)[..., None]
        total[torch.from_numpy(one.places).to(codes.device)] += walk(fed, one, drawn)
    return wrap(total, bits).int()


def _product(weights: Weights, codes: Tensor) -> Tensor:
    """Exact sums: integers below 2^24 in float32, below 2^53 in float64, in any order."""
    whole = torch.get_float32_matmul_precision() == "highest"
    narrow = whole and weights.largest * 255 < FLOAT32_EXACT
    kind = torch.float32 if narrow else torch.float64
    left = torch.from_numpy(weights.values).to(codes.device, kind)
    return (left @ codes.to(kind)).long()


def finish(block: Block, limits: Limits, rows: IntArray, acc: Tensor) -> Tensor:
    """Planes uint8 [n, height, width, images] of ACC, as ``Block.finish``."""
    conv, device = block.layer.conv, acc.device
    height, width = (1, 1) if conv is None else conv.out_size
    turn = torch.from_numpy(limits.turn[rows]).to(device)
    sums = (acc ^ turn[:, None]).reshape(len(rows), height, width, -1)
    if block.pools:
        sums = _windows(sums, block.pools[0].kernel, block.pools[0].stride).amax(dim=(4, 5))
    values = torch.from_numpy(limits.values[rows]).to(device)
    levels = torch.from_numpy(limits.levels[rows]).to(device)
    passed = torch.full_like(sums, limits.lowest, dtype=torch.int16)
    for level in range(values.shape[1]):
        limit = values[:, level, None, None, None]
        passed += (sums >= limit) & (levels > level)[:, None, None, None]
    codes = (passed & 0xFF).to(torch.uint8)
    sign = 0x80 if block.layer.out_signed else 0
    for pool in block.pools[1:]:
        codes = _windows(codes ^ sign, pool.kernel, pool.stride).amax(dim=(4, 5)) ^ sign
    return codes
