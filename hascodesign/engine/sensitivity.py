"""What one row costs where it alone meets a class of faults, all else healthy.

Only the changed channel moves the next layer's accumulators, by a product with its few columns;
what follows runs on several changed rows at once, as if they were more images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.kernels_planes import exchange
from hascodesign.engine.layer import Accumulators, LayerOnArray
from hascodesign.engine.loss import cross_entropy
from hascodesign.engine.matrix import Weights, products
from hascodesign.engine.planes import Block, Planes
from hascodesign.engine.rows import compute

BATCH_BYTES = 16 << 20  # accumulators of the changed rows that are judged at once


@dataclass(frozen=True, slots=True)
class Healthy:
    """The network without faults on the images that costs are taken on."""

    blocks: tuple[Block, ...]
    on_arrays: tuple[LayerOnArray, ...]  # any passes; only their healthy class is used
    planes: tuple[Planes, ...]  # input of each block
    logits: IntArray  # [n, classes]
    labels: IntArray  # [n]
    scale: float  # logit as a real number = scale * logit
    sharpness: float  # what the logits are multiplied by in the loss

    def losses(self, logits: IntArray, variants: int) -> FloatArray:
        """Mean loss of each variant, from logits [variants * n, classes]."""
        labels = np.tile(self.labels, variants)
        losses = cross_entropy(logits, labels, self.scale, self.sharpness)
        return np.asarray(losses.reshape(variants, -1).mean(axis=1))


def row_costs(healthy: Healthy, index: int, on_array: LayerOnArray) -> FloatArray:
    """Loss increase [R, classes] of each row on each class of ``on_array``'s slots, nats.

    Parameters
    ----------
    healthy : the network without faults.
    index : the layer.
    on_array : the layer on the faulty array; its classes are the columns of the result.
    """
    block, rows = healthy.blocks[index], np.arange(healthy.blocks[index].layer.rows)
    costs = np.zeros((len(rows), len(on_array.classes)))
    base = float(healthy.losses(healthy.logits, 1)[0])
    last = index == len(healthy.blocks) - 1
    above = np.empty(0, dtype=np.int32)
    if not last:
        above = _accumulate(healthy, index + 1, healthy.planes[index + 1])
    for number in range(HEALTHY + 1, len(on_array.classes)):
        kinds = np.full(len(rows), number)
        values = compute(block, on_array, rows, kinds, healthy.planes[index])
        if last:
            costs[:, number] = [_of_logit(healthy, r, values[r]) - base for r in rows.tolist()]
            continue
        usual = healthy.planes[index + 1]
        changed = [r for r in rows.tolist() if not np.array_equal(values[r], usual[r])]
        for batch in _batches(healthy, index + 1, changed):
            acc = _changed(healthy, index + 1, above, batch, values[batch])
            logits = _logits(healthy, index + 1, acc)
            costs[batch, number] = healthy.losses(logits, len(batch)) - base
    return costs


def _of_logit(healthy: Healthy, row: int, values: IntArray) -> float:
    logits = healthy.logits.copy()
    logits[:, row] = values
    return float(healthy.losses(logits, 1)[0])


def _batches(healthy: Healthy, index: int, rows: Sequence[int]) -> list[list[int]]:
    """Rows in groups whose accumulators in the next layer stay within bounds."""
    layer = healthy.blocks[index].layer
    each = 4 * layer.rows * layer.positions * len(healthy.labels)
    size = max(BATCH_BYTES // each, 1)
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]


def _changed(
    healthy: Healthy, index: int, usual: Accumulators, channels: list[int], values: Planes
) -> Accumulators:
    """ACC [R, positions * channels * images] of a block with one channel changed at a time.

    The columns of one channel are K / channels consecutive rows, so the channel's old share of the
    accumulators is taken out and its new one put in, all modulo 2^CB.
    """
    block, rows, images = healthy.blocks[index], len(usual), len(healthy.labels)
    out = np.empty((rows, block.layer.positions, len(channels), images), dtype=np.int32)
    bits = healthy.on_arrays[index].spec.acc_bits
    for place, channel in enumerate(channels):
        new = _share(healthy, index, channel, values[place : place + 1])
        old = _share(healthy, index, channel, healthy.planes[index][channel : channel + 1])
        exchange(usual, old, new, bits, place, out)
    return out.reshape(rows, -1)


def _share(healthy: Healthy, index: int, channel: int, plane: Planes) -> Accumulators:
    """What one input channel [1, height, width, images] adds to ACC [R, N]; below 2^31."""
    block, whole = healthy.blocks[index], healthy.on_arrays[index].weights
    each = block.layer.depth // block.in_shape[0]
    weights = np.ascontiguousarray(whole.values[:, channel * each : (channel + 1) * each])
    columns = block.columns(plane)
    out = np.empty((block.layer.rows, columns.shape[1]), dtype=np.int32)
    for first, sums in products(Weights(weights), columns, block.layer.in_signed):
        out[:, first : first + sums.shape[1]] = sums
    return out


def _logits(healthy: Healthy, index: int, acc: Accumulators) -> IntArray:
    """Logits [images, classes] of the healthy network from the accumulators of one block."""
    block = healthy.blocks[index]
    if block.limits is None:
        return np.asarray((acc.astype(np.int64) + block.layer.bias[:, None]).T)
    planes = block.finish(np.arange(block.layer.rows), acc)
    return _logits(healthy, index + 1, _accumulate(healthy, index + 1, planes))


def _accumulate(healthy: Healthy, index: int, planes: Planes) -> Accumulators:
    block, on_array = healthy.blocks[index], healthy.on_arrays[index]
    columns = block.columns(planes)
    rows, counters = np.arange(block.layer.rows), np.arange(columns.shape[1])
    return on_array.accumulate(rows, np.full_like(rows, HEALTHY), columns, counters)
