"""One cell of a PE of dataflow `ws`: the faults of its multiplier and of its partial sum.

The cells behind it are known, and what those before it hand on is a constant as long as they are
not driven. With D(w, a) = m(w, a) - m(0, 0) (lanes.py) the cell hands on F(Z + D), where Z, that
constant with m(0, 0), follows from what it hands on when nothing is driven: a bit of Z behind which
F is stuck may be either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from hascodesign.contract.array import wrap
from hascodesign.contract.types import ArraySpec, BoolArray, Fault, IntArray, Kind
from hascodesign.diagnose.lanes import COMPLETE, Catalogue, Level
from hascodesign.diagnose.vectors import Group

BEAM = 100  # of the best candidates that are taken further
PARTS = (4, 12)  # vectors that are looked at first, and next
CHUNK = 1024  # candidates that are looked at together
MOST_FITS = 256  # candidates of one number of faults that are kept


@dataclass(frozen=True, slots=True)
class Driven:
    """Vectors of one number of steps."""

    words: IntArray  # [V, T, S]
    codes: IntArray  # [V, T, S]
    signed: BoolArray  # [V]
    places: IntArray  # [V] among a PE's answers

    @classmethod
    def of(cls, held: Sequence[tuple[Group, IntArray]]) -> Driven:
        """Those at the places [n] of each group."""
        return cls(
            np.concatenate([group.words[at] for group, at in held]),
            np.concatenate([group.codes[at] for group, at in held]),
            np.concatenate([np.full(len(at), group.signed) for group, at in held]),
            np.concatenate([group.answers[at] for group, at in held]),
        )

    @property
    def steps(self) -> int:
        """T."""
        return int(self.words.shape[1])


@dataclass(frozen=True, slots=True)
class Register:
    """F(v) = (v AND keep) XOR flip, of a partial sum or of the accumulator."""

    keep: int
    flip: int

    def after(self, first: Register) -> Register:
        """Both as one, with nothing between."""
        return Register(first.keep & self.keep, (first.flip & self.keep) ^ self.flip)

    @classmethod
    def of(cls, faults: Iterable[Fault], full: int) -> Register:
        """The register of a cell or foot with these faults; ``full`` has all its bits."""
        keep, flip = full, 0
        for fault in faults:
            if fault.site in ("psum", "acc") and fault.bit is not None:
                wire = 1 << fault.bit
                keep &= -1 if fault.kind == "flip" else ~wire
                flip |= 0 if fault.kind == "sa0" else wire
        return cls(keep, flip)


@dataclass(frozen=True, slots=True)
class Foot:
    """The accumulator, its faults known."""

    register: Register
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell whose faults are known."""

    masks: IntArray  # [6] keep and flip of weight, act and product
    register: Register
    constants: tuple[int, int]  # m(0, 0), unsigned and signed
    faults: tuple[Fault, ...]
    alike: tuple[tuple[Fault, ...], ...] = ()  # other entries of the same function


@dataclass(frozen=True, slots=True)
class Fit:
    """A cell that explains what it shows, and what must come to it."""

    cell: Cell
    out: tuple[int, int]  # what the cell before hands on, neither driven, unsigned and signed


@dataclass(frozen=True, slots=True)
class Sums:
    """Candidates for the partial sum with the same number of faults."""

    members: IntArray  # [n, faults] indices of the singles
    keep: IntArray  # [n]
    flip: IntArray  # [n]
    hidden: IntArray  # [n, 2] bits of Z behind which it is stuck, unsigned and signed

    def take(self, chosen: IntArray | slice) -> Sums:
        """Some of them."""
        return Sums(self.members[chosen], self.keep[chosen], self.flip[chosen], self.hidden[chosen])


@dataclass(frozen=True, slots=True)
class Candidate:
    """Faults of one cell that explain what it shows alone."""

    members: IntArray
    masks: IntArray  # [6], product bits that are stuck at 0
    seen: bytes  # D of the vectors that drive it alone
    sums: Sums  # one
    zero: tuple[int, int]  # Z, unsigned and signed
    fits: bool  # what it shows together with others, too


