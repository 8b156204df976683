"""What one PE answered, and what all PEs of an array share for making sense of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hascodesign.contract.types import ArraySpec, BoolArray, Fault, IntArray
from hascodesign.diagnose.lanes import Catalogue
from hascodesign.diagnose.model import PeModel
from hascodesign.diagnose.operands import ZEROS
from hascodesign.diagnose.vectors import Group


class Shared:
    """What all PEs of an array share: catalogue and vectors.

    Parameters
    ----------
    array : the array.
    groups : the logic's vectors.
    """

    def __init__(self, array: ArraySpec, groups: Sequence[Group]) -> None:
        self.array = array
        self.groups = groups
        self.full = (1 << array.acc_bits) - 1
        ones = sorted((g for g in groups if g.steps == 1), key=lambda g: g.signed)
        words, codes = (
            np.concatenate([getattr(g, name)[g.of_lane(0), 0, 0] for g in ones])
            for name in ("words", "codes")
        )
        self.lane_signed = np.repeat([g.signed for g in ones], [g.alone for g in ones])
        self.catalogue = Catalogue(array, words, codes, self.lane_signed)
        reach = array.simd << (array.product_bits - 1)
        self.least, self.most = -reach, reach - array.simd  # of Z, where it does not wrap


class Evidence:
    """The logic's answers of one PE.

    Parameters
    ----------
    shared : the array's.
    answers : [logic answers] accumulators.
    clean : [logic answers] whether no faulty word of the memory is met.
    """

    def __init__(self, shared: Shared, answers: IntArray, clean: BoolArray) -> None:
        self.shared = shared
        self.array = shared.array
        self.answers = [answers[g.answers] for g in shared.groups]
        self.clean = [clean[g.answers] for g in shared.groups]
        self.all = answers[clean]
        ones = [i for i, g in enumerate(shared.groups) if g.steps == 1]
        ones.sort(key=lambda i: shared.groups[i].signed)
        found = [np.flatnonzero(self.clean[i][:ZEROS]) for i in ones]
        self.zeros_clean = all(map(len, found))
        self.zeros = [
            int(self.answers[i][at[0]]) for i, at in zip(ones, found, strict=True) if len(at)
        ]

        def by_lane(held: Sequence[np.ndarray]) -> np.ndarray:
            return np.stack(
                [
                    np.concatenate([held[i][shared.groups[i].of_lane(lane)] for i in ones])
                    for lane in range(self.array.simd)
                ]
            )

        self.lane_answers = by_lane(self.answers)  # [S, n]
        self.lane_clean = by_lane(self.clean)

    def residual(self, faults: Sequence[Fault]) -> int:
        """Clean answers that a PE of these faults would not give."""
        model = PeModel(self.array, faults)
        return sum(
            int(((model.accumulate(g.words, g.codes, g.signed) != came) & clean).sum())
            for g, came, clean in zip(self.shared.groups, self.answers, self.clean, strict=True)
        )
