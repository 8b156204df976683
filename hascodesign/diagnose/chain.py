"""The logic faults of one PE from its answers, dataflow `ws`.

A PE is a chain of cells, a multiplier and an adder each: q = F(q + m), with faults in F and in m;
at its foot acc = F_acc(acc + q). What cells up to s hand on is a constant where none of them is
driven, and what the cells behind them make of that is known once they are. So the search goes from
the foot up: vectors in which s is the first cell driven tell what faults cell s has (cells.py), and
what the cells before it hand on when they are not driven. Of all partial explanations the one with
the fewest faults is followed first.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, count

import numpy as np

from hascodesign.contract.array import SiteMasks, generator, wrap
from hascodesign.contract.types import ArraySpec, BoolArray, Fault, IntArray, Kind
from hascodesign.diagnose.cells import Cell, CellSearch, Driven, Foot, Register, register_faults
from hascodesign.diagnose.entries import MOST_EQUIVALENTS, Found
from hascodesign.diagnose.lanes import COMPLETE, Catalogue
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.moves import Moves
from hascodesign.diagnose.vectors import Group

DEEPEST = 6  # faults of one cell
MOST_STEPS = 3000  # cells that are explained with a number of faults, in the search for one PE
DEEP = 10  # steps that one counts for with more faults than are tried in every combination
AFTER = 60  # of them once an explanation is there, for others of as many faults
FOOT = 3  # faults of the accumulator
FRESH = ((1, 256), (9, 64))  # steps and vectors by which two explanations must agree


class ChainShared:
    """What all PEs of an array share: the vectors by the first cell that they drive.

    Parameters
    ----------
    array : the array.
    groups : the logic's vectors.
    seed : draws the fresh vectors by which explanations are held to one another.
    """

    def __init__(self, array: ArraySpec, groups: Sequence[Group], seed: int) -> None:
        self.array = array
        self.groups = groups
        self.full = (1 << array.acc_bits) - 1
        ones = sorted((g for g in groups if g.steps == 1), key=lambda g: g.signed)
        self.zeros = [(g.steps, g.signed, g.answers[: g.zeros]) for g in groups if g.zeros]
        words, codes = (
            np.concatenate([getattr(g, name)[g.of_lane(0), 0, 0] for g in ones])
            for name in ("words", "codes")
        )
        signed = np.repeat([g.signed for g in ones], [g.alone for g in ones])
        self._operands = (words, codes, signed)
        self.alone = [
            Driven.of([(g, np.arange(g.of_lane(s).start, g.of_lane(s).stop)) for g in ones])
            for s in range(array.simd)
        ]
        self.together = [self._together(lane) for lane in range(array.simd)]
        nothing: dict[int, list[tuple[Group, IntArray]]] = {}
        for group in groups:
            if group.zeros:
                nothing.setdefault(group.steps, []).append((group, np.arange(group.zeros)))
        self.vectors = [
            [alone, *together] for alone, together in zip(self.alone, self.together, strict=True)
        ] + [[Driven.of(held) for held in nothing.values()]]
        self._catalogues: dict[tuple[int, int], Catalogue] = {}
        self.fresh = list(self._fresh(generator(seed, "fresh vectors")))

    def _together(self, lane: int) -> list[Driven]:
        """Vectors of several cells of which this is the first driven, by their steps."""
        found: dict[int, list[tuple[Group, IntArray]]] = {}
        for group in self.groups:
            mixed = np.arange(group.zeros + self.array.simd * group.alone, len(group.words))
            driven = ((group.words[mixed] != 0) | (group.codes[mixed] != 0)).any(axis=1)
            first = np.where(driven.any(axis=1), driven.argmax(axis=1), self.array.simd - 1)
            if len(chosen := mixed[first == lane]):
                found.setdefault(group.steps, []).append((group, chosen))
        return [Driven.of(held) for held in found.values()]

    def catalogue(self, before: SiteMasks | None, lane: int) -> Catalogue:
        """Faults of one multiplier, given what it meets as activations."""
        key = (-1, 0) if before is None else (int(before.and_[lane]), int(before.xor[lane]))
        if key == ((1 << self.array.act_bits) - 1, 0):
            key = (-1, 0)
        if key not in self._catalogues:
            self._catalogues[key] = Catalogue(self.array, *self._operands, key, complete=0)
        return self._catalogues[key]

    def _fresh(self, rng: np.random.Generator) -> Iterator[tuple[IntArray, IntArray, bool]]:
        spec = self.array
        half, top = 1 << (spec.weight_bits - 1), 1 << (spec.act_bits - 1)
        for steps, vectors in FRESH:
            shape = (vectors, steps, spec.simd)
            for signed in (False, True):
                words, codes = rng.integers(-half, half, shape), rng.integers(0, 2 * top, shape)
                yield words, (codes ^ top) - top if signed else codes, signed


@dataclass(frozen=True, slots=True)
class Partial:
    """The foot of a PE and its last cells, explained."""

    left: int  # cells before those
    foot: Foot  # the accumulator
    cells: tuple[Cell, ...]  # the explained ones, first to last
    out: tuple[int, int]  # what the last of the cells left hands on, none of them driven
    extra: int  # faults beyond the fewest that explain a cell, over all cells
    ahead: int  # faults that what is handed on takes

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The entries."""
        return tuple(f for cell in self.cells for f in cell.faults) + self.foot.faults

    @property
    def cost(self) -> int:
        """Faults, more where it is less likely."""
        return len(self.faults) + self.extra

    def written(self) -> Iterator[tuple[Fault, ...]]:
        """The entries, and others with one cell's written otherwise."""
        yield self.faults
        for cell in self.cells:
            rest = tuple(fault for fault in self.faults if fault not in cell.faults)
            yield from (rest + alike for alike in cell.alike)