def register_faults(out: tuple[int, int], bits: int) -> Iterator[tuple[int, Kind, tuple[int, int]]]:
    """Each fault of a register that hands on ``out``: bit, kind, and what it hides.

    A bit that is stuck hides whether the one behind it is 1, unsigned and signed.
    """
    hides = [(0, 0), (1, 1)] if out[0] == out[1] else [(0, 0), (0, 1), (1, 0), (1, 1)]
    for bit in range(bits):
        yield bit, "flip", (0, 0)
        one, other = (value >> bit & 1 for value in out)
        if one == other:
            yield from ((bit, "sa1" if one else "sa0", hidden) for hidden in hides)


def products(array: ArraySpec, cell: Cell, driven: Driven, lane: int) -> IntArray:
    """Products m [V, T] of a cell that is known."""
    words, codes = driven.words[..., lane], driven.codes[..., lane]
    keep_w, flip_w, keep_a, flip_a, keep_m, flip_m = cell.masks.tolist()
    word = wrap((words & keep_w) ^ flip_w, array.weight_bits)
    code = (codes & keep_a) ^ flip_a
    plain, signed = (wrap(code, array.act_bits, of) for of in (False, True))
    code = np.where(driven.signed[:, None], signed, plain)
    return wrap((word * code & keep_m) ^ flip_m, array.product_bits)


