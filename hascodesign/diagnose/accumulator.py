"""The accumulator of one PE, dataflow `os`: its faults F, and Z, the sum of all constants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from hascodesign.contract.types import BoolArray, FloatArray, IntArray
from hascodesign.diagnose.evidence import Evidence
from hascodesign.diagnose.lanes import COMPLETE

LOOKED_AT = 40  # states that are ranked a second time
STARTS = 12  # states that are followed
HIDDEN = 4  # stuck bits whose part of Z is enumerated


@dataclass(frozen=True, slots=True)
class State:
    """The accumulator: F(v) = (v AND keep) XOR flip, and the constants of the products."""

    keep: int  # bits that are not stuck
    flip: int
    zero: int  # Z in unsigned layers
    signed_zero: int  # Z in signed ones

    def zero_of(self, signed: BoolArray | bool) -> IntArray:
        """Z by signedness."""
        return np.where(signed, self.signed_zero, self.zero)


class AccumulatorSearch:
    """States of the accumulator that one PE's answers allow."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.shared, self.array = evidence.shared, evidence.array

    def states(self) -> Iterator[State]:
        """Accumulator states, the likeliest first."""
        ones = int(np.bitwise_and.reduce(self.evidence.all)) & self.shared.full
        zeros = ~int(np.bitwise_or.reduce(self.evidence.all)) & self.shared.full
        starts = self._starts(ones, zeros)
        tried = dict(zip(starts, self.cost(starts), strict=True))
        followed: set[State] = set()
        while len(followed) < min(2 * STARTS, len(tried)):
            left = [s for s in starts if s not in followed] or [
                s for s in tried if s not in followed
            ]
            best = min(left, key=lambda s: tried[s])
            if best not in starts and tried[best] > min(tried[s] for s in followed) + 2:
                break
            followed.add(best)
            new = [s for s in self.near(best, ones, zeros) if s not in tried]
            tried.update(zip(new, self.cost(new), strict=True))
        ranked = sorted(tried, key=lambda s: tried[s])
        yield ranked[0]
        rest = [*starts, *(s for s in ranked[1:LOOKED_AT] if s not in starts)]
        costs = dict(zip(rest, self.cost(rest, depth=COMPLETE), strict=True))
        yield from sorted(rest, key=lambda s: costs[s])[:STARTS]

    def _starts(self, ones: int, zeros: int) -> list[State]:
        """Bits that never change stuck, no other faulty but where Z, a small number, shows it."""
        keep = self.shared.full & ~(ones | zeros)
        above = -(1 << self.shared.most.bit_length())  # bits that Z has as its sign
        starts = [
            self.state(keep, ones | flip & keep & above, hidden)
            for flip in (0, self.evidence.zeros[0], ~self.evidence.zeros[0])
            for hidden in (0, above)
        ]
        return list(dict.fromkeys(starts))

    def state(self, keep: int, flip: int, hidden: int) -> State:
        """The state whose Z answers the zero vectors; ``hidden`` its bits where F is stuck."""
        plain, signed = (((came ^ flip) & keep) | (hidden & ~keep) for came in self.evidence.zeros)
        return State(keep, flip, self._signed(plain, keep), self._signed(signed, keep))

    def _signed(self, value: int, keep: int = -1) -> int:
        """A sum as two's complement; bits that are not kept as Z's sign, where it reaches them."""
        above = self.shared.full & -(1 << self.shared.most.bit_length())
        if keep & above:
            sign = value >> ((keep & above).bit_length() - 1) & 1
            value = value & ~(above & ~keep) | (above & ~keep if sign else 0)
        half = 1 << (self.array.acc_bits - 1)
        return ((value & self.shared.full) ^ half) - half

    def near(self, state: State, ones: int, zeros: int) -> Iterator[State]:
        """States that differ in one bit of the accumulator, or of Z where it is hidden."""
        constant = ones | zeros
        for bit in range(self.array.acc_bits):
            wire = 1 << bit
            for keep, flip, hidden in ((1, 0, 0), (1, 1, 0), (0, 0, 0), (0, 0, 1)):
                if not keep and not constant & wire:
                    continue
                stuck_at = ones & wire if not keep else wire * flip
                yield self.state(
                    state.keep & ~wire | wire * keep,
                    state.flip & ~wire | stuck_at,
                    state.zero & ~wire | wire * hidden,
                )

    def cost(self, states: Sequence[State], depth: int = 1) -> list[float]:
        """About how many faults each state takes, with up to ``depth`` in each multiplier."""
        levels = self.shared.catalogue.levels[: depth + 1]
        seen = np.concatenate([level.seen for level in levels])
        faults = np.repeat(np.arange(depth + 1.0), [len(level.seen) for level in levels])
        return [self._cost(state, seen, faults) for state in states]

    def _cost(self, state: State, seen: IntArray, faults: FloatArray) -> float:
        shared = self.shared
        outside = not all(shared.least <= z <= shared.most for z in (state.zero, state.signed_zero))
        struck = (~state.keep & shared.full).bit_count() + (state.keep & state.flip).bit_count()
        total = float(struck) + 100.0 * outside
        for group, came, clean in zip(
            shared.groups, self.evidence.answers, self.evidence.clean, strict=True
        ):
            if group.zeros and group.steps > 1 and clean[0]:
                total += 2.0 * (self._ramp(state, group.steps) != int(came[0]))
        zero = state.zero_of(shared.lane_signed)
        target = (self.evidence.lane_answers ^ state.flip) & state.keep
        sums = (seen + zero) & state.keep
        for lane in range(self.array.simd):
            differ = (sums != target[lane]) & self.evidence.lane_clean[lane]
            total += float((faults + np.sqrt(differ.sum(axis=1))).min())
        return total

    def _ramp(self, state: State, steps: int) -> int:
        acc = 0
        for _ in range(steps):
            acc = ((acc + state.zero) & state.keep) ^ state.flip
        return self._signed(acc)

    def hidden(self, state: State) -> list[State]:
        """The state with every other value of Z's bits where F is stuck."""
        stuck = [b for b in range(self.array.acc_bits) if not state.keep >> b & 1]
        found = []
        for values in product((0, 1), repeat=min(len(stuck), HIDDEN)):
            mask = sum(1 << b for b in stuck[:HIDDEN])
            hidden = sum(v << b for v, b in zip(values, stuck, strict=False))
            variant = self.state(state.keep, state.flip, state.zero & ~mask | hidden)
            if self.shared.least <= variant.zero <= self.shared.most:
                found.append(variant)
        return found
