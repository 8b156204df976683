"""The rows of one layer written for its slots: what is left of each row's error on each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import (
    BoolArray,
    FaultProfile,
    FloatArray,
    IntArray,
    MultiplyLayer,
    frozen,
)
from hascodesign.engine.classes import HEALTHY, SlotClass
from hascodesign.engine.layer import LayerOnArray
from hascodesign.engine.planes import as_thresholds
from hascodesign.engine.slots import STAGES, PeFaults
from hascodesign.schedule.fitting import reconstruct, staircase, words
from hascodesign.schedule.fitting.moves import Moves

WALK = 6e8  # products walked for one set of candidates: bounds how many columns they see


@dataclass(frozen=True, slots=True)
class Sample:
    """Columns of a layer: what it is fed on the faulty array, and what is wanted of it."""

    codes: NDArray[np.uint8]  # X [K, N]
    counters: IntArray  # [N] column counters of the transient draws
    sums: IntArray  # [R, N] ACC + bias of the network as trained, without faults
    wanted: IntArray  # [R, N] their codes; of the last layer the sums

    def first(self, count: int) -> Sample:
        """The first so many columns."""
        parts = (self.codes[:, :count], self.counters[:count])
        return Sample(*parts, self.sums[:, :count], self.wanted[:, :count])


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows as they are written."""

    weights: IntArray  # [n, K]
    bias: IntArray  # [n]
    values: IntArray  # [n, L] thresholds times the direction: ascending
    direction: IntArray  # [n] 1 ascending, -1 descending
    error: FloatArray  # [n] mean squared error of the codes on the columns fitted to

    def at(self, places: IntArray) -> Rows:
        """The rows at some places."""
        return Rows(
            self.weights[places],
            self.bias[places],
            self.values[places],
            self.direction[places],
            self.error[places],
        )

    def better(self, other: Rows, where: BoolArray) -> Rows:
        """Rows of ``other`` where it is said so."""
        column = where[:, None]
        return Rows(
            np.where(column, other.weights, self.weights),
            np.where(where, other.bias, self.bias),
            np.where(column, other.values, self.values),
            np.where(where, other.direction, self.direction),
            np.where(where, other.error, self.error),
        )


@dataclass(frozen=True, slots=True)
class OnClasses:
    """Every row written for every class of slots."""

    rows: Rows  # [classes * R], class by class
    error: FloatArray  # [R, classes]


