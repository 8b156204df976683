"""Feature maps as the evaluator keeps them: planes [channels, height, width, images] of bytes.

Images run fastest, so that columns, thresholds and pooling are loops over whole vectors, and a
dense layer takes the planes of a feature map as its columns without a copy. Codes are bytes, two's
complement where signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import (
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Shift,
    Thresholds,
    frozen,
)
from hascodesign.engine.kernels_planes import count_passed, gather_columns, pool_planes

Planes = NDArray[np.uint8]
INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True)
class Limits:
    """Thresholds moved onto ACC itself: passed where (ACC XOR turn) >= limit, in 32 bits."""

    turn: NDArray[np.int32]  # [R] 0, or -1 where the channel descends
    values: NDArray[np.int32]  # [R, L], those that some ACC passes first
    levels: IntArray  # [R] how many of them some ACC passes
    lowest: int  # code where none is passed


@dataclass(frozen=True, slots=True)
class Block:
    """One multiply layer with the pooling that follows it, on planes."""

    layer: MultiplyLayer
    pools: tuple[MaxPool, ...]
    in_shape: tuple[int, int, int]  # (channels, height, width) of the planes taken
    out_shape: tuple[int, int]  # (height, width) of the planes given
    taken: IntArray  # [K] K index of each row of the columns
    limits: Limits | None  # None = last layer

    def columns(self, planes: Planes) -> NDArray[np.uint8]:
        """X [K, positions * images] of planes [channels, height, width, images].

        Of some channels only, the rows of X that these channels give.
        """
        conv = self.layer.conv
        if conv is None:
            return np.ascontiguousarray(planes).reshape(-1, planes.shape[-1])
        geometry = (*conv.kernel, *conv.stride, *conv.padding)
        depth = planes.shape[0] * conv.kernel[0] * conv.kernel[1]
        columns = np.empty((depth, *conv.out_size, planes.shape[-1]), dtype=np.uint8)
        gather_columns(planes, geometry, columns)
        return columns.reshape(depth, -1)

    def counters(self, images: IntArray) -> IntArray:
        """Column counters of `columns`; the array takes them image by image."""
        positions = np.arange(self.layer.positions)[:, None]
        return (images[None, :] * self.layer.positions + positions).reshape(-1)

    def finish(self, rows: IntArray, acc: NDArray[np.int32]) -> Planes:
        """Planes [n, height, width, images] of ACC [n, positions * images] of some rows."""
        if self.limits is None:
            raise ValueError("the last layer has no codes")
        images = acc.shape[1] // self.layer.positions
        limits, conv = self.limits, self.layer.conv
        height, width = (1, 1) if conv is None else conv.out_size
        geometry = (width, 1, 1, 1, 1)
        if self.pools:
            geometry = (width, *self.pools[0].kernel, *self.pools[0].stride)
            height, width = self.pools[0].out_shape[:2]
        planes = np.empty((len(rows), height, width, images), dtype=np.uint8)
        count_passed(
            acc,
            geometry,
            limits.turn[rows],
            limits.values[rows],
            limits.levels[rows],
            limits.lowest,
            planes,
        )
        for pool in self.pools[1:]:
            shape = (len(rows), *pool.out_shape[:2], images)
            pooled = np.empty(shape, dtype=np.uint8)
            sign = 0x80 if self.layer.out_signed else 0
            pool_planes(planes, (*pool.kernel, *pool.stride), sign, pooled)
            planes = pooled
        return planes


def blocks_of(network: IntegerNetwork) -> tuple[Block, ...]:
    """The network as blocks.

    Raises
    ------
    ValueError
        Where pooling comes before the first multiply layer; the input is pooled beforehand.
    """
    height, width, channels = network.in_shape
    shape = (channels, height, width)
    blocks: list[Block] = []
    for place, stage in enumerate(network.stages):
        if isinstance(stage, MaxPool):
            if not blocks:
                height, width, channels = stage.out_shape
                shape = (channels, height, width)
            continue
        pools = leading_pools(network.stages[place + 1 :])
        size = (1, 1) if stage.conv is None else stage.conv.out_size
        if pools:
            size = (pools[-1].out_shape[0], pools[-1].out_shape[1])
        taken = _taken(stage, shape)
        blocks.append(Block(stage, pools, shape, size, taken, limits_of(stage)))
        shape = (stage.rows, *size)
    return tuple(blocks)


def leading_pools(stages: tuple[MultiplyLayer | MaxPool, ...]) -> tuple[MaxPool, ...]:
    """The pooling that comes before the next multiply layer: that of the input, or of a layer."""
    pooled = takewhile(lambda stage: not isinstance(stage, MultiplyLayer), stages)
    return tuple(stage for stage in pooled if isinstance(stage, MaxPool))


def planes_of(maps: NDArray[Any]) -> Planes:
    """Planes of codes [images, height, width, channels]."""
    return np.ascontiguousarray(np.moveaxis(maps, (3, 0), (0, 3)) & 0xFF, dtype=np.uint8)


def limits_of(layer: MultiplyLayer) -> Limits | None:
    """Thresholds of v = ACC + bias as limits of ACC; a shift becomes its thresholds.

    v <= t is ACC <= t - bias, which is ~ACC >= ~(t - bias). A limit above every 32-bit number is
    never passed and goes to the end, one below every number always is.
    """
    output = as_thresholds(layer)
    if output is None:
        return None
    values, lowest = output.values, output.lowest
    turn = np.where(output.descending, -1, 0).astype(np.int32)
    # float would lose bits of a huge sentinel; clamped first, the difference fits in 64 bits
    safe = np.clip(values, -(1 << 40), 1 << 40) - layer.bias[:, None]
    limits = safe ^ turn[:, None]
    never = limits > INT32.max
    order = np.argsort(never, axis=1, kind="stable")
    limits = np.take_along_axis(np.clip(limits, INT32.min, INT32.max), order, axis=1)
    levels = (~never).sum(axis=1)
    return Limits(turn, frozen(limits, np.int32), frozen(levels), lowest)


def as_thresholds(layer: MultiplyLayer) -> Thresholds | None:
    """The layer's output as thresholds of ACC + bias, a shift's too; None for the last layer."""
    if not isinstance(layer.output, Shift):
        return layer.output
    steps = _shift_thresholds(layer.output)
    values = np.broadcast_to(steps, (layer.rows, len(steps)))
    return Thresholds(frozen(values), frozen(np.zeros(layer.rows), np.bool_), layer.output.low)


def _shift_thresholds(output: Shift) -> IntArray:
    """Least v of each code above the lowest: half a step below it, the tie going to the even."""
    codes = np.arange(output.low + 1, output.high + 1)
    if output.shift == 0:
        return codes
    return (codes << output.shift) - (1 << (output.shift - 1)) + (codes & 1)


def _taken(layer: MultiplyLayer, shape: tuple[int, int, int]) -> IntArray:
    """K index of each row of the columns, which run (channel, y, x)."""
    channels, height, width = shape
    if layer.conv is not None:
        height, width = layer.conv.kernel
    k = np.arange(layer.depth).reshape(height, width, channels)
    return frozen(k.transpose(2, 0, 1).reshape(-1))
