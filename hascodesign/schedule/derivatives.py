"""One run of the network under a schedule, and how its logits follow from every layer's codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign import ops
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.slots import pe_faults
from hascodesign.schedule.space import HEALTHY, Space
from hascodesign.types import (
    FaultProfile,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Shift,
)

Real = NDArray[np.float32]  # derivatives: an estimate needs no more


@dataclass(frozen=True, slots=True)
class Step:
    """One multiply layer of a run, and the pooling that follows it."""

    layer: MultiplyLayer
    on_array: LayerOnArray
    activations: NDArray[np.uint8]  # X [K, N], two's complement where signed
    sums: IntArray  # ACC + bias [R, N]
    codes: NDArray[Any]  # [R, N]; of the last layer the sums
    pools: tuple[MaxPool, ...]

    def codes_on(self, place: tuple[int, int]) -> NDArray[Any]:
        """Codes [R, N] of the layer if every row stood on the slot (pass, PE) of ``place``."""
        return self.codes_of_class(int(self.on_array.slot_classes[place]))

    def healthy_codes(self) -> NDArray[Any]:
        """Codes [R, N] of the layer if every row stood on a healthy slot."""
        return self.codes_of_class(HEALTHY)

    def pooled(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Map [n, height, width, R] that the next layer takes, of codes [R, N]."""
        maps = ops.maps_of(self.layer, codes)
        for pool in self.pools:
            maps = ops.max_pool(pool, maps)
        return maps

    def codes_of_class(self, kind: int) -> NDArray[Any]:
        """Codes [R, N] of the layer if every row stood on slots of one of the engine's classes."""
        rows, kinds = np.arange(self.layer.rows), np.full(self.layer.rows, kind)
        acc = self.on_array.accumulate(rows, kinds, self.activations, _counters(self.activations))
        return self._codes(acc)

    def _codes(self, acc: NDArray[Any]) -> NDArray[Any]:
        sums = acc.astype(np.int64) + self.layer.bias[:, None]
        output = self.layer.output
        return sums if output is None else ops.output_codes(output, sums)


def _counters(x: NDArray[Any]) -> IntArray:
    return np.arange(x.shape[1])


def run(
    network: IntegerNetwork,
    profile: FaultProfile,
    space: Space,
    codes: IntArray,
    chromosome: IntArray | None,
    last: int | None = None,
) -> list[Step]:
    """Every layer of the network under a chromosome's schedule, or healthy where that is None.

    With ``last`` the walk ends after the layer of that number.
    """
    faults = pe_faults(profile)
    steps: list[Step] = []
    base = 0
    on_arrays = []
    for layer, slots in zip(network.layers, space.layers, strict=True):
        on_arrays.append(
            LayerOnArray(
                profile, faults, layer, passes=slots.passes, base=base, layer_index=layer.index
            )
        )
        base += slots.passes * slots.steps

    def accumulate(layer: MultiplyLayer, x: NDArray[Any]) -> IntArray:
        on_array, slots = on_arrays[layer.index], space.layers[layer.index]
        kinds = np.full(layer.rows, HEALTHY)
        if chromosome is not None:
            genes = slots.genes(chromosome)
            used = np.flatnonzero(genes < layer.rows)
            kinds[genes[used]] = on_array.slot_classes.reshape(-1)[used]
        acc = on_array.accumulate(np.arange(layer.rows), kinds, _bytes(x), _counters(x))
        return acc.astype(np.int64)

    stages = list(network.stages)
    for trace in ops.walk(network, codes, accumulate):
        place = stages.index(trace.layer) + 1
        pools = []
        while place < len(stages) and isinstance(pool := stages[place], MaxPool):
            pools.append(pool)
            place += 1
        sums = trace.acc + trace.layer.bias[:, None]
        on_array = on_arrays[trace.layer.index]
        steps.append(
            Step(trace.layer, on_array, _bytes(trace.activations), sums, trace.codes, tuple(pools))
        )
        if trace.layer.index == last:
            break
    return steps


def _bytes(x: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.asarray(x, dtype=np.int64) & 0xFF, dtype=np.uint8)


