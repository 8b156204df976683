"""The logic faults of one PE from its answers, dataflow `os`.

A PE's function is its accumulator's faults F, each multiplier's D (lanes.py), and Z, the sum of
all constants m(0, 0): T steps give ACC = F(.. F(F(Z + sum D) + Z + sum D) ..). F and Z are found
first (accumulator.py), by what the fewest faults explain; then each multiplier by itself; then the
entries whose constants add up to Z (entries.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hascodesign.contract.array import wrap
from hascodesign.contract.types import BoolArray, Fault, IntArray
from hascodesign.diagnose.accumulator import AccumulatorSearch, State
from hascodesign.diagnose.entries import Entries, Found, Solution
from hascodesign.diagnose.evidence import Evidence
from hascodesign.diagnose.lanes import BEAM, COMPLETE, DEEPEST, MORE, Level

DEEP_STATES = 4  # states of the accumulator that are tried with more faults in a multiplier
VARIANTS = 2  # of Z's hidden bits that are followed
ALTERNATIVES = 24  # candidates of one multiplier that are kept where its vectors leave several


class LogicSearch:
    """The search for the logic faults of one PE."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.shared, self.array = evidence.shared, evidence.array
        self.catalogue = self.shared.catalogue
        self.accumulator = AccumulatorSearch(evidence)
        self.entries = Entries(evidence, self.accumulator)

    def solve(self) -> Found:
        """Faults, or none with the residual of the healthy PE."""
        healthy = self.evidence.residual(())
        if not healthy or not self.evidence.zeros_clean:
            return Found((), healthy)
        dead = (Fault(0, "dead"),)
        if not self.evidence.residual(dead):
            return Found(dead, 0)
        states: list[State] = []
        for state in self.accumulator.states():
            states.append(state)
            found = self.written_for(state, COMPLETE)
            if found is not None:
                return found
        for state in states[:DEEP_STATES]:
            found = self.written_for(state, DEEPEST)
            if found is not None:
                return found
        return Found((), healthy)

    def written_for(self, state: State, deepest: int) -> Found | None:
        """What explains all answers, given the accumulator and the faults of a multiplier."""
        solution = self.lanes(state, deepest)
        return None if solution is None or solution.wrong else self.entries.written(solution)

    def lanes(self, state: State, deepest: int) -> Solution | None:
        """A candidate for every multiplier that together explain most; None where one has none."""
        options = []
        for lane in range(self.array.simd):
            found = self.candidates(state, lane, deepest)
            if not found:
                return None
            options.append(found)
        return self.together(state, options)

    def candidates(self, state: State, lane: int, deepest: int) -> list[Level]:
        """Candidates that explain what the multiplier answers alone, the fewest faults first."""
        level = self.catalogue.levels[0]
        found = self._exact(state, lane, level)
        for depth in range(1, deepest + 1):
            if len(found.seen):
                break
            if depth < len(self.catalogue.levels):
                level = self.catalogue.levels[depth]
            else:
                ranked = np.argsort(self._differ(state, lane, level).sum(axis=1), kind="stable")
                level = self.catalogue.extended(level.take(ranked[:BEAM]), ordered=False)
            found = self._exact(state, lane, level)
        kept = _distinct([found])
        if state.keep != self.shared.full or not self.evidence.lane_clean[lane].all():
            for _ in range(MORE):  # what a stuck bit or a faulty word hides, other vectors show
                found = self.catalogue.extended(found, ordered=False)
                found = self._exact(state, lane, found).take(slice(0, ALTERNATIVES))
                kept = _distinct([*kept, found])
        return kept[:ALTERNATIVES]

    def _exact(self, state: State, lane: int, level: Level) -> Level:
        return level.take(np.flatnonzero(~self._differ(state, lane, level).any(axis=1)))

    def _differ(self, state: State, lane: int, level: Level) -> BoolArray:
        zero = state.zero_of(self.shared.lane_signed)
        target = (self.evidence.lane_answers[lane] ^ state.flip) & state.keep
        return (((level.seen + zero) & state.keep) != target) & self.evidence.lane_clean[lane]

    def together(self, state: State, options: Sequence[list[Level]]) -> Solution | None:
        """The options, chosen lane by lane, that leave the fewest answers wrong."""
        parts = [self._parts(held, lane) for lane, held in enumerate(options)]
        best: Solution | None = None
        variants = list(dict.fromkeys([state, *self.accumulator.hidden(state)]))
        first = [0] * len(parts)
        variants.sort(key=lambda v: int(self._wrong(v, parts, first, 0)[0]))
        for variant in variants[:VARIANTS]:
            chosen, wrong = self._descended(variant, parts)
            if best is None or wrong < best.wrong:
                lanes = tuple(held[i] for held, i in zip(options, chosen, strict=True))
                best = Solution(variant, lanes, wrong)
            if not wrong:
                break
        return best

    def _descended(self, state: State, parts: Sequence[list[IntArray]]) -> tuple[list[int], int]:
        """Options, one changed at a time, the one that mends most; and what stays wrong."""
        chosen = [0] * len(parts)
        wrong = int(self._wrong(state, parts, chosen, 0)[0])
        while wrong:
            steps = []
            for lane, held in enumerate(parts):
                if len(held[0]) > 1:
                    came = self._wrong(state, parts, chosen, lane)
                    steps.append((int(came.min()), lane, int(came.argmin())))
            fewest, lane, pick = min(steps, default=(wrong, 0, 0))
            if fewest >= wrong:
                break
            chosen[lane], wrong = pick, fewest
        return chosen, wrong

    def _parts(self, held: Sequence[Level], lane: int) -> list[IntArray]:
        """D [n, V, T] of one multiplier's options in each group."""
        masks = np.concatenate([level.masks for level in held])
        return [
            self.catalogue.differences(masks, g.words[..., lane], g.codes[..., lane], g.signed)
            for g in self.shared.groups
        ]

    def _wrong(
        self, state: State, parts: Sequence[list[IntArray]], chosen: Sequence[int], lane: int
    ) -> IntArray:
        """Wrong answers [n] for each option of one multiplier, the others as chosen."""
        total = np.zeros(len(parts[lane][0]), dtype=np.int64)
        for number, (group, came) in enumerate(
            zip(self.shared.groups, self.evidence.answers, strict=True)
        ):
            sums = parts[lane][number] + state.zero_of(group.signed)
            for other, choice in enumerate(chosen):
                if other != lane:
                    sums = sums + parts[other][number][choice]
            acc = np.zeros(sums.shape[:2], dtype=np.int64)
            for step in range(group.steps):
                acc = ((acc + sums[..., step]) & state.keep) ^ state.flip
            differ = wrap(acc, self.array.acc_bits) != came
            total += (differ & self.evidence.clean[number]).sum(axis=1)
        return total


def _distinct(levels: Sequence[Level]) -> list[Level]:
    """One candidate for each D, each a level of its own."""
    found: dict[bytes, Level] = {}
    for level in levels:
        for number, seen in enumerate(level.seen):
            found.setdefault(seen.tobytes(), level.take(slice(number, number + 1)))
    return list(found.values())