@dataclass(frozen=True, slots=True)
class Task:
    """The next cell of a partial explanation, to be explained with a number of faults."""

    partial: Partial
    faults: int = 0
    fewest: int | None = None  # with which it was
    search: CellSearch | None = None

    def cost(self, fewest: Sequence[int]) -> int:
        """Faults that an explanation takes, more where it is less likely.

        ``fewest`` [S] are those that each cell is expected to take at least.
        """
        deep = max(0, self.faults - COMPLETE)  # it takes long
        *rest, own = (0, *fewest[: self.partial.left])
        left = max(max(self.faults, own) + sum(rest), self.partial.ahead)
        return self.partial.cost + left + self.extra + deep

    @property
    def extra(self) -> int:
        """Faults beyond the fewest that explain the cell."""
        return 0 if self.fewest is None else self.faults - self.fewest


class _Queue:
    """Tasks by cost, those that are further first; an integer: feet of so many faults.

    Parameters
    ----------
    cells : S.
    """

    def __init__(self, cells: int) -> None:
        self.heap: list[tuple[int, int, int, Task | int]] = []
        self._fewest: dict[int, int] = {}  # faults that a cell was explained with
        self._cells, self._number = cells, count()

    def put(self, task: Task | int) -> None:
        heapq.heappush(self.heap, (*self._rank(task), next(self._number), task))

    def pop(self) -> tuple[int, Task | int]:
        while True:
            cost, _, _, task = heapq.heappop(self.heap)
            now, _ = self._rank(task)
            if now <= cost:
                return cost, task
            self.put(task)  # more is known since

    def learn(self, lane: int, faults: int) -> None:
        """A cell was explained with so many faults, the fewest that explain it there."""
        self._fewest[lane] = min(self._fewest.get(lane, faults), faults)

    def forget(self) -> None:
        """Expect nothing of any cell."""
        self._fewest = dict.fromkeys(range(self._cells), 0)
        self.heap = [(*self._rank(task), number, task) for _, _, number, task in self.heap]
        heapq.heapify(self.heap)

    def _rank(self, task: Task | int) -> tuple[int, int]:
        fewest = [self._fewest.get(lane, 0) for lane in range(self._cells)]
        if isinstance(task, int):
            return task + sum(fewest), self._cells + 1
        return task.cost(fewest), task.partial.left