def backward(steps: Sequence[Step], logit: int, images: int) -> Iterator[tuple[Step, Real]]:
    """Derivative of one logit by each layer's codes, [R, N], the last layer first.

    Thresholds count as their mean slope; the last layer's codes are the logits themselves.
    """
    last = steps[-1]
    by_codes: Real = np.zeros(last.sums.shape, dtype=np.float32)
    by_codes[logit] = 1.0
    yield last, by_codes
    below = by_codes
    for above, step in zip(steps[:0:-1], steps[-2::-1], strict=True):
        by_input = above.layer.weights.T.astype(np.float32) @ below
        by_map = _by_map(above.layer, by_input, step, images)
        by_codes = _unpool(step, by_map)
        yield step, by_codes
        below = by_sums(step, by_codes)


def by_sums(step: Step, by_codes: Real) -> Real:
    """Derivative by a layer's sums, [R, N], from that by its codes."""
    return by_codes * _slope(step)


def _slope(step: Step) -> Real:
    """Mean derivative of the codes by ACC + bias within the range that moves them, [R, N]."""
    output, sums = step.layer.output, step.sums
    if output is None:
        return np.ones(sums.shape, dtype=np.float32)
    if isinstance(output, Shift):
        inside = (sums >= output.low << output.shift) & (sums <= output.high << output.shift)
        return np.asarray(2.0**-output.shift * inside, dtype=np.float32)
    low, high = _ends(output.values)
    levels = output.values.shape[1]
    # half a step beyond the outermost thresholds still moves a code now and then
    margin = (high - low) / max(2 * (levels - 1), 1) + 1.0
    sign = np.where(output.descending, -1.0, 1.0)[:, None]
    inside = (sums >= low - margin) & (sums <= high + margin)
    return np.asarray(sign * levels / (high - low + 2.0 * margin) * inside, dtype=np.float32)


def _ends(values: IntArray) -> tuple[FloatArray, FloatArray]:
    """Least and greatest threshold of each row, [R, 1]."""
    real = values.astype(np.float64)
    return real.min(axis=1, keepdims=True), real.max(axis=1, keepdims=True)


def _by_map(layer: MultiplyLayer, columns: Real, below: Step, images: int) -> Real:
    """Derivative by the layer's input map [n, height, width, channels] from that by X [K, N]."""
    if layer.conv is None:
        return np.ascontiguousarray(columns.T).reshape(images, *_out_shape(below))
    conv = layer.conv
    (h, w, c), (py, px), (sy, sx) = conv.in_shape, conv.padding, conv.stride
    (ky, kx), (oy, ox) = conv.kernel, conv.out_size
    padded = np.zeros((images, h + 2 * py, w + 2 * px, c), dtype=np.float32)
    parts = columns.reshape(ky, kx, c, images, oy, ox)
    for y in range(ky):
        for x in range(kx):
            window = padded[:, y : y + sy * oy : sy, x : x + sx * ox : sx]
            window += parts[y, x].transpose(1, 2, 3, 0)
    return padded[:, py : py + h, px : px + w]


def _out_shape(step: Step) -> tuple[int, ...]:
    """Shape of one image's map after the layer and its pooling."""
    if step.pools:
        return step.pools[-1].out_shape
    if step.layer.conv is None:
        return (step.layer.rows,)
    return (*step.layer.conv.out_size, step.layer.rows)


def _unpool(step: Step, by_map: Real) -> Real:
    """Derivative by the layer's codes [R, N]: each maximum hands it to the first that holds it."""
    maps = [ops.maps_of(step.layer, step.codes)]
    for pool in step.pools:
        maps.append(ops.max_pool(pool, maps[-1]))
    for pool, below, pooled in zip(step.pools[::-1], maps[-2::-1], maps[:0:-1], strict=True):
        spread = np.zeros(below.shape, dtype=np.float32)
        left = np.ones(pooled.shape, dtype=bool)
        for y in range(pool.kernel[0]):
            for x in range(pool.kernel[1]):
                rows = slice(y, y + pool.stride[0] * pooled.shape[1], pool.stride[0])
                columns = slice(x, x + pool.stride[1] * pooled.shape[2], pool.stride[1])
                held = left & (below[:, rows, columns] == pooled)
                spread[:, rows, columns] += by_map * held
                left &= ~held
        by_map = spread
    return np.ascontiguousarray(by_map.reshape(-1, step.layer.rows).T)
