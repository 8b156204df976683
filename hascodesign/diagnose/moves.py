"""Faults of a partial sum that may as well sit on a cell further down the chain, dataflow `ws`.

A cell that is driven alone, with a constant coming to it, may never change the upper bits of its
sum: their faults show only once cells before it are driven, and look like faults of those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

import numpy as np

from hascodesign.contract.types import ArraySpec, BoolArray, Fault, IntArray
from hascodesign.diagnose.cells import Cell, Driven, Fit, Foot, Register, products

MOST_SEEDS = 48  # candidates of a cell whose faults are moved
MOST_MOVES = 512  # ways to move those of one


@dataclass(frozen=True, slots=True)
class Chain:
    """Cells, first to last, and the accumulator."""

    cells: tuple[Cell, ...]
    foot: Foot

    @property
    def registers(self) -> tuple[Register, ...]:
        """Of every cell, then the accumulator."""
        return (*(cell.register for cell in self.cells), self.foot.register)

    def struck(self, place: int, fault: Fault, full: int) -> Chain:
        """With one fault more on one of the registers."""
        if place == len(self.cells):
            faults = (*self.foot.faults, fault)
            return replace(self, foot=Foot(Register.of(faults, full), faults))
        faults = (*self.cells[place].faults, fault)
        register = Register.of(faults, full)
        cell = replace(self.cells[place], register=register, faults=faults, alike=())
        return replace(self, cells=(*self.cells[:place], cell, *self.cells[place + 1 :]))


class Moves:
    """Explanations of a cell whose faults of upper bits sit on cells behind it.

    Parameters
    ----------
    array : the array.
    vectors : by the first cell that is driven, then those that drive none.
    answers : [logic answers] accumulators.
    clean : [logic answers] whether no faulty word is met.
    """

    def __init__(
        self,
        array: ArraySpec,
        vectors: Sequence[Sequence[Driven]],
        answers: IntArray,
        clean: BoolArray,
    ) -> None:
        self.array, self.vectors = array, vectors
        self.full = (1 << array.acc_bits) - 1
        self.answers, self.clean = answers, clean
        self._held: dict[tuple[int, int, int], tuple[Cell, IntArray]] = {}

    def of(
        self, cells: tuple[Cell, ...], foot: Foot, fits: Sequence[Fit]
    ) -> Iterator[tuple[tuple[Cell, ...], Foot, tuple[int, int]]]:
        """The explanations of the cell before ``cells`` that ``fits`` lead to."""
        seeds = [(fit, upper) for fit in fits if (upper := self._upper(fit.cell))]
        for fit, upper in seeds[:MOST_SEEDS]:
            chain = (_without(fit.cell, upper, self.full), *cells)
            places = product(range(len(chain) + 1), repeat=len(upper))
            moved = [
                made
                for at in islice(places, 1, MOST_MOVES)  # the first leaves all where they are
                if (made := self._moved(Chain(chain, foot), upper, at)) is not None
            ]
            for made in self._fitting(chain, moved, fit.out):
                yield made.cells, made.foot, fit.out

    def _upper(self, cell: Cell) -> tuple[Fault, ...]:
        """Faults of bits that a product changes with its sign only."""
        low = self.array.product_bits - 1
        return tuple(f for f in cell.faults if f.site == "psum" and (f.bit or 0) >= low)

    def _moved(self, chain: Chain, faults: Sequence[Fault], at: Sequence[int]) -> Chain | None:
        """The chain with the faults on these of its registers; None where a bit has one."""
        lane = self.array.simd - len(chain.cells)
        for fault, place in zip(faults, at, strict=True):
            if place == len(chain.cells):
                new = replace(fault, site="acc", simd=None)
                own = chain.foot.faults
            else:
                new = replace(fault, simd=lane + place)
                own = chain.cells[place].faults
            if any((f.site, f.bit) == (new.site, new.bit) for f in own):
                return None
            chain = chain.struck(place, new, self.full)
        return chain

    def _fitting(
        self, cells: Sequence[Cell], moved: Sequence[Chain], out: tuple[int, int]
    ) -> Iterator[Chain]:
        """Those that answer all vectors in which the first of the cells or a later one is first."""
        lane = self.array.simd - len(cells)
        keep, flip = (
            np.array([[getattr(r, name) for r in made.registers] for made in moved])
            for name in ("keep", "flip")
        )
        left = np.arange(len(moved))
        for first in range(lane, self.array.simd + 1):
            for number, driven in enumerate(self.vectors[first]):
                if not len(left):
                    return
                parts = [
                    self._products(cell, at, (first, number), driven)
                    for at, cell in enumerate(cells, start=lane)
                ]
                left = left[self._answered(parts, keep[left], flip[left], out, driven)]
        yield from (moved[place] for place in left.tolist())

    def _products(self, cell: Cell, lane: int, place: tuple[int, int], driven: Driven) -> IntArray:
        key = (id(cell.masks), *place)
        if key not in self._held:
            self._held[key] = cell, products(self.array, cell, driven, lane)
        return self._held[key][1]

    def _answered(
        self,
        parts: Sequence[IntArray],
        keep: IntArray,
        flip: IntArray,
        out: tuple[int, int],
        driven: Driven,
    ) -> BoolArray:
        """[n] whether registers [n, cells and foot] answer the vectors as they came."""
        start = np.where(driven.signed, out[1], out[0])
        acc = np.zeros((len(keep), len(start)), dtype=np.int64)
        for step in range(driven.steps):
            q = np.broadcast_to(start, acc.shape)
            for at, part in enumerate(parts):
                q = ((q + part[:, step]) & keep[:, at, None]) ^ flip[:, at, None]
            acc = ((acc + q) & keep[:, -1, None]) ^ flip[:, -1, None]
        unlike = acc != self.answers[driven.places] & self.full
        return np.asarray(~(unlike & self.clean[driven.places]).any(axis=1))


def _without(cell: Cell, faults: Sequence[Fault], full: int) -> Cell:
    rest = tuple(fault for fault in cell.faults if fault not in faults)
    return replace(cell, register=Register.of(rest, full), faults=rest, alike=())
