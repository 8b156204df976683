"""What was done to the rows on faulty slots, and what is left of their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.results import WrittenSlot
from hascodesign.contract.types import (
    FloatArray,
    IntegerNetwork,
    MultiplyLayer,
    Schedule,
)
from hascodesign.engine.classes import HEALTHY, SlotClass
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.network import Evaluator
from hascodesign.engine.planes import limits_of
from hascodesign.engine.rows import compute
from hascodesign.schedule.fitting import words
from hascodesign.schedule.fitting.layer import LayerWriter
from hascodesign.schedule.fitting.network import looked_at
from hascodesign.schedule.fitting.rows import trained
from hascodesign.schedule.problem import Problem
from hascodesign.schedule.space import make_space

IMAGES = 512  # that no fit saw, at most


def faulty_slots(
    evaluator: Evaluator, schedule: Schedule, written: IntegerNetwork, seed: int
) -> tuple[WrittenSlot, ...]:
    """The rows that stand on faulty slots, with what was done to each.

    Errors are those of a row's codes (after pooling; of its logits in the last layer) against the
    healthy array's, on calibration images that no fit saw, fed by the faulty layers before it as
    written.

    Parameters
    ----------
    evaluator : the network as trained, the profile, and the calibration images.
    schedule : where the rows stand.
    written : the network with rows as written.
    seed : of the search.
    """
    passes = tuple(row_map.passes for row_map in schedule.layers)
    space = make_space(evaluator.network, evaluator.profile, passes=passes)
    images, held = looked_at(evaluator.network.macs, len(evaluator.labels), seed)
    problem = Problem.of(evaluator, space).on(images[held][:IMAGES])
    healthy = problem.healthy()
    clean: NDArray[Any] = healthy.planes
    planes: NDArray[Any] = clean
    found: list[WrittenSlot] = []
    parts = zip(healthy.blocks, healthy.healthy(), written.layers, schedule.layers, strict=True)
    for index, (block, assignment, after, row_map) in enumerate(parts):
        before, rows = block.layer, np.arange(block.layer.rows)
        on_array = LayerWriter(problem, index, ()).on_array
        classes = on_array.classes_of(row_map)
        clean = compute(block, assignment.on_array, rows, np.full_like(rows, HEALTHY), clean)
        errors = []
        for layer in (before, after):
            own = replace(block, layer=layer, limits=limits_of(layer))
            got = compute(own, on_array.with_layer(layer, block.taken), rows, classes, planes)
            errors.append(_error(got, clean, signed=before.out_signed))
        planes = got
        for row in np.flatnonzero(classes != HEALTHY).tolist():
            place, pe = np.argwhere(row_map.slots == row)[0].tolist()
            slot = on_array.classes[classes[row]]
            found.append(
                WrittenSlot(
                    layer=before.name,
                    pe=pe,
                    place=place,
                    row=row,
                    moves=_moves(on_array, slot, before, after, row),
                    before=float(errors[0][row]),
                    after=float(errors[1][row]),
                )
            )
    return tuple(found)


def _error(got: NDArray[Any], wanted: NDArray[Any], *, signed: bool) -> FloatArray:
    """Mean absolute difference [R] of codes, or of logits."""
    if got.dtype == np.uint8:
        kind = np.int8 if signed else np.uint8
        got, wanted = got.view(kind), wanted.view(kind)
    off = np.abs(got.astype(np.int64) - wanted.astype(np.int64))
    return np.asarray(off.reshape(len(off), -1).mean(axis=1))


def _moves(
    on_array: LayerOnArray, slot: SlotClass, before: MultiplyLayer, after: MultiplyLayer, row: int
) -> tuple[str, ...]:
    """What was done to a row, by the names of the moves; with how many words, or which word."""
    old, new = before.weights[row], after.weights[row]
    sign = -1 if (new == -old).sum() > (new == old).sum() else 1
    moved = set(np.flatnonzero(new != sign * old).tolist())
    struck: set[int] = set()
    for simd in words.touched(slot):
        struck |= set(on_array.order[words.struck(on_array, slot, simd), simd].tolist())
    told = ["sign"] if sign < 0 else []
    if moved & struck:
        told.append(f"words {len(moved & struck)}")
    if moved - struck:
        told.append(f"reconstruction {len(moved - struck)}")
    shift = _shift(before, after, row)
    if len(set(shift)) > 1:
        told.append("thresholds")
    elif any(shift):
        told.append(f"constant {shift[0]}")
    if after.preload is not None and after.preload[row]:
        told.append(f"preload {int(after.preload[row])}")
    return tuple(told)


def _shift(before: MultiplyLayer, after: MultiplyLayer, row: int) -> Sequence[int]:
    """What each threshold was moved by up the sums; in the last layer what the bias was."""
    one, other = (trained(layer, np.array([row]), np.array([0])) for layer in (before, after))
    start = 0 if after.preload is None else int(after.preload[row])
    if before.output is None:
        return [int(other.bias[0] - one.bias[0]) + start]
    values = other.values[0] - start * other.direction[0]
    bias = other.bias[0] * other.direction[0] - one.bias[0] * one.direction[0]
    return [int(value) for value in values - one.values[0] - bias]
