"""What the faults of one multiplier do to its product, looked up by what it answers alone.

A multiplier is seen through D(w, a) = m(w, a) - m(0, 0): a product bit that is stuck leaves the
same D whether at 0 or 1, and its constant goes into the PE's own, Z = the sum of all m(0, 0).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hascodesign.contract.array import wrap
from hascodesign.contract.types import ArraySpec, BoolArray, IntArray, Kind, Site

SITES: tuple[Site, ...] = ("weight", "act", "product")
BEAM = 200  # of the best candidates that are taken further
DEEPEST = 6  # faults of one multiplier
MORE = 2  # faults beyond the fewest that are looked for where some can hide
COMPLETE = 2  # so many faults are tried in every combination


@dataclass(frozen=True, slots=True)
class Single:
    """One fault of a multiplier; a stuck bit of the product is of kind sa0, its constant apart."""

    site: Site
    bit: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Level:
    """Candidates with the same number of faults."""

    members: IntArray  # [n, faults] indices of singles
    masks: IntArray  # [n, 6] keep and flip of weight, act and product
    seen: IntArray  # [n, vectors] D of each vector that drives the multiplier alone

    def take(self, chosen: IntArray | BoolArray | slice) -> Level:
        """Some of the candidates."""
        return Level(self.members[chosen], self.masks[chosen], self.seen[chosen])


class Catalogue:
    """Candidates of one multiplier of an array, all multipliers being alike.

    Parameters
    ----------
    array : the array.
    words, codes, signed : [n] of the vectors that drive one multiplier alone.
    before : keep and flip of what the PEs before have made of the activations.
    complete : so many faults are tried in every combination from the start.
    """

    def __init__(
        self,
        array: ArraySpec,
        words: IntArray,
        codes: IntArray,
        signed: BoolArray,
        before: tuple[int, int] = (-1, 0),
        complete: int = COMPLETE,
    ) -> None:
        self.array = array
        self._vectors = (words, codes, signed)
        self.singles = tuple(_singles(array))
        self._bits = np.array([SITES.index(s.site) * 64 + s.bit for s in self.singles])
        wires = [1 << s.bit for s in self.singles]
        kinds = [s.kind for s in self.singles]
        self._stuck = np.array([w * (k != "flip") for w, k in zip(wires, kinds, strict=True)])
        self._set = np.array([w * (k != "sa0") for w, k in zip(wires, kinds, strict=True)])
        self._everywhere: dict[bytes, bytes] = {}
        neutral = np.array([[-1, 0, *before, -1, 0]])
        nothing = Level(np.zeros((1, 0), np.int64), neutral, self.seen(neutral))
        self.levels = [nothing]
        self.level(complete)

    def level(self, faults: int) -> Level:
        """Every combination of so many faults."""
        while len(self.levels) <= faults:
            self.levels.append(self.extended(self.levels[-1], ordered=True))
        return self.levels[faults]

    def extended(self, level: Level, *, ordered: bool) -> Level:
        """Every candidate with one fault more, on another bit, each set of faults once.

        ``ordered``: the level holds every set of its size, so that each new one is made from the
        one without its last fault.
        """
        rows = len(level.members)
        new, row = np.divmod(np.arange(len(self.singles) * rows), rows)
        free = (self._bits[level.members[row]] != self._bits[new][:, None]).all(axis=1)
        if ordered and level.members.shape[1]:
            free &= level.members[row, -1] < new
        new, row = new[free], row[free]
        members = np.column_stack([level.members[row], new])
        held, every = level.masks[row], np.arange(len(row))
        keep = 2 * (self._bits // 64)[new]  # its place among the masks, flip behind it
        held[every, keep] &= ~self._stuck[new]
        held[every, keep + 1] = (held[every, keep + 1] & ~self._stuck[new]) ^ self._set[new]
        if not ordered:
            _, first = np.unique(np.sort(members, axis=1), axis=0, return_index=True)
            first.sort()
            members, held = members[first], held[first]
        return Level(members, held, self.seen(held))

    def seen(self, masks: IntArray) -> IntArray:
        """D [n, vectors] of masks [n, 6] at the vectors that drive a multiplier alone."""
        words, codes, signed = self._vectors
        return self.differences(masks, words, codes, signed)

    def differences(
        self, masks: IntArray, words: IntArray, codes: IntArray, signed: BoolArray | bool
    ) -> IntArray:
        """D [n, ...] of masks [n, 6] at any words and codes [...]."""
        constants = self.constants(masks)
        which = np.where(signed, constants[:, 1:], constants[:, :1])
        flat = self.products(masks, words.ravel(), codes.ravel(), signed) - which
        return flat.reshape(len(masks), *words.shape)

    def constants(self, masks: IntArray) -> IntArray:
        """m(0, 0) [n, 2], unsigned and signed."""
        zero = np.zeros(2, dtype=np.int64)
        return self.products(masks, zero, zero, np.array([False, True]))

    def products(
        self, masks: IntArray, words: IntArray, codes: IntArray, signed: BoolArray | bool
    ) -> IntArray:
        """Products m [n, vectors]."""
        keep_w, flip_w, keep_a, flip_a, keep_m, flip_m = masks.T[:, :, None]
        word = wrap((words & keep_w) ^ flip_w, self.array.weight_bits)
        code = (codes & keep_a) ^ flip_a
        code = np.where(
            signed, wrap(code, self.array.act_bits), wrap(code, self.array.act_bits, False)
        )
        return wrap((word * code & keep_m) ^ flip_m, self.array.product_bits)

    def everywhere(self, masks: IntArray) -> bytes:
        """Digest of the D of masks [1, 6] at all operands, signed and unsigned."""
        key = masks.tobytes()
        if key not in self._everywhere:
            half, top = 1 << (self.array.weight_bits - 1), 1 << (self.array.act_bits - 1)
            words, codes = np.meshgrid(np.arange(-half, half), np.arange(2 * top))
            total = hashlib.sha256()
            for taken, signed in ((codes, False), ((codes ^ top) - top, True)):
                total.update(self.differences(masks, words, taken, signed).tobytes())
            self._everywhere[key] = total.digest()
        return self._everywhere[key]

    def constant_of(self, bit: int) -> int:
        """What a product bit that is stuck at 1 adds."""
        top = self.array.product_bits - 1
        return -(1 << bit) if bit == top else 1 << bit


def _singles(array: ArraySpec) -> Iterator[Single]:
    for site in SITES:
        kinds: tuple[Kind, ...] = ("sa0", "flip") if site == "product" else ("sa0", "sa1", "flip")
        for bit in range(array.site_bits(site)):
            for kind in kinds:
                yield Single(site, bit, kind)