class CellSearch:
    """Candidates for one cell.

    Parameters
    ----------
    lane : the multiplier.
    catalogue : its faults.
    vectors : those in which it is the first that is driven; alone, then together with others.
    behind : the cells behind it, first to last.
    foot : the accumulator.
    out : what the cell hands on when neither it nor one before is driven, unsigned and signed.
    answers : [logic answers] accumulators.
    clean : [logic answers] whether no faulty word is met.
    """

    def __init__(
        self,
        lane: int,
        catalogue: Catalogue,
        vectors: Sequence[Driven],
        behind: Sequence[Cell],
        foot: Register,
        out: tuple[int, int],
        answers: IntArray,
        clean: BoolArray,
    ) -> None:
        self.array, self.lane, self.catalogue = catalogue.array, lane, catalogue
        self.full = (1 << self.array.acc_bits) - 1
        self.alone, self.together = vectors[0], vectors[1:]
        self.behind, self.foot, self.out = behind, foot, out
        self.answers, self.clean = answers, clean
        self.signed = self.alone.signed.astype(np.int64)
        self.target = answers[self.alone.places] & self.full
        self.dirty = ~clean[self.alone.places]
        self.singles = tuple(register_faults(self.out, self.array.acc_bits))
        self._bits = np.array([bit for bit, _, _ in self.singles])
        nothing = np.zeros((1, 2), np.int64)
        self._sums = [Sums(nothing[:, :0], np.array([self.full]), nothing[:, 0], nothing)]
        self._stages = list(self._constant_stages())
        self._ranked: dict[int, list[tuple[Level, Sums]]] = {}

    def fits(self, faults: int) -> tuple[list[Fit], list[Fit]]:
        """Cells with so many faults that explain what this one shows.

        First those that answer all vectors, then those that answer the ones in which the cell is
        driven alone.
        """
        alone: list[Candidate] = []
        for level, sums in self._blocks(faults):
            a, b = self._matching(level, sums)
            alone += self._candidates(level, sums, a[:MOST_FITS], b[:MOST_FITS])
            if len(alone) > MOST_FITS:
                break
        return self._cells([one for one in alone if one.fits]), self._cells(alone)

    # ------------------------------------------------------------------------------- candidates

    def _extended(self, sums: Sums, *, ordered: bool) -> Sums:
        """Every candidate with one fault more, on another bit."""
        count = len(self.singles)
        rows, new = np.divmod(np.arange(len(sums.keep) * count), count)
        free = (self._bits[sums.members[rows]] != self._bits[new][:, None]).all(axis=1)
        if ordered and sums.members.shape[1]:
            free &= sums.members[rows, -1] < new
        rows, new = rows[free], new[free]
        wires = 1 << self._bits
        stuck = np.array([kind != "flip" for _, kind, _ in self.singles])
        ones = np.array([kind != "sa0" for _, kind, _ in self.singles])
        hides = np.array([hidden for _, _, hidden in self.singles])
        return Sums(
            np.column_stack([sums.members[rows], new]),
            sums.keep[rows] & ~(wires * stuck)[new],
            sums.flip[rows] | (wires * ones)[new],
            sums.hidden[rows] | (wires[:, None] * hides)[new],
        )

    def _sums_of(self, faults: int) -> Sums:
        while len(self._sums) <= faults:
            self._sums.append(self._extended(self._sums[-1], ordered=True))
        return self._sums[faults]

    def _blocks(self, faults: int) -> Iterator[tuple[Level, Sums]]:
        """Candidates with so many faults: each multiplier with each partial sum of a pair."""
        if faults <= COMPLETE:
            for own in range(faults, -1, -1):
                yield self.catalogue.level(own), self._sums_of(faults - own)
            return
        for level, sums in self._best(faults - 1):
            yield self.catalogue.extended(level, ordered=False), sums
            for number in range(len(level.seen)):
                yield level.take(slice(number, number + 1)), self._extended(sums, ordered=False)

    def _best(self, faults: int) -> list[tuple[Level, Sums]]:
        """The candidates of so many faults that leave the fewest vectors wrong, by partial sum."""
        if faults not in self._ranked:
            every = list(self._blocks(faults))
            wrong = [self._wrong(level, sums) for level, sums in every]
            order = np.argsort(np.concatenate(wrong), kind="stable")[:BEAM]
            starts = np.cumsum([0, *map(len, wrong)])
            held: dict[tuple[int, int], list[int]] = {}
            for place in order.tolist():
                block = int(np.searchsorted(starts, place, side="right")) - 1
                row, column = divmod(place - int(starts[block]), len(every[block][1].keep))
                held.setdefault((block, column), []).append(row)
            self._ranked[faults] = [
                (
                    every[block][0].take(np.array(rows)),
                    every[block][1].take(slice(column, column + 1)),
                )
                for (block, column), rows in held.items()
            ]
        return self._ranked[faults]

    # ------------------------------------------------------------------- the multiplier alone

    def _zero(self, sums: Sums) -> IntArray:
        """Z [n, 2], unsigned and signed."""
        out = np.array(self.out)
        return ((out ^ sums.flip[:, None]) & sums.keep[:, None]) | sums.hidden

    def _constant_stages(self) -> Iterator[tuple[IntArray, Register]]:
        """What the cells behind do when not driven: add [2], then F; in as few as it takes."""
        add, before = np.zeros(2, dtype=np.int64), Register(self.full, 0)
        for cell in self.behind:
            if any(cell.constants):
                yield add, before
                add, before = np.array(cell.constants), cell.register
            else:
                before = cell.register.after(before)
        yield add, self.foot.after(before)

    def _unlike(self, seen: IntArray, sums: Sums, zero: IntArray, part: IntArray) -> BoolArray:
        """[n, part] which vectors are answered otherwise, of D [n, part]."""
        signed = self.signed[part]
        q = ((seen + zero[:, signed]) & sums.keep[:, None]) ^ sums.flip[:, None]
        for add, register in self._stages:
            if add.any():
                q = q + add[signed]
            q = (q & register.keep) ^ register.flip
        return (q != self.target[part]) & ~self.dirty[part]

    def _matching(self, level: Level, sums: Sums) -> tuple[IntArray, IntArray]:
        """Places of those that answer all vectors of the multiplier alone as they came."""
        a, b = np.divmod(np.arange(len(level.seen) * len(sums.keep)), len(sums.keep))
        zero = self._zero(sums)
        # all have to agree: the order, any that mixes them, takes time alone
        order = np.random.default_rng(0).permutation(len(self.target))
        for part in np.split(order, np.cumsum(PARTS)):
            seen = level.seen[a[:, None], part]
            fit = ~self._unlike(seen, sums.take(b), zero[b], part).any(axis=1)
            a, b = a[fit], b[fit]
        return a, b

    def _wrong(self, level: Level, sums: Sums) -> IntArray:
        """[candidates] vectors that are answered otherwise."""
        every, zero = np.arange(len(self.target)), self._zero(sums)
        total = np.empty(len(level.seen) * len(sums.keep), dtype=np.int64)
        for start in range(0, len(total), CHUNK):
            chosen = np.arange(start, min(start + CHUNK, len(total)))
            a, b = np.divmod(chosen, len(sums.keep))
            unlike = self._unlike(level.seen[a], sums.take(b), zero[b], every)
            total[chosen] = unlike.sum(axis=1)
        return total

    # --------------------------------------------------------------------- together with others

    def _candidates(self, level: Level, sums: Sums, a: IntArray, b: IntArray) -> list[Candidate]:
        masks, zero = level.masks[a], self._zero(sums)[b]
        fit = np.ones(len(a), dtype=np.bool_)
        for driven in self.together:
            if fit.any():
                fit[fit] = self._answered(driven, masks[fit], sums.take(b[fit]), zero[fit])
        return [
            Candidate(
                members=level.members[a[i]],
                masks=masks[i],
                seen=level.seen[a[i]].tobytes(),
                sums=sums.take(b[i : i + 1]),
                zero=(int(zero[i, 0]), int(zero[i, 1])),
                fits=bool(fit[i]),
            )
            for i in range(len(a))
        ]

    def _answered(self, driven: Driven, masks: IntArray, sums: Sums, zero: IntArray) -> BoolArray:
        steps, lane = driven.steps, self.lane
        signed = np.repeat(driven.signed, steps)
        words, codes = driven.words[..., lane], driven.codes[..., lane]
        seen = self.catalogue.differences(masks, words, codes, signed)
        seen += zero[:, driven.signed.astype(np.int64)][..., None]
        acc = np.zeros(seen.shape[:2], dtype=np.int64)
        parts = [
            products(self.array, cell, driven, at)
            for at, cell in enumerate(self.behind, start=lane + 1)
        ]
        for step in range(steps):
            q = (seen[..., step] & sums.keep[:, None]) ^ sums.flip[:, None]
            for part, cell in zip(parts, self.behind, strict=True):
                q = ((q + part[:, step]) & cell.register.keep) ^ cell.register.flip
            acc = ((acc + q) & self.foot.keep) ^ self.foot.flip
        unlike = acc != self.answers[driven.places] & self.full
        return np.asarray(~(unlike & self.clean[driven.places]).any(axis=1))

    # -------------------------------------------------------------------------------- the cells

    def _cells(self, found: Sequence[Candidate]) -> list[Fit]:
        """Each candidate with each way to write its constants, those of one function as one."""
        looks = [(one.seen, one.zero, *one.masks[2:4].tolist()) for one in found]
        often = Counter(looks)
        held: dict[object, Fit] = {}
        for one, look in zip(found, looks, strict=True):
            register = Register(int(one.sums.keep[0]), int(one.sums.flip[0]))
            own = self._own_sums(one)
            function = self.catalogue.everywhere(one.masks[None]) if often[look] > 1 else b""
            for masks, faults in self._written(one):
                base = self.catalogue.constants(masks[None])[0]
                out = tuple((z - int(c)) & self.full for z, c in zip(one.zero, base, strict=True))
                key, entries = (register, look, function, out), faults + own
                if key in held:
                    cell = held[key].cell
                    cell = replace(cell, alike=(*cell.alike, entries))
                else:
                    cell = Cell(masks, register, (int(base[0]), int(base[1])), entries)
                held[key] = Fit(cell, (out[0], out[1]))
        return list(held.values())

    def _own_sums(self, one: Candidate) -> tuple[Fault, ...]:
        singles = (self.singles[i] for i in one.sums.members[0].tolist())
        return tuple(Fault(0, kind, "psum", self.lane, bit) for bit, kind, _ in singles)

    def _written(self, one: Candidate) -> Iterator[tuple[IntArray, tuple[Fault, ...]]]:
        """Masks and entries with every stuck bit of the product at 0 and at 1."""
        singles = [self.catalogue.singles[i] for i in one.members.tolist()]
        stuck = [s for s in singles if s.site == "product" and s.kind == "sa0"]
        for values in product((0, 1), repeat=len(stuck)):
            at_one = {s for s, value in zip(stuck, values, strict=True) if value}
            masks = one.masks.copy()
            masks[5] |= sum(1 << s.bit for s in at_one)
            faults = tuple(
                Fault(0, "sa1" if s in at_one else s.kind, s.site, self.lane, s.bit)
                for s in singles
            )
            yield masks, faults
