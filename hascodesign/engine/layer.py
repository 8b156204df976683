"""One layer on one faulty array: the accumulators of any rows on any of its slots."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.array import k_order, row_preloads, wrap
from hascodesign.contract.types import (
    ArraySpec,
    BoolArray,
    FaultProfile,
    IntArray,
    MultiplyLayer,
    RowMap,
)
from hascodesign.engine.cells import cells_of, draws_of
from hascodesign.engine.classes import HEALTHY, SlotClass, classify
from hascodesign.engine.kernels import LANES, Cells, Draws, feed, store, walk
from hascodesign.engine.matrix import Weights, products
from hascodesign.engine.slots import PeFaults

Accumulators = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Walk:
    """Rows on slots that meet the same faults step by step."""

    places: IntArray  # [B] where their accumulators go
    walked: tuple[int, ...]  # multipliers whose products are walked
    weights: NDArray[np.int16]  # [B, T, len(walked)] words after their permanent faults
    cell: Cells
    draws: Draws
    starts: NDArray[np.int32]  # [B] words that their accumulators start from


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
    like : the same layer with the same ``order`` and ``taken``; its weights are shared.
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
        like: LayerOnArray | None = None,
    ) -> None:
        self.profile = profile
        self.layer = layer
        self.layer_index = layer_index
        self.base = base
        self.order: IntArray  # [T, S]
        self.sources: IntArray  # [T, S] row of the codes, -1 for padding
        self.weights: Weights  # [R, K] in the order of the codes' rows
        self._stored: dict[int, NDArray[np.int16]] = {}  # [R, T] by multiplier; few are asked for
        if like is None:
            self._lay_out(order, taken)
        else:
            self.order, self.sources = like.order, like.sources
            self.weights, self._stored = like.weights, like._stored
        self.classes, self.slot_classes = classify(
            faults, steps=self.order.shape[0], passes=passes, base=base
        )

    def _lay_out(self, order: IntArray | None, taken: IntArray | None) -> None:
        layer = self.layer
        self.order = k_order(layer.depth, self.spec.simd) if order is None else order
        weights = np.ascontiguousarray(layer.weights, dtype=np.int8)
        if taken is None:
            self.sources = self.order
        else:
            row_of_k = np.append(np.argsort(taken), -1)  # the -1 of padding stays
            self.sources = np.ascontiguousarray(row_of_k[self.order])
            weights = np.ascontiguousarray(weights[:, taken])
        self.weights = Weights(weights)

    def stored(self, simd: int) -> NDArray[np.int16]:
        """Weights [R, T] of one multiplier as the array steps through them, 0 where it idles."""
        if simd not in self._stored:
            order = self.order[:, simd]
            words = self.layer.weights[:, order].astype(np.int16)
            words[:, order < 0] = 0
            self._stored[simd] = words
        return self._stored[simd]

    @property
    def spec(self) -> ArraySpec:
        """The array."""
        return self.profile.array

    def with_layer(self, layer: MultiplyLayer, taken: IntArray | None = None) -> LayerOnArray:
        """The same slots with another layer's rows, of as many weights each."""
        other = copy(self)
        other.layer, other._stored = layer, {}
        other._lay_out(self.order, taken)
        return other

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
        out = self._plain(rows, classes, codes)
        if self.layer.preload is not None:
            self._preload(rows, classes, out)
        fed: dict[tuple[int, ...], NDArray[np.uint8]] = {}
        for one in self.walks(rows, classes, counters):
            if one.walked not in fed:
                fed[one.walked] = self._feed(codes, one.walked)
            acted = fed[one.walked]
            walk(acted, one.weights, one.cell, one.draws, one.starts, out, one.places)
        return out

    def walks(self, rows: IntArray, classes: IntArray, counters: IntArray) -> Iterator[Walk]:
        """The walks over K that `accumulate` adds to the matrix product; arguments as there."""
        cells = {self.classes[c].cell: self.classes[c] for c in np.unique(classes)}
        for cell, slot in cells.items():
            if not slot.walked:
                continue
            same = [c for c, other in enumerate(self.classes) if other.cell == cell]
            places = np.flatnonzero(np.isin(classes, same))
            yield self._walk(rows[places], classes[places], counters, places)

    # ----------------------------------------------------------------------- matrix product

    def plain(self, classes: IntArray) -> BoolArray:
        """Which rows on ``classes`` [n] have products that are not walked."""
        some = np.array([len(c.walked) < self.spec.simd for c in self.classes], dtype=np.bool_)
        return some[classes]

    def unwalked(self, classes: IntArray) -> BoolArray:
        """Which rows on ``classes`` [n] have no products that are walked."""
        none = np.array([not c.walked for c in self.classes], dtype=np.bool_)
        return none[classes]

    def _preload(self, rows: IntArray, classes: IntArray, out: Accumulators) -> None:
        """Start the sums of rows that are not walked, in place, modulo 2^CB."""
        starts = row_preloads(self.layer)[rows]
        places = np.flatnonzero(self.unwalked(classes) & (starts != 0))
        if len(places):
            store(out[places] + starts[places, None], out, places, 0, self.spec.acc_bits)

    def _plain(self, rows: IntArray, classes: IntArray, codes: NDArray[np.uint8]) -> Accumulators:
        """Sums [n, N] modulo 2^CB of the products that are not walked; 0 where all are."""
        plain = self.plain(classes)
        bits, places = self.spec.acc_bits, np.flatnonzero(plain)
        shape = (len(rows), codes.shape[1])
        if not len(places):
            return np.zeros(shape, dtype=np.int32)
        weights = self.folded(rows[places], classes[places])
        pieces = products(weights, codes, self.layer.in_signed)
        if len(places) == len(rows) and weights.largest << 8 < 1 << (bits - 1):
            start = list(islice(pieces, 1))
            if start and start[0][1].shape == shape and start[0][1].dtype == np.int32:
                return start[0][1]  # one piece, and nothing to wrap
            pieces = chain(start, pieces)
        out = np.empty(shape, dtype=np.int32)
        out[~plain] = 0
        for column, sums in pieces:
            store(sums, out, places, column, bits)
        return out

    def folded(self, rows: IntArray, classes: IntArray) -> Weights:
        """Weights [n, K] as the multipliers that are not walked see them, 0 at those that are."""
        faulty = np.flatnonzero(classes != HEALTHY)
        if not len(faulty) and len(rows) == self.layer.rows and bool((np.diff(rows) > 0).all()):
            return self.weights
        weights = self.weights.values[rows]
        for one in np.unique(classes[faulty]):
            slot, places = self.classes[one], np.flatnonzero(classes == one)
            touched = set(slot.walked) | set(slot.words[:, 1].tolist()) | slot.faults.weight.places
            for s in sorted(touched):
                used = np.flatnonzero(self.sources[:, s] >= 0)
                new: Any = 0
                if s not in slot.walked:
                    new = self.seen(rows[places], slot, (s,))[:, used, 0]
                weights[np.ix_(places, self.sources[used, s])] = new
        return Weights(weights)

    def seen(self, rows: IntArray, slot: SlotClass, simd: tuple[int, ...]) -> NDArray[np.int16]:
        """Words [n, T, len(simd)] after the permanent faults of bank and weight wires."""
        bits, chosen = self.spec.weight_bits, list(simd)
        words = np.stack([self.stored(s)[rows] for s in chosen], axis=2)
        place = {s: i for i, s in enumerate(chosen)}
        for step, s, keep, flip in slot.words.tolist():
            if s in place:
                at = words[:, step, place[s]].astype(np.int64)
                words[:, step, place[s]] = wrap((at & keep) ^ flip, bits)
        weight = slot.faults.weight
        for i, s in enumerate(chosen):
            if s in weight.places:
                at = words[:, :, i].astype(np.int64)
                words[:, :, i] = wrap((at & weight.keep[s]) ^ weight.flip[s], bits)
        return words

    # ------------------------------------------------------------------------- faulty walk

    def _feed(self, codes: NDArray[np.uint8], simd: tuple[int, ...]) -> NDArray[np.uint8]:
        sources = np.ascontiguousarray(self.sources[:, list(simd)])
        fed = np.empty((-(-codes.shape[1] // LANES), *sources.shape, LANES), dtype=np.uint8)
        feed(codes, sources, fed)
        return fed

    def _walk(
        self, rows: IntArray, classes: IntArray, counters: IntArray, places: IntArray
    ) -> Walk:
        slots = [self.classes[c] for c in classes]
        walked = slots[0].walked
        weights = np.empty((len(rows), len(self.order), len(walked)), dtype=np.int16)
        for one in np.unique(classes):
            mine = classes == one
            weights[mine] = self.seen(rows[mine], self.classes[one], walked)
        draws = draws_of(
            slots,
            counters,
            seed=self.profile.seed,
            layer_index=self.layer_index,
            steps=self.order.shape[0],
            base=self.base,
        )
        cell = cells_of(self.spec, slots[0], self.layer.in_signed)
        starts = row_preloads(self.layer)[rows].astype(np.int32)
        return Walk(places, walked, weights, cell, draws, starts)
