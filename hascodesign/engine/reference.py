"""The array contract step by step, slow and literal; the yardstick of every faster engine.

Only the columns run side by side. Faults act one after another straight from the profile's
entries, not through masks, so that this file shares nothing with what is measured against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.array import k_order, mix, wrap
from hascodesign.contract.types import Fault, FaultProfile, IntArray, MultiplyLayer, RowMap, Site

GOLDEN = 0x9E3779B9  # added to every word of the transient draw
WORD = 0xFFFFFFFF


def accumulate(
    profile: FaultProfile,
    layer: MultiplyLayer,
    row_map: RowMap,
    activations: NDArray[Any],
    *,
    layer_index: int | None = None,
    wmem_base: int,
    columns: IntArray | None = None,
    order: IntArray | None = None,
) -> IntArray:
    """ACC of one layer on the faulty array.

    Parameters
    ----------
    profile : a profile that has been checked.
    layer : the layer; its weights [R, K].
    row_map : which row each PE computes in each pass.
    activations : X [K, N] codes.
    layer_index : word of the transient draw; the layer's own index where None.
    wmem_base : first word of this layer in every weight bank.
    columns : [N] column counters of the transient draw; 0..N-1 where None.
    order : [T, S] K index per step and multiplier, -1 for padding; the default order where None.

    Returns
    -------
    [R, N] accumulators in natural row order.
    """
    count = activations.shape[1]
    run = _Run(
        profile=profile,
        layer=layer,
        order=k_order(layer.depth, profile.array.simd) if order is None else order,
        activations=np.asarray(activations, dtype=np.int64),
        layer_index=layer.index if layer_index is None else layer_index,
        base=wmem_base,
        columns=np.arange(count, dtype=np.int64) if columns is None else columns,
    )
    acc = np.zeros((layer.rows, count), dtype=np.int64)
    for number, rows in enumerate(row_map.slots.tolist()):
        results = run.one_pass(number, rows)
        for row, result in zip(rows, results, strict=True):
            if row >= 0:
                acc[row] = result
    return acc


@dataclass(frozen=True, slots=True)
class _Run:
    profile: FaultProfile
    layer: MultiplyLayer
    order: IntArray  # [T, S]
    activations: IntArray  # [K, N]
    layer_index: int
    base: int
    columns: IntArray  # [N]

    def one_pass(self, number: int, rows: Sequence[int]) -> list[IntArray]:
        """Accumulators [N] of every PE after one pass, those of idle PEs included."""
        spec = self.profile.array
        accs = [np.full(self.activations.shape[1], self._preload(row)) for row in rows]
        for step in range(self.order.shape[0]):
            fed = [self._fed(step, s) for s in range(spec.simd)]
            for pe in range(spec.pe):
                taken = [
                    self._through("act", pe, s, fed[s], number, step) for s in range(spec.simd)
                ]
                if spec.dataflow == "ws":
                    fed = taken  # the next PE takes them from this one
                words = [self._weight(pe, s, rows[pe], number, step) for s in range(spec.simd)]
                products = [
                    self._through("product", pe, s, words[s] * taken[s], number, step)
                    for s in range(spec.simd)
                ]
                accs[pe] = self._add(pe, accs[pe], products, number, step)
        return accs

    def _add(
        self, pe: int, acc: IntArray, products: Sequence[IntArray], number: int, step: int
    ) -> IntArray:
        if self.profile.array.dataflow == "os":
            return self._through("psum", pe, None, acc + sum(products), number, step)
        q = np.zeros_like(acc)
        for s, product in enumerate(products):
            q = self._through("psum", pe, s, q + product, number, step)
        return self._through("acc", pe, None, acc + q, number, step)

    def _preload(self, row: int) -> int:
        if row < 0 or self.layer.preload is None:
            return 0
        return int(self.layer.preload[row])

    def _fed(self, step: int, s: int) -> IntArray:
        k = int(self.order[step, s])
        return np.zeros_like(self.columns) if k < 0 else self.activations[k]

    def _weight(self, pe: int, s: int, row: int, number: int, step: int) -> IntArray:
        k = int(self.order[step, s])
        stored = 0 if row < 0 or k < 0 else int(self.layer.weights[row, k])
        word = np.full_like(self.columns, stored)
        word = self._through("wmem", pe, s, word, number, step)
        return self._through("weight", pe, s, word, number, step)

    def _through(
        self, site: Site, pe: int, s: int | None, values: IntArray, number: int, step: int
    ) -> IntArray:
        """The values after the wires of one site: permanent faults first, then transients."""
        bits = self.profile.array.site_bits(site)
        signed = self.layer.in_signed if site == "act" else True
        address = self.base + number * self.order.shape[0] + step
        here = [
            (entry, fault)
            for entry, fault in enumerate(self.profile.faults)
            if fault.pe == pe and self._sits_on(fault, site, s, address)
        ]
        for _, fault in here:
            values = _permanent(fault, values)
        for entry, fault in here:
            if fault.kind == "transient":
                values = values ^ self._flips(fault, entry, number, step)
        return wrap(values, bits, signed)

    def _sits_on(self, fault: Fault, site: Site, s: int | None, address: int) -> bool:
        if fault.kind == "dead":
            return site == "product"
        if fault.site != site or fault.simd != s:
            return False
        return site != "wmem" or fault.address == address

    def _flips(self, fault: Fault, entry: int, number: int, step: int) -> IntArray:
        """Bits that one transient entry inverts, [N]."""
        if fault.p is None:
            raise ValueError("a checked profile gives every transient its p")
        h: NDArray[np.uint64] = np.zeros(self.columns.shape, dtype=np.uint64)
        words = (self.profile.seed, self.layer_index, entry, number, self.columns, step)
        for word in words:
            low = np.asarray(word, dtype=np.int64) & WORD
            h = mix(((h ^ low.astype(np.uint64)) + np.uint64(GOLDEN)) & np.uint64(WORD))
        fires = h < np.uint64(int(fault.p * 2**32))
        low_bit, high_bit = transient_bits(fault)
        drawn = mix((h + np.uint64(GOLDEN)) & np.uint64(WORD)) * np.uint64(high_bit - low_bit + 1)
        bit = low_bit + (drawn >> np.uint64(32)).astype(np.int64)
        return np.where(fires, np.int64(1) << bit, 0)


def transient_bits(fault: Fault) -> tuple[int, int]:
    """Lowest and highest bit that a transient draws from."""
    if fault.bits is not None:
        return fault.bits
    if fault.bit is None:
        raise ValueError("a checked profile gives every transient its bit or bits")
    return fault.bit, fault.bit


def _permanent(fault: Fault, values: IntArray) -> IntArray:
    if fault.kind == "dead":
        return np.zeros_like(values)
    if fault.bit is None or fault.kind == "transient":
        return values
    wire = np.int64(1) << fault.bit
    if fault.kind == "sa0":
        return values & ~wire
    if fault.kind == "sa1":
        return values | wire
    return values ^ wire
