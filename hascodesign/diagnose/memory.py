"""Faulty words of one PE's weight banks, from the march: every word 0, then every word -1.

What most addresses answer is the logic; an address that answers otherwise holds a faulty word.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from hascodesign.contract.array import SiteMasks
from hascodesign.contract.types import ArraySpec, BoolArray, Fault, IntArray, Kind
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.vectors import Block

MOST_PAIRS = 200_000  # words of two multipliers that are tried at an address


@dataclass(frozen=True, slots=True)
class Words:
    """The faulty words of a PE."""

    faults: tuple[Fault, ...]
    unclear: tuple[int, ...]  # addresses that no words explain, or several that differ in use


def dirty(march: IntArray) -> BoolArray:
    """[depth] addresses that answer otherwise than most; ``march`` [2, depth, C] of one PE."""
    found = np.zeros(march.shape[1], dtype=np.bool_)
    for column in march.transpose(0, 2, 1).reshape(-1, march.shape[1]):
        values, counts = np.unique(column, return_counts=True)
        found |= column != values[counts.argmax()]
    return found


class MemorySearch:
    """The words of one PE whose logic is known.

    Parameters
    ----------
    array : the array.
    faults : the PE's logic faults.
    blocks : the march, words 0 and words -1.
    before : what the PEs before it have made of the activations, dataflow `ws`.
    """

    def __init__(
        self,
        array: ArraySpec,
        faults: Sequence[Fault],
        blocks: Sequence[Block],
        before: SiteMasks | None = None,
    ) -> None:
        self.array = array
        self.model = PeModel(array, faults, before)
        self.codes = blocks[0].codes  # [C, 1, S]
        half = 1 << (array.weight_bits - 1)
        self.words = np.arange(-half, half)
        self.stored = tuple(int(block.words[0, 0, 0]) for block in blocks)
        self._first = [self._changed(np.full(array.simd, word)) for word in self.stored]
        self._use = self._uses()  # [S, words]
        self._known: dict[bytes, BoolArray | None] = {}

    def find(self, march: IntArray) -> Words:
        """Faulty words, from [2, depth, C] answers."""
        faults: list[Fault] = []
        unclear = []
        wrong = np.zeros(march.shape[1], dtype=np.bool_)
        for answers, word in zip(march, self.stored, strict=True):
            healthy = self._answers(np.full((1, self.array.simd), word))[0]
            wrong |= (answers != healthy).any(axis=1)
        for address in np.flatnonzero(wrong).tolist():
            read = [self._read(which, march[which, address]) for which in (0, 1)]
            if read[0] is None or read[1] is None:
                unclear.append(address)
            else:
                faults += self._entries(address, read[0], read[1])
        return Words(tuple(faults), tuple(unclear))

    def _entries(self, address: int, zeros: BoolArray, ones: BoolArray) -> list[Fault]:
        """Entries of one address whose words 0 and -1 read as [S, words] allow."""
        found = []
        for lane in range(self.array.simd):
            pairs = [
                (int(low), int(high))
                for low in self.words[zeros[lane]]
                for high in self.words[ones[lane]]
            ]
            low, high = min(pairs, key=self._struck)
            for bit in range(self.array.weight_bits):
                set_, kept = low >> bit & 1, high >> bit & 1
                if set_ or not kept:
                    kind: Kind = ("sa1" if kept else "flip") if set_ else "sa0"
                    found.append(Fault(0, kind, "wmem", lane, bit, address))
        return found

    def _struck(self, pair: tuple[int, int]) -> tuple[int, tuple[int, int]]:
        """Bits that must be faulty for words 0 and -1 to read so; the words break ties."""
        full = (1 << self.array.weight_bits) - 1
        return ((pair[0] | ~pair[1]) & full).bit_count(), pair

    def _read(self, which: int, answers: IntArray) -> BoolArray | None:
        """Words [S, words] that each multiplier may read, all alike in use; None: unclear."""
        key = bytes([which]) + answers.tobytes()
        if key not in self._known:
            self._known[key] = self._solve(which, answers)
        return self._known[key]

    def _solve(self, which: int, answers: IntArray) -> BoolArray | None:
        first = np.full(self.array.simd, self.stored[which])
        words = self._descended(first, self._first[which], answers)
        if words is None:
            pair = self._pair(first, answers)
            if pair is None:
                return None
            words = self._descended(pair, self._changed(pair), answers)
            if words is None:
                return None
        possible = (self._changed(words) == answers).all(axis=-1)
        chosen = np.searchsorted(self.words, words)
        alike = self._use == self._use[np.arange(len(words)), chosen][:, None]
        return possible if bool((alike | ~possible).all()) else None

    def _descended(self, words: IntArray, given: IntArray, answers: IntArray) -> IntArray | None:
        """Words [S] that answer so, one changed after the other, each for the better.

        ``given`` are the answers with one of ``words`` changed.
        """
        words, left = words.copy(), len(answers) + 1
        while True:
            differ = (given != answers).sum(axis=-1)  # [S, words]
            lane, word = np.unravel_index(int(differ.argmin()), differ.shape)
            if differ[lane, word] >= left:
                return None
            left = int(differ[lane, word])
            words[lane] = self.words[word]
            if left == 0:
                return words
            given = self._changed(words)

    def _pair(self, words: IntArray, answers: IntArray) -> IntArray | None:
        """``words`` with the two changed that bring most answers; None: several bring all.

        Faults may let every column show every multiplier, where neither of two is for the better
        alone. With too many words to try it is None, too.
        """
        best, left, used = words, len(answers) + 1, set()
        count = len(self.words)
        if math.comb(self.array.simd, 2) * count * count > MOST_PAIRS:
            return None
        values = np.stack(np.meshgrid(self.words, self.words), axis=-1).reshape(-1, 2)
        for pair in combinations(range(self.array.simd), 2):
            tried = np.tile(words, (count * count, 1))
            tried[:, pair] = values
            differ = (self._answers(tried) != answers).sum(axis=-1)
            for one in tried[differ == 0]:
                chosen = np.searchsorted(self.words, one)
                used.add(tuple(self._use[np.arange(len(one)), chosen].tolist()))
            if differ.min() < left:
                best, left = tried[differ.argmin()], int(differ.min())
        return best if len(used) < 2 else None

    def _changed(self, words: IntArray) -> IntArray:
        """Answers [S, words, C] where one multiplier reads another word than ``words`` [S]."""
        lanes, count = self.array.simd, len(self.words)
        tried = np.broadcast_to(words, (lanes, count, lanes)).copy()
        own = np.arange(lanes)
        tried[own, :, own] = self.words
        return self._answers(tried.reshape(-1, lanes)).reshape(lanes, count, -1)

    def _answers(self, words: IntArray) -> IntArray:
        """[n, C] of words [n, S]."""
        return self.model.accumulate(words[:, None, None, :], self.codes[None], False)

    def _uses(self) -> IntArray:
        """[S, words] the lowest word of which the multiplier makes the same, whatever the code."""
        codes, half = np.arange(1 << self.array.act_bits), 1 << (self.array.act_bits - 1)
        words, lanes = self.words[:, None, None], self.array.simd
        made = [
            self.model.products(words, np.repeat(taken[:, None], lanes, axis=1)[None], signed)
            for taken, signed in ((codes, False), ((codes ^ half) - half, True))
        ]
        found = []
        for rows in np.concatenate(made, axis=1).transpose(2, 0, 1):  # [words, 2 * codes]
            _, first, alike = np.unique(rows, axis=0, return_index=True, return_inverse=True)
            found.append(first[alike.reshape(-1)])
        return np.array(found)
