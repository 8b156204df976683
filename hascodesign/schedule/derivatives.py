"""One run of the network under a schedule, and how its logits follow from every layer's codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract import arithmetic
from hascodesign.contract.types import (
    FaultProfile,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Shift,
)
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.kernels_planes import count_passed
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.planes import Limits, limits_of
from hascodesign.engine.slots import pe_faults
from hascodesign.schedule.space import Space

Real = NDArray[np.float32]  # derivatives: an estimate needs no more


@dataclass(frozen=True, slots=True)
class Step:
    """One multiply layer of a run, and the pooling that follows it."""

    layer: MultiplyLayer
    on_array: LayerOnArray
    limits: Limits | None  # of ACC; None = last layer
    activations: NDArray[np.uint8]  # X [K, N], two's complement where signed
    acc: NDArray[np.int32]  # [R, N]
    codes: NDArray[Any]  # int16 [R, N]; of the last layer the sums
    pools: tuple[MaxPool, ...]

    @property
    def sums(self) -> IntArray:
        """ACC + bias [R, N]."""
        return self.acc.astype(np.int64) + self.layer.bias[:, None]

    def codes_on(self, place: tuple[int, int]) -> NDArray[Any]:
        """Codes [R, N] of the layer if every row stood on the slot (pass, PE) of ``place``."""
        return self.codes_of_class(int(self.on_array.slot_classes[place]))

    def healthy_codes(self) -> NDArray[Any]:
        """Codes [R, N] of the layer if every row stood on a healthy slot."""
        return self.codes_of_class(HEALTHY)

    def pooled(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Map [n, height, width, R] that the next layer takes, of codes [R, N]."""
        maps = arithmetic.maps_of(self.layer, codes)
        for pool in self.pools:
            maps = arithmetic.max_pool(pool, maps)
        return maps

    def codes_of_class(self, kind: int) -> NDArray[Any]:
        """Codes [R, N] of the layer if every row stood on slots of one of the engine's classes."""
        rows, kinds = np.arange(self.layer.rows), np.full(self.layer.rows, kind)
        acc = self.on_array.accumulate(rows, kinds, self.activations, _counters(self.activations))
        return codes_of(self.layer, self.limits, acc)


def codes_of(layer: MultiplyLayer, limits: Limits | None, acc: NDArray[np.int32]) -> NDArray[Any]:
    """Codes [R, N] of ACC [R, N], of the last layer ACC + bias.

    16 bits hold the difference of any two codes, too.
    """
    if limits is None:
        return acc.astype(np.int64) + layer.bias[:, None]
    planes = np.empty((acc.shape[0], 1, 1, acc.shape[1]), dtype=np.uint8)
    each = (limits.turn, limits.values, limits.levels)
    count_passed(acc, (1, 1, 1, 1, 1), *each, limits.lowest, planes)
    codes = planes.reshape(acc.shape)
    return (codes.view(np.int8) if layer.out_signed else codes).astype(np.int16)


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
    stages = list(network.stages)
    maps: NDArray[Any] = codes.astype(np.int16)
    for place, stage in enumerate(stages):
        if isinstance(stage, MaxPool):
            maps = arithmetic.max_pool(stage, maps)
            continue
        slots = space.layers[stage.index]
        on_array = LayerOnArray(
            profile, faults, stage, passes=slots.passes, base=base, layer_index=stage.index
        )
        base += slots.passes * slots.steps
        kinds = np.full(stage.rows, HEALTHY)
        if chromosome is not None:
            genes = slots.genes(chromosome)
            used = np.flatnonzero(genes < stage.rows)
            kinds[genes[used]] = on_array.slot_classes.reshape(-1)[used]
        x = arithmetic.columns(stage, maps).astype(
            np.uint8
        )  # the low 8 bits of a negative code, too
        acc = on_array.accumulate(np.arange(stage.rows), kinds, x, _counters(x))
        limits = limits_of(stage)
        out = codes_of(stage, limits, acc)
        steps.append(Step(stage, on_array, limits, x, acc, out, _pools_after(stages, place)))
        if stage.index == last:
            break
        maps = arithmetic.maps_of(stage, out)
    return steps


