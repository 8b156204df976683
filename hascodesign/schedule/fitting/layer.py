"""The rows of one layer written for its slots: what is left of each row's error on each kind."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.array import wrap
from hascodesign.contract.results import Move
from hascodesign.contract.types import BoolArray, FloatArray, IntArray
from hascodesign.engine.classes import HEALTHY, SlotClass
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.loss import MOST, cross_entropy
from hascodesign.engine.planes import as_thresholds
from hascodesign.engine.slots import STAGES, pe_faults
from hascodesign.schedule.baselines import severity
from hascodesign.schedule.fitting import preload, reconstruct, staircase, words
from hascodesign.schedule.fitting.rows import Rows, joined, trained
from hascodesign.schedule.problem import Problem

WORK = 2e8  # products walked, and an eighth of those not, for one set of rows: bounds the columns
TIE = 1e-9  # what a faulty slot costs in any case
LITTLE = 0.01  # share in the cost of a logit of the square of its own error
FEWEST = 128  # columns, however much work that is
BYTES = 64 << 20  # of the sums of rows that are fitted at once
MOST_BYTES = 256 << 20  # of all rows on all kinds of slots


@dataclass(frozen=True, slots=True)
class Sample:
    """Columns of a layer: what it is fed on the faulty array, and what is wanted of it."""

    codes: NDArray[np.uint8]  # X [K, N]
    counters: IntArray  # [N] column counters of the transient draws
    sums: IntArray  # [R, N] ACC + bias of the network as trained, without faults
    wanted: IntArray  # [R, N] their codes; of the last layer the sums
    labels: IntArray  # [N] class of the image that the column is of

    def first(self, count: int) -> Sample:
        """The first so many columns."""
        return Sample(
            codes=self.codes[:, :count],
            counters=self.counters[:count],
            sums=self.sums[:, :count],
            wanted=self.wanted[:, :count],
            labels=self.labels[:count],
        )


@dataclass(frozen=True, slots=True)
class OnKinds:
    """Every row written for every kind of slot; as trained where there are too many kinds."""

    rows: Rows  # [kinds * R], kind by kind
    kinds: IntArray  # kind of each class of slots; 0 where there are too many
    error: FloatArray  # [R, classes]

    def of(self, rows: IntArray, classes: IntArray) -> IntArray:
        """Places of rows written for slots of some classes."""
        return self.kinds[classes] * len(self.error) + rows


class LayerWriter:
    """Writes the rows of one layer for the slots of a faulty array.

    Parameters
    ----------
    problem : its space gives the layer's slots.
    index : the layer.
    moves : what may be done to a row.
    """

    def __init__(self, problem: Problem, index: int, moves: tuple[Move, ...]) -> None:
        self.layer, self.moves = problem.network.layers[index], moves
        self.slots = problem.space.layers[index]
        self.on_array = LayerOnArray(
            problem.profile,
            pe_faults(problem.profile),
            self.layer,
            passes=self.slots.passes,
            base=problem.space.base(index),
            layer_index=index,
        )
        output = as_thresholds(self.layer)
        wires = tuple(fault for fault in problem.profile.faults if fault.site != "wmem")
        on_wires = replace(problem.profile, faults=wires)
        self._severity = severity(on_wires, len(self.on_array.order))  # of each PE, words apart
        self._last = output is None
        self._scale = problem.network.logit_scale
        self._lowest = 0 if output is None else output.lowest  # code below all thresholds

    def alone(self) -> LayerWriter:
        """The same for rows as trained."""
        other = copy(self)
        other.moves = ()
        return other

    @cached_property
    def _upward(self) -> IntArray:
        """Direction [R] in which codes rise with the sums as trained."""
        return self.trained(np.zeros(self.layer.rows, dtype=np.int64)).direction

    @cached_property
    def _thresholds(self) -> IntArray:
        """Thresholds [R, L] as trained, times the direction."""
        return self.trained(np.zeros(self.layer.rows, dtype=np.int64)).values

    def trained(self, classes: IntArray) -> Rows:
        """All rows as trained, on slots of classes [R]."""
        return trained(self.layer, np.arange(self.layer.rows), classes)

    # --------------------------------------------------------------------------------- writing

    def on_kinds(self, sample: Sample) -> OnKinds:
        """Every row written for every kind of slot, and what is left of its error there."""
        kinds, count = self.slots.kinds, self.layer.rows
        _, examples = np.unique(kinds, return_index=True)
        if 2 * self.layer.weights.size * len(examples) > MOST_BYTES:
            healthy = self.trained(np.full(count, HEALTHY))
            return OnKinds(healthy, np.zeros_like(kinds), self._by_rule(sample))
        seen = self._seen(sample)
        found = joined([self._written(np.full(count, c), sample, seen) for c in examples.tolist()])
        return OnKinds(found, kinds, found.error.reshape(-1, count).T[:, kinds])

    def _by_rule(self, sample: Sample) -> FloatArray:
        """About what the sums are off by, [R, classes]: by the size of words and faults alone."""
        spec, weights = self.on_array.spec, self.layer.weights
        size = np.abs(self.numbers(sample)).mean(axis=1)
        saliency = np.abs(weights).sum(axis=1) / max(np.abs(weights).sum(axis=1).mean(), 1.0)
        off = np.zeros((self.layer.rows, len(self.on_array.classes)))
        for number, slot in enumerate(self.on_array.classes):
            for step, simd, keep, flip in slot.words.tolist() if number != HEALTHY else ():
                k = self.on_array.order[step, simd]
                word = weights[:, k]
                seen = wrap((word & keep) ^ flip, spec.weight_bits)
                off[:, number] += (k >= 0) * np.abs(seen - word) * size[k]
            if number != HEALTHY:
                off[:, number] += self._severity[slot.pe] * saliency
        return off

    def written(self, classes: IntArray, sample: Sample) -> Rows:
        """All rows written for slots of classes [R]; what does best on the columns is taken."""
        return self._written(classes, sample, self._seen(sample))

    def _seen(self, sample: Sample) -> words.Histograms | None:
        """Of the activations, where words are chosen by them."""
        if "words" not in self.moves:
            return None
        return words.histograms(sample.codes.astype(np.int64), self.on_array.spec, self._signed)

    def _written(self, classes: IntArray, sample: Sample, seen: words.Histograms | None) -> Rows:
        rows = self.trained(classes)
        sample = sample.first(self._columns(classes))
        turned, may = self._turned(rows)
        for number in np.unique(classes[classes != HEALTHY]).tolist():
            slot, mine = self.on_array.classes[number], np.flatnonzero(classes == number)
            if seen is None or not words.touched(slot):
                continue
            left = self._choose(slot, rows, mine, seen)
            if not may[mine].any():
                continue
            other = self._choose(slot, turned, mine, seen)
            if not _order_counts(slot):  # else what the register makes of either has to be seen
                chosen = mine[may[mine] & (other < left)]
                rows = rows.put(chosen, turned.at(chosen))
                may[mine] = False
        fitted, places = self.fit(rows, sample), np.flatnonzero(may)
        if len(places):
            other_way = self.fit(turned.at(places), sample)
            wins = other_way.error < fitted.error[places]
            fitted = fitted.put(places[wins], other_way.at(np.flatnonzero(wins)))
        if self.layer.preload is not None and "preload" in self.moves:
            fitted = preload.started(self, fitted, sample)
        return fitted

    def _columns(self, classes: IntArray) -> int:
        """Columns that fits of rows on slots of some classes can afford."""
        walked = np.array([len(slot.walked) for slot in self.on_array.classes])
        work = int(walked[classes].sum()) * len(self.on_array.order) + self.layer.weights.size // 8
        return max(FEWEST, int(WORK / max(work, 1)))

    def _turned(self, rows: Rows) -> tuple[Rows, BoolArray]:
        """The rows negated, and which of them may be; the least word has no negative."""
        low = -(1 << (self.on_array.spec.weight_bits - 1))
        may = np.asarray((rows.weights > low).all(axis=1) & (rows.slot != HEALTHY), dtype=np.bool_)
        return rows.negated(low), may & ("sign" in self.moves and not self._last)

    def _choose(
        self, slot: SlotClass, rows: Rows, mine: IntArray, seen: words.Histograms
    ) -> FloatArray:
        """Choose the words of some rows, in place; the variance that they leave."""
        chosen, left = words.choose(self.on_array, slot, rows.weights[mine], seen)
        rows.weights[mine] = chosen
        return left

    @property
    def _signed(self) -> bool:
        return self.layer.in_signed

    # ------------------------------------------------------------------------------------ fits

    def sums(self, rows: Rows, sample: Sample) -> IntArray:
        """ACC + bias [n, N] of rows on their slots, times their direction."""
        on_array = self.array_of(rows)
        acc = on_array.accumulate(np.arange(len(rows)), rows.slot, sample.codes, sample.counters)
        constant = rows.bias - rows.preload
        return (acc.astype(np.int64) + constant[:, None]) * rows.direction[:, None]

    def array_of(self, rows: Rows) -> LayerOnArray:
        """The layer with other rows on the array."""
        weights: NDArray[Any] = rows.weights
        starts = None if self.layer.preload is None else rows.preload
        return self.on_array.with_layer(replace(self.layer, weights=weights, preload=starts))

    def fit(self, rows: Rows, sample: Sample) -> Rows:
        """The rows with constants and thresholds fitted."""
        return joined([self._fit(part, sample) for part in self._parts(rows, sample)])

    def _fit(self, rows: Rows, sample: Sample) -> Rows:
        sums, wanted = self.sums(rows, sample), sample.wanted[rows.row]
        shift = np.rint((sums - self._healthy(rows, sample)).mean(axis=1)).astype(np.int64)
        if self._last:
            if "constant" not in self.moves:
                shift[:] = 0
            left = self._lost(rows.row, sums - shift[:, None], sample)
            return replace(rows, bias=rows.bias - shift, error=left)
        # from the thresholds as trained: those of an earlier fit hold the constant already
        values = self._thresholds[rows.row]
        if "constant" in self.moves or "thresholds" in self.moves:
            values = values + shift[:, None]
        if "thresholds" in self.moves:
            values, left = staircase.fit(sums, wanted, values, self._lowest)
        else:
            left = staircase.error(sums, wanted, values, self._lowest)
        return replace(rows, values=values, error=left)

    def error(self, rows: Rows, sample: Sample) -> FloatArray:
        """Mean squared error [n] of the codes that rows as written give."""
        return np.concatenate([self._error(part, sample) for part in self._parts(rows, sample)])

    def _error(self, rows: Rows, sample: Sample) -> FloatArray:
        sums, wanted = self.sums(rows, sample), sample.wanted[rows.row]
        if self._last:
            return self._lost(rows.row, sums, sample)
        return staircase.error(sums, wanted, rows.values, self._lowest)

    def _lost(self, rows: IntArray, sums: IntArray, sample: Sample) -> FloatArray:
        """What the network loses where one logit alone is not the healthy one, [n] nats.

        And a little for what a logit is off: alone it may cost nothing, with others it may.
        """
        logits = sample.sums.T
        lost = np.empty(len(rows))
        worth = np.abs(np.broadcast_to(self._scale, logits.shape[1]))
        for place, row in enumerate(rows.tolist()):
            changed = logits.copy()
            changed[:, row] = sums[place]
            off = np.minimum(worth[row] * np.abs(sums[place] - logits[:, row]), MOST)
            losses = cross_entropy(changed, sample.labels, self._scale)
            lost[place] = losses.mean() + LITTLE * (off**2).mean()
        return lost - cross_entropy(logits, sample.labels, self._scale).mean()

    def _healthy(self, rows: Rows, sample: Sample) -> IntArray:
        """The sums wanted, in the direction in which their codes rise."""
        return sample.sums[rows.row] * self._upward[rows.row, None]

    @staticmethod
    def _parts(rows: Rows, sample: Sample) -> Iterator[Rows]:
        """The rows, so many at once that their sums fit in memory."""
        step = max(1, BYTES // (8 * max(len(sample.counters), 1)))
        for first in range(0, len(rows), step):
            yield rows.at(slice(first, first + step))

    def reconstructed(self, rows: Rows, sample: Sample) -> Rows:
        """The rows with the words of healthy multipliers moved; not yet fitted."""
        free = np.ones(rows.weights.shape, dtype=np.bool_)
        for number in np.unique(rows.slot):
            slot, mine = self.on_array.classes[number], np.flatnonzero(rows.slot == number)
            if _order_counts(slot):
                free[mine] = False
                continue
            for simd in words.touched(slot):
                ks = self.on_array.order[words.struck(self.on_array, slot, simd), simd]
                free[np.ix_(mine, ks)] = False
        wrong = (self.sums(rows, sample) - self._healthy(rows, sample)) * rows.direction[:, None]
        half = 1 << (self.on_array.spec.weight_bits - 1)
        limits, codes = (-half, half - 1), self.numbers(sample)
        return replace(rows, weights=reconstruct.improve(rows.weights, wrong, codes, free, limits))

    def numbers(self, sample: Sample) -> IntArray:
        """The activation codes as numbers."""
        return (sample.codes.view(np.int8) if self._signed else sample.codes).astype(np.int64)


def _order_counts(slot: SlotClass) -> bool:
    """Whether partial sums meet faults: a register or a link of the chain."""
    faults = slot.faults
    drawn = any(t.stage >= STAGES["psum"] and t.limit > 0 for t in faults.transients)
    return faults.foot.active or faults.psum.active or drawn


def costs_of(problem: Problem, index: int, error: FloatArray) -> FloatArray:
    """Costs [R, classes] of errors: weighed by how much a row moves the sums of the next layer.

    Of slots that do alike the healthy ones are taken.
    """
    layer, weight = problem.network.layers[index], np.ones(len(error))
    if layer.output is not None:
        after = problem.network.layers[index + 1].weights.astype(np.float64)
        share = after / np.maximum(np.abs(after).sum(axis=1, keepdims=True), 1.0)
        # the channel runs fastest in K
        weight = (share.reshape(len(after), -1, layer.rows) ** 2).sum(axis=(0, 1))
        weight /= max(weight.mean(), np.finfo(float).tiny)
    return error * weight[:, None] + TIE * (np.arange(error.shape[1]) != HEALTHY)