class ChainSearch:
    """The search for the logic faults of one PE.

    Parameters
    ----------
    shared : the array's.
    answers : [logic answers] accumulators.
    clean : [logic answers] whether no faulty word of the memory is met.
    before : what the PEs before it have made of the activations.
    """

    def __init__(
        self, shared: ChainShared, answers: IntArray, clean: BoolArray, before: SiteMasks | None
    ) -> None:
        self.shared, self.array = shared, shared.array
        self.answers, self.clean, self.before = answers, clean, before
        self.moves = Moves(self.array, shared.vectors, answers, clean)

    def residual(self, faults: Sequence[Fault]) -> int:
        """Clean answers that a PE of these faults would not give."""
        model = PeModel(self.array, faults, self.before)
        return sum(
            int(
                (
                    (model.accumulate(g.words, g.codes, g.signed) != self.answers[g.answers])
                    & self.clean[g.answers]
                ).sum()
            )
            for g in self.shared.groups
        )

    def solve(self) -> Found:
        """Faults, or none with the residual of the healthy PE."""
        healthy = self.residual(())
        if not healthy:
            return Found((), 0)
        dead = (Fault(0, "dead"),)
        if not self.residual(dead):
            return Found(dead, 0)
        found = list(self._explanations())
        if not found or not self._alike(found):
            return Found((), healthy)
        found.sort(key=lambda faults: sum(fault.site == "act" for fault in faults))
        faults = self._pruned(found[0])
        others = found[1 : MOST_EQUIVALENTS + 1] if len(faults) == len(found[0]) else []
        return Found(faults, 0, tuple(others))

    def _pruned(self, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        for fault in faults:
            fewer = tuple(other for other in faults if other != fault)
            if not self.residual(fewer):
                faults = fewer
        return faults

    def _alike(self, found: Sequence[tuple[Fault, ...]]) -> bool:
        """Whether all explanations answer fresh vectors the same."""
        models = [PeModel(self.array, faults, self.before) for faults in found]
        return all(
            (model.accumulate(*fresh) == models[0].accumulate(*fresh)).all()
            for fresh in self.shared.fresh
            for model in models[1:]
        )

    def _explanations(self) -> Iterator[tuple[Fault, ...]]:
        """Faults that give every clean answer, of the lowest cost."""
        queue = _Queue(self.array.simd)
        queue.put(0)
        found: set[frozenset[Fault]] = set()
        best, budget = None, MOST_STEPS
        while queue.heap and budget > 0:
            cost, task = queue.pop()
            if best is not None and cost > best:
                return
            if isinstance(task, int):
                for foot in self._feet(task):
                    queue.put(Task(foot))
                if task < FOOT:
                    queue.put(task + 1)
            elif task.partial.left:
                budget -= DEEP if task.faults > COMPLETE else 1
                self._explain_cell(task, queue)
            elif not any(task.partial.out):
                for faults in task.partial.written():
                    if frozenset(faults) not in found and not self.residual(faults):
                        if best is None:
                            best, budget = cost, min(budget, AFTER)
                            queue.forget()
                        yield faults
                    found.add(frozenset(faults))

    def _explain_cell(self, task: Task, queue: _Queue) -> None:
        """The cells that explain with so many faults, and the task with one fault more."""
        partial = task.partial
        search = task.search or self._cell_search(partial)
        fits, alone = search.fits(task.faults)
        fewest = task.faults if task.fewest is None and fits else task.fewest
        if fewest is not None:
            queue.learn(partial.left - 1, fewest)
        task = Task(partial, task.faults, fewest, search)
        for fit in fits:
            cells = (fit.cell, *partial.cells)
            queue.put(Task(self._explained(task, cells, partial.foot, fit.out)))
        moved = self.moves.of(partial.cells, partial.foot, alone) if not task.extra else ()
        for cells, foot, out in moved:
            queue.put(Task(self._explained(task, cells, foot, out)))
        if task.faults < DEEPEST:
            queue.put(Task(partial, task.faults + 1, fewest, search))

    def _explained(
        self, task: Task, cells: tuple[Cell, ...], foot: Foot, out: tuple[int, int]
    ) -> Partial:
        partial = task.partial
        extra = partial.extra + task.extra
        return Partial(partial.left - 1, foot, cells, out, extra, self._terms(out))

    def _cell_search(self, partial: Partial) -> CellSearch:
        lane = partial.left - 1
        return CellSearch(
            lane,
            self.shared.catalogue(self.before, lane),
            self.shared.vectors[lane],
            partial.cells,
            partial.foot.register,
            partial.out,
            self.answers,
            self.clean,
        )

    def _feet(self, faults: int) -> Iterator[Partial]:
        """So many faults of the accumulator that the answers to nothing but 0 allow."""
        seen = self.answers[self.clean]
        ones = int(np.bitwise_and.reduce(seen)) & self.shared.full
        zeros = ~int(np.bitwise_or.reduce(seen)) & self.shared.full
        came = self._first_zeros()
        if came is None:
            return
        singles = [
            (bit, kind, hides)
            for bit, kind, hides in register_faults(came, self.array.acc_bits)
            if kind == "flip" or (ones | zeros) >> bit & 1
        ]
        for chosen in combinations(singles, faults):
            if len({bit for bit, _, _ in chosen}) == faults:
                foot = self._foot(chosen, came)
                if foot is not None:
                    yield foot

    def _foot(
        self, chosen: Sequence[tuple[int, Kind, tuple[int, int]]], came: tuple[int, int]
    ) -> Partial | None:
        faults = tuple(Fault(0, kind, "acc", None, bit) for bit, kind, _ in chosen)
        register = Register.of(faults, self.shared.full)
        keep, flip = register.keep, register.flip
        hidden = [sum(hides[signed] << bit for bit, _, hides in chosen) for signed in (0, 1)]
        out = tuple(((one ^ flip) & keep) | hide for one, hide in zip(came, hidden, strict=True))
        for steps, signed, places in self.shared.zeros:
            acc = 0
            for _ in range(steps):
                acc = ((acc + out[signed]) & keep) ^ flip
            told = self.answers[places][self.clean[places]]
            if (wrap(told, self.array.acc_bits, False) != acc).any():
                return None
        made = (out[0], out[1])
        foot = Foot(register, faults)
        # an inverted bit that meets one from the cells shows nothing of either at 0
        extra = (out[0] & flip & keep).bit_count()
        return Partial(self.array.simd, foot, (), made, extra, self._terms(made))

    def _terms(self, out: tuple[int, int]) -> int:
        """Powers of two that make up a constant, added or taken off: about a fault for each."""
        return max(
            min((one ^ 3 * one).bit_count() for one in (value, self.shared.full + 1 - value))
            for value in out
        )

    def _first_zeros(self) -> tuple[int, int] | None:
        """A clean answer to one step of 0, unsigned and signed; None where one is missing."""
        found: dict[bool, int] = {}
        for steps, signed, places in self.shared.zeros:
            clean = places[self.clean[places]]
            if steps == 1 and len(clean):
                found[signed] = int(self.answers[clean[0]]) & self.shared.full
        return (found[False], found[True]) if len(found) == 2 else None
