"""Candidates judged once, counted, and the best of them remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hascodesign.common import interrupt
from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.problem import Progress, silent
from hascodesign.schedule.space import Space

CHUNK = 8  # candidates judged together: bounds how late a stop is noticed


Judge = Callable[[Sequence[IntArray]], Sequence[float]]  # losses of canonical chromosomes, nats


def by_network(space: Space, evaluator: Evaluator) -> Judge:
    """Judge by the whole faulty network."""

    def judge(chromosomes: Sequence[IntArray]) -> list[float]:
        judged = evaluator.judge_many([space.decode(c) for c in chromosomes])
        return [judgement.loss for judgement in judged]

    return judge


class SearchStopped(Exception):
    """The evaluations or the time set for the search are used up."""

    def __init__(self, reason: str, for_good: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.for_good = for_good  # out of time: no later part of the search may go on


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chromosome and its calibration loss."""

    chromosome: IntArray  # canonical
    loss: float  # nats


class Fitness:
    """Calibration loss of chromosomes, each distinct one evaluated once.

    Parameters
    ----------
    space : slots and classes of every layer.
    judge : gives the losses, e.g. ``by_network``.
    limit : evaluations after which SearchStopped is raised.
    seconds : wall clock after which SearchStopped is raised, or None.
    progress : told of every chunk.
    """

    def __init__(
        self,
        space: Space,
        judge: Judge,
        limit: int,
        seconds: float | None = None,
        progress: Progress = silent,
    ) -> None:
        self.space = space
        self.evaluations = 0
        self.limit = limit
        self.best: Candidate | None = None
        self.judge = judge
        self._seconds = seconds
        self._start = time.monotonic()
        self._progress = progress
        self._known: dict[bytes, Candidate] = {}

    def losses(self, chromosomes: Sequence[IntArray] | IntArray) -> FloatArray:
        """Loss of each chromosome, [n]; the known ones cost nothing.

        Raises
        ------
        SearchStopped
            Where the limit is reached before all are judged; those that were are remembered.
        """
        canonical = [self.space.canonical(c) for c in chromosomes]
        new = {c.tobytes(): c for c in canonical if c.tobytes() not in self._known}
        waiting = list(new.values())
        for start in range(0, len(waiting), CHUNK):
            self._add(waiting[start : start + CHUNK])
        return np.array([self._known[c.tobytes()].loss for c in canonical])

    def _add(self, chunk: list[IntArray]) -> None:
        interrupt.check()
        left = self.limit - self.evaluations
        if left <= 0:
            raise SearchStopped(f"all {self.limit} evaluations are used", for_good=False)
        if self._seconds is not None and self._passed() > self._seconds:
            raise SearchStopped(f"the time limit of {self._seconds:g} s is reached", for_good=True)
        judged = chunk[:left]
        for chromosome, loss in zip(judged, self.judge(judged), strict=True):
            self._remember(chromosome, loss)
        self.evaluations += len(judged)
        self._progress("search", self.evaluations, self.limit)
        if len(judged) < len(chunk):
            raise SearchStopped(f"all {self.limit} evaluations are used", for_good=False)

    def _passed(self) -> float:
        return time.monotonic() - self._start

    def _remember(self, chromosome: IntArray, loss: float) -> None:
        candidate = Candidate(chromosome, loss)
        self._known[chromosome.tobytes()] = candidate
        if self.best is None or _order(candidate) < _order(self.best):
            self.best = candidate

    def give(self, chromosome: IntArray, loss: float) -> None:
        """Remember a loss that is known already, without an evaluation."""
        self._remember(self.space.canonical(chromosome), loss)

    def top(self, count: int) -> list[Candidate]:
        """The best distinct candidates so far, best first."""
        return sorted(self._known.values(), key=_order)[:count]

    @property
    def known(self) -> list[Candidate]:
        """Every candidate judged so far, in the order of judging."""
        return list(self._known.values())


def _order(candidate: Candidate) -> tuple[float, bytes]:
    return candidate.loss, candidate.chromosome.astype(">i8").tobytes()
