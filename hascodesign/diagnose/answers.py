"""What one PE answered, play by play."""

from __future__ import annotations

import numpy as np

from hascodesign.contract.types import IntArray
from hascodesign.diagnose.vectors import CODE_SETTINGS, TestSet


class Answers:
    """What one PE answered, play by play.

    Parameters
    ----------
    test_set : what was played.
    runs : [runs, answers] accumulators.
    """

    def __init__(self, test_set: TestSet, runs: IntArray) -> None:
        logic, memory = test_set.logic_answers, test_set.memory_answers
        at = logic + memory
        more = (test_set.logic_plays - 1) * logic
        end = at + more + (test_set.memory_plays - 1) * memory
        self.logic = _plays(runs[:, :logic], runs[:, at : at + more])  # [plays, logic answers]
        self.memory = _plays(runs[:, logic:at], runs[:, at + more : end])  # [plays, memory answers]
        self.exposed = runs[:, end:]  # [runs, answers]
        same = [(held != held[0]).any(axis=0).sum() for held in (self.logic, self.memory)]
        self.unstable = int(sum(same)) + self._exposed_unlike(test_set)

    def _exposed_unlike(self, test_set: TestSet) -> int:
        """Exposing vectors that are not answered the same in every column of their operands."""
        at = total = 0
        for block in test_set.exposures:
            held = self.exposed[:, at : at + block.answers]
            held = held.reshape(len(held), len(block.words), -1, CODE_SETTINGS)
            total += int((held != held[:1, :, :1]).any(axis=(0, 2)).sum())
            at += block.answers
        return total

    def exposed_once(self, test_set: TestSet) -> list[IntArray]:
        """Answers to the first column of all operands in each pass."""
        at, found = 0, []
        for block in test_set.exposures:
            held = self.exposed[0, at : at + block.answers].reshape(len(block.words), -1)
            found.append(held[:, :CODE_SETTINGS].ravel())
            at += block.answers
        return found

    def usual(self) -> tuple[IntArray, IntArray]:
        """The most frequent answer to each vector of the logic, and how often it came."""
        counts = np.array([(self.logic == one).sum(axis=0) for one in self.logic])
        best = counts.argmax(axis=0)
        every = np.arange(self.logic.shape[1])
        return self.logic[best, every], counts[best, every]


def _plays(first: IntArray, again: IntArray) -> IntArray:
    """[plays, n] answers to the same n vectors: the first time [runs, n], and again [runs, m*n]."""
    size = first.shape[1]
    times = again.shape[1] // size if size else 0
    return np.concatenate([first, again.reshape(len(first) * times, size)])
