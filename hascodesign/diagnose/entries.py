"""A PE's function as entries of a profile, and which other entries are the same function.

A product bit that is stuck has the same D at 0 and at 1: which it is follows from Z, to which the
constants of all multipliers add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product

from hascodesign.contract.types import Fault, Kind
from hascodesign.diagnose.accumulator import AccumulatorSearch, State
from hascodesign.diagnose.evidence import Evidence
from hascodesign.diagnose.lanes import MORE, Level

SPLITS = 1 << 14  # sums of constants that are carried from multiplier to multiplier
MOST_EQUIVALENTS = 16


@dataclass(frozen=True, slots=True)
class Found:
    """What explains a PE's answers; no faults and a residual where nothing does."""

    faults: tuple[Fault, ...]
    residual: int  # answers that they leave unexplained
    equivalents: tuple[tuple[Fault, ...], ...] = ()  # other entries, the same function


@dataclass(frozen=True, slots=True)
class Solution:
    """A candidate for every multiplier."""

    state: State
    lanes: tuple[Level, ...]  # [S] of one candidate each
    wrong: int


class Entries:
    """Entries for one PE's solutions."""

    def __init__(self, evidence: Evidence, accumulator: AccumulatorSearch) -> None:
        self.evidence, self.accumulator = evidence, accumulator
        self.array, self.catalogue = evidence.array, evidence.shared.catalogue

    def written(self, solution: Solution) -> Found | None:
        """Entries that have the solution's function, the fewest that the answers need."""
        for more in (0, MORE):
            for state in [solution.state, *self.accumulator.hidden(solution.state)]:
                psum = tuple(self._psum(state))
                splits = self._splits(state, solution.lanes, more)
                if splits and not self.evidence.residual(psum + splits[0]):
                    same = [psum + s for s in splits[1:] if len(s) == len(splits[0])]
                    faults = self.pruned(psum + splits[0])
                    fewer = len(faults) < len(psum + splits[0])
                    return Found(faults, 0, () if fewer else tuple(same))
        return None

    def pruned(self, faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
        """The entries without those that no answer needs."""
        for fault in faults:
            fewer = tuple(other for other in faults if other != fault)
            if not self.evidence.residual(fewer):
                faults = fewer
        return faults

    def _psum(self, state: State) -> Iterator[Fault]:
        for bit in range(self.array.acc_bits):
            keep, flip = state.keep >> bit & 1, state.flip >> bit & 1
            if not keep or flip:
                kind: Kind = "flip" if keep else "sa1" if flip else "sa0"
                yield Fault(0, kind, "psum", None, bit)

    def _splits(self, state: State, lanes: Sequence[Level], more: int) -> list[tuple[Fault, ...]]:
        """Entries of all multipliers whose constants add up to Z, the fewest first."""
        full = self.evidence.shared.full
        sums: dict[tuple[int, int], list[tuple[Fault, ...]]] = {(0, 0): [()]}
        for lane, level in enumerate(lanes):
            ways = self._constants(lane, level, more)
            grown: dict[tuple[int, int], list[tuple[Fault, ...]]] = {}
            for (plain, signed), before in sums.items():
                for (add, signed_add), own in ways:
                    held = grown.setdefault(
                        ((plain + add) & full, (signed + signed_add) & full), []
                    )
                    held += [faults + own for faults in before]
            for held in grown.values():
                held.sort(key=len)
                del held[MOST_EQUIVALENTS + 1 :]
            sums = dict(islice(sorted(grown.items(), key=lambda i: len(i[1][0])), SPLITS))
        return sums.get((state.zero & full, state.signed_zero & full), [])

    def _constants(
        self, lane: int, level: Level, more: int
    ) -> list[tuple[tuple[int, int], tuple[Fault, ...]]]:
        """Each way to write one multiplier's candidate, with its m(0, 0)."""
        found = []
        for same in self._same(level, more):
            singles = [self.catalogue.singles[i] for i in same.members[0]]
            base = self.catalogue.constants(same.masks)[0]
            stuck = [s for s in singles if s.site == "product" and s.kind == "sa0"]
            for values in product((0, 1), repeat=len(stuck)):
                at_one = {s for s, value in zip(stuck, values, strict=True) if value}
                add = sum(self.catalogue.constant_of(s.bit) for s in at_one)
                faults = tuple(
                    Fault(0, "sa1" if s in at_one else s.kind, s.site, lane, s.bit) for s in singles
                )
                found.append(((int(base[0]) + add, int(base[1]) + add), faults))
        return found

    def _same(self, level: Level, more: int) -> list[Level]:
        """Candidates with the same D, of as many faults or up to ``more`` beyond; itself first."""
        depth = level.members.shape[1]
        levels = self.catalogue.levels[max(depth, 1) : depth + more + 1]
        if more:  # such as an inverted bit that another fault makes constant
            levels.append(self.catalogue.extended(level, ordered=False))
        found, own = [level], self.catalogue.everywhere(level.masks)
        for every in levels:
            equal = every.take((every.seen == level.seen[0]).all(axis=1))
            ones = (equal.take(slice(i, i + 1)) for i in range(len(equal.seen)))
            found += [one for one in ones if self.catalogue.everywhere(one.masks) == own]
        return list({frozenset(one.members[0].tolist()): one for one in found}.values())
