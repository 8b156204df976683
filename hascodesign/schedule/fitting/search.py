"""The search for a map, its rows written for their slots or as trained.

The assignment takes each layer's rows by the error that is left of them on each kind of slot; the
genetic search over whole maps, judged by the loss of the network with its rows as written, looks
for maps where the rows' errors meet to less harm; then the rows are written for the map that is
chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hascodesign.contract.array import generator
from hascodesign.contract.results import Move
from hascodesign.contract.types import FloatArray, IntArray, RowMap, Schedule
from hascodesign.engine.loss import cross_entropy
from hascodesign.schedule.assign import assign_layer
from hascodesign.schedule.fitness import Fitness, SearchStopped, by_network
from hascodesign.schedule.fitting.judge import WrittenEvaluator
from hascodesign.schedule.fitting.layer import OnKinds, costs_of
from hascodesign.schedule.fitting.network import Deployed, NetworkWriter
from hascodesign.schedule.genetic import evolve, first_population
from hascodesign.schedule.judging import NORMAL_95
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.polish import polish
from hascodesign.schedule.problem import Problem, Progress

GENETIC_SHARE = 0.6  # of the evaluations; the rest is for the swaps


@dataclass(frozen=True, slots=True)
class Size:
    """Of a search over maps."""

    images: int  # that maps are judged on, at most
    evaluations: int  # at most
    work: float  # multiply-accumulates of these; most rows are kept from one to the next


WRITTEN = Size(256, 96, 1.5e11)  # few rows leave anything to be won back
ALONE = Size(1024, 600, 4e12)


@dataclass(frozen=True, slots=True)
class Found:
    """The best map with its rows as written."""

    deployed: Deployed
    history: tuple[float, ...] = ()  # best loss after each generation, on images that fits saw
    evaluations: int = 0
    notes: tuple[str, ...] = ()
    interrupted: bool = False  # by Ctrl-C: the best so far


class MapSearch:
    """Searches maps with their rows written.

    Parameters
    ----------
    problem : all calibration images.
    moves : what may be done to a row; nothing: maps of rows as trained.
    seed : of every draw.
    """

    def __init__(self, problem: Problem, moves: tuple[Move, ...], seed: int) -> None:
        self.seed = seed
        self.writer = NetworkWriter(problem, moves, seed)
        self.problem = self.writer.problem  # the images that are looked at

    def alone(self) -> MapSearch:
        """The same search of rows as trained."""
        other = copy(self)
        other.__dict__.pop("_first", None)
        other.writer = self.writer.alone()
        return other

    @property
    def size(self) -> Size:
        """Of the search."""
        return WRITTEN if self.writer.moves else ALONE

    @property
    def judged(self) -> Problem:
        """On the images that maps are searched on."""
        return self.problem.on(np.flatnonzero(~self.writer.held)[: self.size.images])

    def losses(self, logits: IntArray) -> FloatArray:
        """Loss [n] of each image that is looked at, nats."""
        return cross_entropy(logits, self.problem.labels, self.problem.network.logit_scale)

    def unseen(self, logits: IntArray) -> float:
        """Mean loss on the images that no fit saw, nats."""
        return float(self.losses(logits)[self.writer.held].mean())

    @property
    def first(self) -> Deployed:
        """The network written for the assignment by what fits leave of each row."""
        return self._first[0]

    @cached_property
    def _first(self) -> tuple[Deployed, tuple[OnKinds, ...]]:
        return self.writer.assigned(self._assigned)

    def _assigned(self, index: int, error: FloatArray) -> RowMap:
        layer = self.problem.space.layers[index]
        cost = costs_of(self.problem, index, error)
        return self.problem.space.layer_map(layer, assign_layer(layer, cost))

    # ------------------------------------------------------------------------------------ search

    def search(
        self, options: SearchOptions, progress: Progress, starts: Sequence[Schedule] = ()
    ) -> Found:
        """The assignment, bettered by the search over maps where there is something to win.

        Parameters
        ----------
        options : sizes and limits.
        progress : told of every chunk of evaluations.
        starts : other maps to begin with.
        """
        progress("rows", 0, 2)
        found = Found(self.first)
        progress("rows", 1, 2)
        alike = self.problem.space.alike
        if not alike and self.harmed(self.losses(self.first.logits), sure=bool(self.writer.moves)):
            found = self._bettered(found, self.fitness(options, progress), options, starts)
        progress("rows", 2, 2)
        return found

    def harmed(self, losses: FloatArray, *, sure: bool) -> bool:
        """Whether the images that fits saw show a loss to be won back, above its noise if sure."""
        lost = (losses - self.losses(self.writer.healthy_logits))[~self.writer.held]
        noise = NORMAL_95 * lost.std() / max(len(lost), 1) ** 0.5 if sure else 0.0
        return bool(lost.mean() > noise)

    def fitness(self, options: SearchOptions, progress: Progress) -> Fitness:
        """What judges maps with all rows as written, and counts."""
        judged = self.judged
        evaluator = WrittenEvaluator(judged, self._first[1])
        work = int(self.size.work / (self.problem.network.macs * max(len(judged.labels), 1)))
        limit = options.evaluations or options.times * min(self.size.evaluations, max(work, 1))
        judge = by_network(self.problem.space, evaluator)
        return Fitness(self.problem.space, judge, limit, options.seconds, progress)

    def _bettered(
        self, found: Found, fitness: Fitness, options: SearchOptions, starts: Sequence[Schedule]
    ) -> Found:
        history: list[float] = []
        notes: tuple[str, ...] = ()
        interrupted = False
        try:
            self.maps(fitness, options, history, starts)
        except SearchStopped as stopped:
            notes = (f"Stopped early: {stopped.reason}; this is the best schedule so far.",)
        except KeyboardInterrupt:
            interrupted = True
            notes = (
                f"Stopped by Ctrl-C after {fitness.evaluations} evaluations; "
                "this is the best schedule so far.",
            )
        deployed = found.deployed
        if fitness.best is not None:
            other = self.writer.on_map(self.problem.space.decode(fitness.best.chromosome))
            if self.unseen(other.logits) < self.unseen(deployed.logits):
                deployed = other
        return Found(deployed, tuple(history), fitness.evaluations, notes, interrupted)

    def maps(
        self,
        fitness: Fitness,
        options: SearchOptions,
        history: list[float],
        starts: Sequence[Schedule] = (),
    ) -> None:
        """The genetic search, then swaps; ``fitness`` remembers the best map.

        Raises
        ------
        SearchStopped
            Where the time is up. Using up the evaluations is the normal end.
        """
        space, rng, costs = self.problem.space, generator(self.seed, "maps"), self._costs()
        given = [space.encode(one) for one in (self.first.schedule, *starts)]
        limit = fitness.limit
        fitness.limit = max(1, int(GENETIC_SHARE * limit)) if options.polish else limit
        try:
            seeds = first_population(space, costs, given, given[0], options, rng)
            evolve(fitness, costs, seeds, options, rng, history.append)
        except SearchStopped as stopped:
            if stopped.for_good:
                raise
        fitness.limit = limit
        if options.polish and fitness.best is not None:
            try:
                polish(fitness, costs, fitness.best, limit)
            except SearchStopped as stopped:
                if stopped.for_good:
                    raise

    def _costs(self) -> list[FloatArray]:
        """Of each row on each class of slots, per layer [R, classes]."""
        return [
            costs_of(self.problem, index, one.error) for index, one in enumerate(self._first[1])
        ]
