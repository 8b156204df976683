"""One layer on one faulty array: the classes of its slots and the accumulators of its rows.

Slots that meet the same faults form a class; a row gives the same integers on every slot of a
class, which is what searches cache by. Class 0 is healthy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.array import k_order, stored_weights, wrap
from hascodesign.engine.kernels import LANES, Cells, Draws, feed, walk
from hascodesign.engine.slots import PeFaults, Transient, hash_prefix
from hascodesign.types import ArraySpec, FaultProfile, IntArray, MultiplyLayer, RowMap

HEALTHY = 0
COLUMN_CHUNK = 1 << 14  # columns of float operands held at once
FLOAT32_EXACT = 1 << 24  # below, float32 holds every integer, so any order of summing is exact
FLOAT64_EXACT = 1 << 53

Accumulators = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class SlotClass:
    """Slots of one layer that meet the same faults; PE and pass of the first of them."""

    pe: int
    number: int  # pass; tells slots apart only where transients draw from it
    faults: PeFaults
    words: IntArray  # [faulty words, 4] step, multiplier, keep, flip
    transients: tuple[Transient, ...]  # those that can act in this slot
    cell: bytes  # key of all that the slots of one kernel call must share

    @property
    def nonlinear(self) -> bool:
        """Whether the sum must be walked step by step."""
        chained = self.faults.psum.active or self.faults.foot.active
        return bool(self.transients) or chained

    @property
    def additive(self) -> bool:
        """Whether only weights are touched, so that the row is a healthy row of other weights."""
        return not (self.nonlinear or self.faults.act.active or self.faults.product.active)


class LayerOnArray:
    """Accumulators of the rows of one layer on the slots of a faulty array.

    Parameters
    ----------
    profile : a profile that has been checked.
    faults : ``pe_faults`` of it.
    layer : the layer.
    passes : passes of the row map.
    base : first word of the layer in every weight bank.
    layer_index : word of the transient draw.
    order : [T, S] K index per step and multiplier, -1 for padding; the default where None.
    taken : [K] K index of each row of the codes that `accumulate` is given; 0..K-1 where None.
    """

    def __init__(
        self,
        profile: FaultProfile,
        faults: tuple[PeFaults, ...],
        layer: MultiplyLayer,
        *,
        passes: int,
        base: int,
        layer_index: int,
        order: IntArray | None = None,
        taken: IntArray | None = None,
    ) -> None:
        self.profile = profile
        self.layer = layer
        self.layer_index = layer_index
        self.base = base
        self.order = k_order(layer.depth, self.spec.simd) if order is None else order
        taken = np.arange(layer.depth) if taken is None else taken
        row_of_k = np.append(np.argsort(taken), -1)  # the -1 of padding stays
        self.sources = np.ascontiguousarray(row_of_k[self.order])
        self.weights = np.ascontiguousarray(layer.weights[:, taken], dtype=np.float32)
        self.classes: list[SlotClass] = []
        self.slot_classes = self._classify(faults, passes)

    @property
    def spec(self) -> ArraySpec:
        """The array."""
        return self.profile.array

    def classes_of(self, row_map: RowMap) -> IntArray:
        """Class of the slot that each row stands on, [R]."""
        classes = np.zeros(row_map.rows, dtype=np.int64)
        busy = row_map.slots >= 0
        classes[row_map.slots[busy]] = self.slot_classes[busy]
        return classes

    def accumulate(
        self, rows: IntArray, classes: IntArray, codes: NDArray[np.uint8], counters: IntArray
    ) -> Accumulators:
        """ACC [n, N] of ``rows`` [n] on slots of ``classes`` [n].

        Parameters
        ----------
        rows : [n] row numbers; one may come more than once, on different classes.
        classes : [n] class of each.
        codes : [K, N] activation codes in 8 bits, two's complement where signed.
        counters : [N] column counters of the transient draw.
        """
        out = np.empty((len(rows), codes.shape[1]), dtype=np.int32)
        additive = np.array([True, *(c.additive for c in self.classes[1:])])[classes]
        if additive.any():
            picked = np.flatnonzero(additive)
            weights = self._folded(rows[picked], classes[picked])
            self._multiply(weights, codes, out, picked)
        for cell in sorted({self.classes[c].cell for c in classes[~additive]}):
            same = [c for c in range(1, len(self.classes)) if self.classes[c].cell == cell]
            picked = np.flatnonzero(np.isin(classes, same))
            self._walk(rows[picked], classes[picked], codes, counters, out, picked)
        return out

    # ---------------------------------------------------------------------------- classes

    def _classify(self, faults: tuple[PeFaults, ...], passes: int) -> IntArray:
        known: dict[bytes, int] = {}
        table = np.zeros((passes, self.spec.pe), dtype=np.int64)
        for pe, mine in enumerate(faults):
            for number in range(passes):
                found = self._slot_class(mine, pe, number)
                key = found.cell + found.words.tobytes()
                if found.transients:
                    key += bytes(f"{pe},{number}", "ascii")
                healthy = found.additive and not found.faults.weight.active and not len(found.words)
                if not known:
                    known[b"healthy"] = HEALTHY
                    self.classes.append(found)  # never looked at: class 0 needs a place
                if healthy:
                    continue
                if key not in known:
                    known[key] = len(self.classes)
                    self.classes.append(found)
                table[number, pe] = known[key]
        return table

    def _slot_class(self, faults: PeFaults, pe: int, number: int) -> SlotClass:
        steps = self.order.shape[0]
        first = self.base + number * steps
        inside = (faults.wmem[:, 0] >= first) & (faults.wmem[:, 0] < first + steps)
        words = faults.wmem[inside] - [first, 0, 0, 0]
        transients = tuple(
            t
            for t in faults.transients
            if t.limit > 0
            and t.keep != 0
            and (t.address is None or first <= t.address < first + steps)
        )
        cell = b"".join(
            part.tobytes()
            for wires in (faults.weight, faults.act, faults.product, faults.psum, faults.foot)
            for part in (wires.keep, wires.flip)
        ) + repr([t for t in faults.transients if t.limit > 0]).encode()  # fmt: skip
        return SlotClass(pe, number, faults, words, transients, cell)

    # ------------------------------------------------------------------------- healthy sums

    def _folded(self, rows: IntArray, classes: IntArray) -> NDArray[np.float32]:
        """Weights [n, K] as the PEs' multipliers see them, in the order of the codes' rows."""
        whole = len(rows) == self.layer.rows and bool((rows == np.arange(len(rows))).all())
        faulty = np.flatnonzero(classes != HEALTHY)
        if whole and not len(faulty):
            return self.weights
        weights = self.weights[rows]
        used = self.sources >= 0
        for one in np.unique(classes[faulty]):
            places = np.flatnonzero(classes == one)
            seen = self._seen(rows[places], self.classes[one])
            weights[np.ix_(places, self.sources[used])] = seen[:, used]
        return weights

    def _seen(self, rows: IntArray, slot: SlotClass) -> IntArray:
        """Words [n, T, S] after the permanent faults of bank and weight wires."""
        bits = self.spec.weight_bits
        words = stored_weights(self.layer.weights, self.order, rows[None, :])[:, 0]
        step, simd, keep, flip = slot.words.T
        words[:, step, simd] = wrap((words[:, step, simd] & keep) ^ flip, bits)
        weight = slot.faults.weight
        return wrap((words & weight.keep) ^ weight.flip, bits)

    def _multiply(
        self,
        weights: NDArray[np.float32],
        codes: NDArray[np.uint8],
        out: Accumulators,
        places: IntArray,
    ) -> None:
        """Fill ``out[places]`` with weights @ codes, wrapped."""
        bound = float(np.abs(weights).sum(axis=1, dtype=np.float64).max(initial=0.0))
        bound *= self._largest(codes)
        exact32 = bound < FLOAT32_EXACT
        left = weights if exact32 else weights.astype(np.float64)
        bits = self.spec.acc_bits
        for first in range(0, codes.shape[1], COLUMN_CHUNK):
            chunk = self._numbers(codes[:, first : first + COLUMN_CHUNK])
            sums = left @ chunk.astype(left.dtype)
            if bound >= 1 << (bits - 1):
                sums = wrap(sums.astype(np.int64), bits)
            out[places, first : first + chunk.shape[1]] = sums

    def _numbers(self, codes: NDArray[np.uint8]) -> NDArray[Any]:
        return codes.view(np.int8) if self.layer.in_signed else codes

    def _largest(self, codes: NDArray[np.uint8]) -> int:
        if codes.size == 0:
            return 0
        numbers = self._numbers(codes)
        return max(abs(int(numbers.min())), abs(int(numbers.max())))

    # --------------------------------------------------------------------------- faulty walk

    def _walk(
        self, rows: IntArray, classes: IntArray, codes: NDArray[np.uint8], counters: IntArray,
        out: Accumulators, places: IntArray,
    ) -> None:  # fmt: skip
        slots = [self.classes[c] for c in classes]
        weights = np.empty((len(rows), *self.order.shape), dtype=np.int16)
        for one in np.unique(classes):
            mine = classes == one
            weights[mine] = self._seen(rows[mine], self.classes[one])
        result = np.empty((len(rows), codes.shape[1]), dtype=np.int32)
        cell = self._cells(slots[0])
        draws = self._draws(slots, counters)
        fed = np.empty((-(-codes.shape[1] // LANES), *self.order.shape, LANES), dtype=np.uint8)
        feed(codes, self.sources, fed)
        walk(fed, weights, cell, draws, result)
        out[places] = result

    def _cells(self, slot: SlotClass) -> Cells:
        faults, spec = slot.faults, self.spec
        chosen = [t for t in faults.transients if t.limit > 0]
        simd = spec.simd
        numbers = [t.stage * simd + t.simd for t in chosen]
        drawn = {t.simd for t in chosen if t.stage < 4}
        faulty = faults.product.places | faults.psum.places | drawn
        entries = np.array([[t.limit - 1, t.low, t.span, t.keep] for t in chosen], dtype=np.int64)
        return Cells(
            runs=np.array(_runs(faulty, simd), dtype=np.int64),
            group=((1 << 15) - 1) >> (spec.weight_bits - 1 + spec.act_bits),
            act=np.array([faults.act.keep, faults.act.flip], dtype=np.int32),
            cells=np.array(
                [faults.product.keep, faults.product.flip, faults.psum.keep, faults.psum.flip],
                dtype=np.int32,
            ).T.copy(),
            foot=np.array([faults.foot.keep, faults.foot.flip], dtype=np.int32),
            formats=np.concatenate(
                [
                    _format(spec.weight_bits),
                    _format(spec.act_bits, self.layer.in_signed),
                    _format(spec.product_bits),
                    _format(spec.acc_bits),
                ]
            ),
            entries=(entries.reshape(-1, 4) & 0xFFFFFFFF).astype(np.uint32),
            starts=np.searchsorted(numbers, np.arange(4 * simd + 2)).astype(np.int64),
        )

    def _draws(self, slots: list[SlotClass], counters: IntArray) -> Draws:
        chosen = [t for t in slots[0].faults.transients if t.limit > 0]
        shape = (len(slots), len(chosen))
        prefixes, steps = np.zeros(shape, dtype=np.uint32), np.full(shape, -1, dtype=np.int64)
        depth = self.order.shape[0]
        for i, slot in enumerate(slots):
            for e, transient in enumerate(chosen):
                prefixes[i, e] = hash_prefix(
                    self.profile.seed, self.layer_index, transient.entry, slot.number
                )
                if transient.address is not None:
                    step = transient.address - self.base - slot.number * depth
                    steps[i, e] = step if 0 <= step < depth else -2
        return Draws((counters & 0xFFFFFFFF).astype(np.uint32), prefixes, steps)


def _runs(faulty: set[int], simd: int) -> list[tuple[int, int, int]]:
    runs: list[tuple[int, int, int]] = []
    for s in range(simd):
        if s in faulty:
            runs.append((s, s + 1, 1))
        elif runs and runs[-1][2] == 0:
            runs[-1] = (runs[-1][0], s + 1, 0)
        else:
            runs.append((s, s + 1, 0))
    return runs


def _format(bits: int, signed: bool = True) -> NDArray[np.int32]:
    """Mask of ``bits`` bits and the sign bit, 0 where unsigned; as 32-bit patterns."""
    sign = 1 << (bits - 1) if signed else 0
    return np.array([(1 << bits) - 1, sign], dtype=np.uint32).view(np.int32)
