"""A faulty PE as the kernel reads it: only the multipliers that are walked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import ArraySpec, IntArray
from hascodesign.engine.classes import SlotClass
from hascodesign.engine.kernels import Cells, Draws
from hascodesign.engine.slots import STAGES, Transient, hash_prefix


def cells_of(spec: ArraySpec, slot: SlotClass, in_signed: bool) -> Cells:
    """Masks, runs and transients of the walked multipliers of one class."""
    faults, walked = slot.faults, list(slot.walked)
    chosen = drawn(slot)
    place = {s: i for i, s in enumerate(walked)}
    simd = len(walked)
    numbers = [
        4 * simd if t.stage == STAGES["foot"] else t.stage * simd + place[t.simd] for t in chosen
    ]
    single = faults.product.places | faults.psum.places
    single |= {t.simd for t in chosen if t.stage < STAGES["foot"]}
    entries = np.array([[t.limit - 1, t.low, t.span, t.keep] for t in chosen], dtype=np.int64)
    masks = (faults.product.keep, faults.product.flip, faults.psum.keep, faults.psum.flip)
    return Cells(
        runs=np.array(_runs([s in single for s in walked]), dtype=np.int64),
        group=((1 << 15) - 1) >> (spec.weight_bits - 1 + spec.act_bits),
        act=np.array([faults.act.keep[walked], faults.act.flip[walked]], dtype=np.int32),
        cells=np.array([m[walked] for m in masks], dtype=np.int32).T.copy(),
        foot=np.array([faults.foot.keep, faults.foot.flip], dtype=np.int32),
        formats=np.concatenate(
            [
                _format(spec.weight_bits),
                _format(spec.act_bits, in_signed),
                _format(spec.product_bits),
                _format(spec.acc_bits),
            ]
        ),
        entries=(entries.reshape(-1, 4) & 0xFFFFFFFF).astype(np.uint32),
        starts=np.searchsorted(numbers, np.arange(4 * simd + 2)).astype(np.int64),
    )


def drawn(slot: SlotClass) -> list[Transient]:
    """Transients that the kernel draws for slots of this class."""
    walked = set(slot.walked)
    return [
        t
        for t in slot.faults.transients
        if t.limit > 0 and (t.stage == STAGES["foot"] or t.simd in walked)
    ]


def draws_of(
    slots: list[SlotClass],
    counters: IntArray,
    *,
    seed: int,
    layer_index: int,
    steps: int,
    base: int,
) -> Draws:
    """State of every transient draw of each row, before column and step go in."""
    chosen = drawn(slots[0])
    shape = (len(slots), len(chosen))
    prefixes, only = np.zeros(shape, dtype=np.uint32), np.full(shape, -1, dtype=np.int64)
    for i, slot in enumerate(slots):
        for e, transient in enumerate(chosen):
            prefixes[i, e] = hash_prefix(seed, layer_index, transient.entry, slot.number)
            if transient.address is not None:
                step = transient.address - base - slot.number * steps
                only[i, e] = step if 0 <= step < steps else -2
    return Draws((counters & 0xFFFFFFFF).astype(np.uint32), prefixes, only)


def _runs(single: list[bool]) -> list[tuple[int, int, int]]:
    """Runs of healthy multipliers, and each faulty one by itself (flag 1)."""
    runs: list[tuple[int, int, int]] = []
    for s, faulty in enumerate(single):
        if not faulty and runs and runs[-1][2] == 0:
            runs[-1] = (runs[-1][0], s + 1, 0)
        else:
            runs.append((s, s + 1, int(faulty)))
    return runs


def _format(bits: int, signed: bool = True) -> NDArray[np.int32]:
    """Mask of ``bits`` bits and the sign bit, 0 where unsigned; as 32-bit patterns."""
    sign = 1 << (bits - 1) if signed else 0
    return np.array([(1 << bits) - 1, sign], dtype=np.uint32).view(np.int32)