class LayerWriter:
    """Writes the rows of one layer for the slots of a faulty array.

    Parameters
    ----------
    profile : a profile that has been checked.
    faults : ``pe_faults`` of it.
    layer : the layer as trained.
    passes, base : of the layer on the array.
    moves : what may be done to a row.
    """

    def __init__(
        self,
        profile: FaultProfile,
        faults: tuple[PeFaults, ...],
        layer: MultiplyLayer,
        *,
        passes: int,
        base: int,
        moves: Moves,
    ) -> None:
        self.layer, self.moves = layer, moves
        self.output = as_thresholds(layer)
        self.on_array = LayerOnArray(
            profile, faults, layer, passes=passes, base=base, layer_index=layer.index
        )

    def array_of(self, weights: IntArray, taken: IntArray | None = None) -> LayerOnArray:
        """The layer with other rows on the array; ``taken`` as LayerOnArray takes it."""
        return self.on_array.with_layer(replace(self.layer, weights=frozen(weights)), taken)

    @property
    def lowest(self) -> int:
        """Code below all thresholds."""
        return 0 if self.output is None else self.output.lowest

    def trained(self) -> Rows:
        """The rows as trained."""
        layer, rows = self.layer, self.layer.rows
        values, direction = np.zeros((rows, 0), dtype=np.int64), np.ones(rows, dtype=np.int64)
        if self.output is not None:
            direction = np.where(self.output.descending, -1, 1)
            values = self.output.values * direction[:, None]
        return Rows(layer.weights, layer.bias, values, direction, np.zeros(rows))

    # ------------------------------------------------------------------------------- classes

    def on_classes(self, sample: Sample) -> OnClasses:
        """Every row written for every class of slots, and what is left of its error there."""
        classes, rows = self.on_array.classes, self.layer.rows
        drafts: list[tuple[int, Rows, BoolArray]] = []
        seen = words.histograms(sample.codes.astype(np.int64), self.on_array.spec, self._signed)
        for number, slot in enumerate(classes):
            drafts += [(number, *draft) for draft in self._drafts(number, slot, seen)]
        walked = sum(len(classes[n].walked) for n, *_ in drafts) * rows * len(self.on_array.order)
        sample = sample.first(max(128, int(WALK / max(walked, 1))))
        numbers = np.repeat([number for number, *_ in drafts], rows)
        fitted = self.fit(_stack([draft for _, draft, _ in drafts]), numbers, sample)
        allowed = np.concatenate([legal for *_, legal in drafts])
        left = np.where(allowed, fitted.error, np.inf).reshape(len(drafts), rows)
        best = np.zeros((len(classes), rows), dtype=np.int64)
        for number in range(len(classes)):
            mine = [i for i, (one, *_) in enumerate(drafts) if one == number]
            best[number] = np.array(mine)[np.argmin(left[mine], axis=0)]
        places = (best * rows + np.arange(rows)).reshape(-1)
        chosen = fitted.at(places)
        return OnClasses(chosen, chosen.error.reshape(len(classes), rows).T)

    @property
    def _signed(self) -> bool:
        return self.layer.in_signed

    def _drafts(
        self, number: int, slot: SlotClass, seen: words.Histograms
    ) -> list[tuple[Rows, BoolArray]]:
        """Rows with sign and words chosen for one class, and which of them may be so."""
        plain = self.trained()
        legal = np.ones(len(plain.bias), dtype=np.bool_)
        if number == HEALTHY:
            return [(plain, legal)]
        signs: list[tuple[Rows, BoolArray]] = [(plain, legal)]
        if self.moves.sign and self._reversible:
            low = -(1 << (self.on_array.spec.weight_bits - 1))
            # the least word has no negative: such a row is not taken, but must be a row
            negated = np.minimum(-plain.weights, -low - 1)
            turned = replace_rows(plain, negated, -plain.bias, -plain.direction)
            may = np.asarray((plain.weights > low).all(axis=1), dtype=np.bool_)
            signs.append((turned, may))
        if not (self.moves.words and words.touched(slot)):
            return signs
        chosen = [words.choose(self.on_array, slot, one.weights, seen) for one, _ in signs]
        drafts = [
            (replace_rows(one, new, one.bias, one.direction), may)
            for (one, may), (new, _) in zip(signs, chosen, strict=True)
        ]
        if len(drafts) == 1 or _order_counts(slot):
            return drafts  # what the register makes of either sign has to be seen
        turn = (chosen[1][1] < chosen[0][1]) & signs[1][1]
        return [(drafts[0][0].better(drafts[1][0], turn), legal)]

    @property
    def _reversible(self) -> bool:
        return self.output is not None

    # ---------------------------------------------------------------------------------- fits

    def sums(self, rows: Rows, classes: IntArray, sample: Sample) -> IntArray:
        """ACC + bias [n, N] of rows on slots of some classes, times their direction."""
        on_array = self.array_of(rows.weights)
        every = np.arange(len(classes))
        acc = on_array.accumulate(every, classes, sample.codes, sample.counters)
        return (acc.astype(np.int64) + rows.bias[:, None]) * rows.direction[:, None]

    def fit(self, rows: Rows, classes: IntArray, sample: Sample) -> Rows:
        """The rows, n a whole number of times R, with their constants taken in."""
        times = len(classes) // self.layer.rows
        sums = self.sums(rows, classes, sample)
        wanted = np.tile(sample.wanted, (times, 1))
        upward = np.tile(sample.sums * self.trained().direction[:, None], (times, 1))
        shift = np.rint((sums - upward).mean(axis=1)).astype(np.int64)
        if self.output is None:
            if not self.moves.constant:
                shift[:] = 0
            left = ((sums - shift[:, None] - wanted) ** 2).mean(axis=1)
            return replace(rows, bias=rows.bias - shift, error=left)
        values = rows.values
        if self.moves.constant or self.moves.thresholds:
            values = values + shift[:, None]
        if self.moves.thresholds:
            values, left = staircase.fit(sums, wanted, values, self.lowest)
        else:
            left = staircase.error(sums, wanted, values, self.lowest)
        return replace(rows, values=values, error=left)

    def error(self, rows: Rows, classes: IntArray, sample: Sample) -> FloatArray:
        """Mean squared error [R] of the codes that rows as written give."""
        sums = self.sums(rows, classes, sample)
        if self.output is None:
            return np.asarray(((sums - sample.wanted) ** 2).mean(axis=1))
        return staircase.error(sums, sample.wanted, rows.values, self.lowest)

    def reconstructed(self, rows: Rows, classes: IntArray, sample: Sample) -> Rows:
        """The rows with the words of healthy multipliers moved; not yet fitted."""
        spec, on_array = self.on_array.spec, self.on_array
        free = np.ones(rows.weights.shape, dtype=np.bool_)
        for number in np.unique(classes):
            slot, mine = on_array.classes[number], np.flatnonzero(classes == number)
            if _order_counts(slot):
                free[mine] = False
                continue
            for simd in words.touched(slot):
                ks = on_array.order[:, simd]
                free[np.ix_(mine, ks[ks >= 0])] = False
        upward = sample.sums * self.trained().direction[:, None]
        wrong = (self.sums(rows, classes, sample) - upward) * rows.direction[:, None]
        half = 1 << (spec.weight_bits - 1)
        codes = arithmetic_codes(sample.codes, self._signed)
        between = reconstruct.covariances(codes)
        new = reconstruct.improve(rows.weights, wrong, codes, between, free, (-half, half - 1))
        return replace_rows(rows, new, rows.bias, rows.direction)


def arithmetic_codes(codes: NDArray[np.uint8], signed: bool) -> IntArray:
    """Activation codes as numbers."""
    return (codes.view(np.int8) if signed else codes).astype(np.int64)


def replace_rows(rows: Rows, weights: IntArray, bias: IntArray, direction: IntArray) -> Rows:
    """Rows with other weights; thresholds, times their direction, as they are."""
    return Rows(weights, bias, rows.values, direction, rows.error)


def _stack(parts: Sequence[Rows]) -> Rows:
    return Rows(
        np.concatenate([part.weights for part in parts]),
        np.concatenate([part.bias for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.direction for part in parts]),
        np.concatenate([part.error for part in parts]),
    )


def _order_counts(slot: SlotClass) -> bool:
    """Whether partial sums meet faults: a register or a link of the chain."""
    faults = slot.faults
    drawn = any(t.stage >= STAGES["psum"] and t.limit > 0 for t in faults.transients)
    return faults.foot.active or faults.psum.active or drawn
