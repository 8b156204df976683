"""Where a row's sums start: a window in which a stuck bit of the accumulator does not change.

Started from c, the register holds c and what has been summed so far. Where that stays within 2^b
words whose bits from b on are all the same, and the same as the stuck ones, a bit stuck at b or
above is what it would be anyhow; one that is inverted adds the same at every step to every column.
c itself is a constant, which `written_layer` takes off thresholds or bias.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.array import step_activations, wrap
from hascodesign.contract.types import ArraySpec, IntArray
from hascodesign.engine.classes import HEALTHY, SlotClass
from hascodesign.engine.layer import LayerOnArray
from hascodesign.schedule.fitting.rows import Rows, trained

if TYPE_CHECKING:
    from hascodesign.schedule.fitting.layer import LayerWriter, Sample

COLUMNS = 1024  # that the range of the sums is taken over, at most


def started(writer: LayerWriter, rows: Rows, sample: Sample) -> Rows:
    """Rows that leave an error at a faulty accumulator, started from the words that leave least.

    Parameters
    ----------
    writer : of their layer, on an array with preloads.
    rows : fitted.
    sample : the columns that they were fitted to.
    """
    codes, plain = writer.numbers(sample), trained(writer.layer, rows.row, rows.slot)
    turned = rows.direction != plain.direction
    bias = np.where(turned, -plain.bias, plain.bias)
    unfitted = replace(rows, bias=bias, values=plain.values)  # a fit takes the constant off anew
    for number in np.unique(rows.slot).tolist():
        slot = writer.on_array.classes[number]
        mine = np.flatnonzero((rows.slot == number) & (rows.error > 0))
        if number == HEALTHY or not slot.faults.foot.active or not len(mine):
            continue
        before = unfitted.at(mine)
        for words in candidates(writer.array_of(before), slot, codes):
            draft = writer.fit(replace(before, preload=words), sample)
            wins = np.flatnonzero(draft.error < rows.error[mine])
            rows = rows.put(mine[wins], draft.at(wins))
    return rows


def candidates(on_array: LayerOnArray, slot: SlotClass, codes: IntArray) -> list[IntArray]:
    """Words [n] to start from, one list entry for each window that may do.

    Parameters
    ----------
    on_array : the layer with its n rows as written.
    slot : the class of slots that they are to stand on.
    codes : [K, N] activations as numbers.
    """
    low, high = partial_sums(on_array, slot, codes[:, :COLUMNS])
    spec = on_array.spec
    found = []
    for bit in faulty_bits(spec, slot):
        base = window(spec, slot, bit)
        size = 1 << bit
        middle = base + (size - 1 - (low + high)) // 2
        found.append(middle)
        if bool((high - low >= size).any()):  # one end of the range in the window, then the other
            found += [base - low, base + size - 1 - high]
    least, greatest = -(1 << (spec.acc_bits - 1)), (1 << (spec.acc_bits - 1)) - 1
    return [np.clip(one, least, greatest) for one in found]


def faulty_bits(spec: ArraySpec, slot: SlotClass) -> list[int]:
    """Bits of the accumulator that do not hold what they are given, ascending."""
    foot = slot.faults.foot
    touched = ~int(foot.keep) | int(foot.flip)
    return [bit for bit in range(spec.acc_bits) if touched >> bit & 1]


def window(spec: ArraySpec, slot: SlotClass, bit: int) -> int:
    """Least word of the window of 2^bit words: bits from ``bit`` on as the stuck ones are."""
    foot = slot.faults.foot
    stuck_at_1 = ~int(foot.keep) & int(foot.flip) & ((1 << spec.acc_bits) - 1)
    return int(wrap(np.array(stuck_at_1 >> bit << bit), spec.acc_bits))


def partial_sums(
    on_array: LayerOnArray, slot: SlotClass, codes: IntArray
) -> tuple[IntArray, IntArray]:
    """Least and greatest [n] of each row's sums over the steps so far, from 0, register healthy.

    Faults of weights, activations and products are in; those inside the column of `ws` are not.
    """
    spec, faults = on_array.spec, slot.faults
    rows = np.arange(on_array.layer.rows)
    words = on_array.seen(rows, slot, tuple(range(spec.simd))).astype(np.float64)  # [n, T, S]
    fed = step_activations(codes, on_array.order)  # [T, S, N]
    met = wrap(
        (fed & faults.act.keep[:, None]) ^ faults.act.flip[:, None],
        spec.act_bits,
        on_array.layer.in_signed,
    ).astype(np.float64)
    struck = sorted(faults.product.places)
    whole = [s for s in range(spec.simd) if s not in struck]
    total = np.zeros((len(rows), codes.shape[1]))
    low, high = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
    for step in range(len(fed)):
        total += words[:, step, whole] @ met[step, whole]  # below 2^53: exact
        for s in struck:
            product = np.outer(words[:, step, s], met[step, s])
            total += _met(product, int(faults.product.keep[s]), int(faults.product.flip[s]), spec)
        low, high = np.minimum(low, total.min(axis=1)), np.maximum(high, total.max(axis=1))
    return low.astype(np.int64), high.astype(np.int64)


def _met(product: NDArray[np.float64], keep: int, flip: int, spec: ArraySpec) -> IntArray:
    return wrap((product.astype(np.int64) & keep) ^ flip, spec.product_bits)
