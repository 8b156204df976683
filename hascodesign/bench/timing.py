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


def compare(reference: Work, work: Work, repeats: int) -> Compared:
    """Time ``work`` and ``reference`` in turn: a machine that slows down slows both.

    Each of ``repeats`` ratios is to the mean of the references just before and after. A first run
    of each is not counted: it compiles and fills caches.
    """
    work()
    reference()
    taken, references = [], [seconds_of(reference)]
    for _ in range(repeats):
        taken.append(seconds_of(work))
        references.append(seconds_of(reference))
    means = [(one + other) / 2 for one, other in pairwise(references)]
    ratio = Spread.of([one / other for one, other in zip(taken, means, strict=True)])
    least = replace(ratio, least=min(taken) / min(references))
    return Compared(Spread.of(taken), Spread.of(references), least)


def seconds_of(work: Work) -> float:
    """Wall clock of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def repeated(work: Work, repeats: int) -> Spread:
    """Seconds of some runs after one that is not counted."""
    work()
    return Spread.of([seconds_of(work) for _ in range(repeats)])