def _pools_after(stages: Sequence[MultiplyLayer | MaxPool], place: int) -> tuple[MaxPool, ...]:
    found: list[MaxPool] = []
    for stage in stages[place + 1 :]:
        if not isinstance(stage, MaxPool):
            break
        found.append(stage)
    return tuple(found)


class Backward:
    """Derivatives of the logits by every layer's codes and sums, for one run.

    Thresholds count as their mean slope; the last layer's codes are the logits themselves.

    Parameters
    ----------
    steps : the run.
    images : of it.
    lowest : first layer of interest; those before it are left out.
    """

    def __init__(self, steps: Sequence[Step], images: int, lowest: int = 0) -> None:
        self._steps, self._images, self._lowest = steps, images, lowest
        self._slopes = [_slope(step) if n >= lowest else None for n, step in enumerate(steps)]
        self._held = [_held(step) if n >= lowest else [] for n, step in enumerate(steps)]
        self._back = [step.layer.weights.T.astype(np.float32) for step in steps[lowest + 1 :]]

    def by_codes(self, logit: int) -> Iterator[tuple[Step, Real]]:
        """Derivative of one logit by each layer's codes, [R, N], the last layer first."""
        last = self._steps[-1]
        found: Real = np.zeros(last.acc.shape, dtype=np.float32)
        found[logit] = 1.0
        yield last, found
        for index in range(len(self._steps) - 2, self._lowest - 1, -1):
            above, step = self._steps[index + 1], self._steps[index]
            below = self.by_sums(above, found)
            by_input = self._back[index - self._lowest] @ below
            by_map = _by_map(above.layer, by_input, step, self._images)
            found = _unpool(step, by_map, self._held[index])
            yield step, found

    def by_sums(self, step: Step, by_codes: Real) -> Real:
        """Derivative by a layer's sums, [R, N], from that by its codes."""
        slope = self._slopes[step.layer.index]
        if slope is None:
            raise ValueError(f"layer {step.layer.index} was left out")
        return by_codes if step.layer.output is None else by_codes * slope


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


@dataclass(frozen=True, slots=True)
class Held:
    """Which input of a pool each of its maxima is: the first that holds it."""

    shape: tuple[int, ...]  # of the map that the pool takes
    #: A place of the window, as a slice of that map, and which maxima it is the first to hold.
    places: Sequence[tuple[tuple[slice, ...], NDArray[np.bool_]]]


def _held(step: Step) -> list[Held]:
    """Of every pool of a step."""
    found = []
    maps = arithmetic.maps_of(step.layer, step.codes) if step.pools else step.codes
    for pool in step.pools:
        pooled = arithmetic.max_pool(pool, maps)
        left = np.ones(pooled.shape, dtype=bool)
        places = []
        for y in range(pool.kernel[0]):
            for x in range(pool.kernel[1]):
                rows = slice(y, y + pool.stride[0] * pooled.shape[1], pool.stride[0])
                columns = slice(x, x + pool.stride[1] * pooled.shape[2], pool.stride[1])
                held = left & (maps[:, rows, columns] == pooled)
                left &= ~held
                places.append(((slice(None), rows, columns), held))
        found.append(Held(maps.shape, places))
        maps = pooled
    return found


def _unpool(step: Step, by_map: Real, held: Sequence[Held]) -> Real:
    """Derivative by the layer's codes [R, N]: each maximum hands it to the first that holds it."""
    for one in held[::-1]:
        spread = np.zeros(one.shape, dtype=np.float32)
        for place, first in one.places:
            spread[place] += by_map * first
        by_map = spread
    return np.ascontiguousarray(by_map.reshape(-1, step.layer.rows).T)
