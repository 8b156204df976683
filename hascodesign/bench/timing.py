"""Times of work that is repeated in turn with a reference, and their spread."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, quartiles and least of repeated measurements."""

    median: float
    low: float  # first quartile
    high: float  # third quartile
    least: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Spread of at least one value."""
        low, median, high = np.percentile(np.asarray(values, dtype=np.float64), (25, 50, 75))
        return cls(float(median), float(low), float(high), float(min(values)), len(values))

    def scaled(self, factor: float) -> Spread:
        """The same in another unit."""
        return Spread(
            factor * self.median, factor * self.low, factor * self.high, factor * self.least, self.n
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """One piece of work beside the reference, measured in turn."""

    seconds: Spread
    reference: Spread  # seconds
    ratio: Spread  # of each pair of neighbours; `least` is least seconds to least seconds
    cpu_ratio: Spread  # the same of the processor time of all threads


def compare(reference: Work, work: Work, repeats: int) -> Compared:
    """Time ``work`` and ``reference`` in turn: a machine that slows down slows both.

    Each of ``repeats`` ratios is to the mean of the references just before and after. A first run
    of each is not counted: it compiles and fills caches.
    """
    work()
    reference()
    taken, references = [], [times_of(reference)]
    for _ in range(repeats):
        taken.append(times_of(work))
        references.append(times_of(reference))
    wall, cpu = (_ratio([t[i] for t in taken], [t[i] for t in references]) for i in (0, 1))
    seconds, reference_seconds = (Spread.of([t[0] for t in part]) for part in (taken, references))
    return Compared(seconds, reference_seconds, wall, cpu)


def _ratio(taken: Sequence[float], references: Sequence[float]) -> Spread:
    means = [(one + other) / 2 for one, other in pairwise(references)]
    ratio = Spread.of([one / other for one, other in zip(taken, means, strict=True)])
    return replace(ratio, least=min(taken) / min(references))


def times_of(work: Work) -> tuple[float, float]:
    """Seconds of one run: wall clock, and processor time of all threads.

    Other programs lengthen the first, not the second.
    """
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def repeated(work: Work, repeats: int) -> tuple[Spread, Spread]:
    """Wall clock and processor time of some runs after one that is not counted."""
    work()
    wall, cpu = zip(*(times_of(work) for _ in range(repeats)), strict=True)
    return Spread.of(wall), Spread.of(cpu)
