"""The search for a map whose rows are written for their slots.

The assignment takes each layer's rows by the error that is left of them on each class; the genetic
search over whole maps, judged by the loss of the network with its rows as written, looks for maps
where the rows' errors meet to less harm; then the rows are written anew for the map that is chosen.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from hascodesign.contract.array import generator, identity_schedule
from hascodesign.contract.types import (
    FaultProfile,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    RowMap,
    Schedule,
)
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.assign import assign_layer
from hascodesign.schedule.fitness import Fitness, SearchStopped, by_network
from hascodesign.schedule.fitting.judge import WrittenEvaluator
from hascodesign.schedule.fitting.moves import Moves
from hascodesign.schedule.fitting.network import Deployed, NetworkWriter
from hascodesign.schedule.genetic import evolve, first_population
from hascodesign.schedule.judging import NORMAL_95, image_losses
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.polish import polish
from hascodesign.schedule.protocols import Progress
from hascodesign.schedule.space import Space

JUDGED = 256  # images that maps are searched on, at most
EVALUATIONS = 96  # of the search over maps, at most
WORK = 1.5e11  # multiply-accumulates of these evaluations; most rows are kept from one to the next
GENETIC_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Written:
    """The best map with its rows as written."""

    deployed: Deployed
    loss: float  # on images that no fit saw, nats
    history: tuple[float, ...]  # best loss after each generation, on images that fits saw
    evaluations: int
    images: int  # that the rows were fitted to
    checked: int  # others, that decided what was kept


class WrittenSearch:
    """Searches maps with their rows written; one for a network, a profile and a space.

    Parameters
    ----------
    network, profile : as trained, and checked.
    space : slots and classes of every layer.
    codes, labels : all calibration images.
    moves : what may be done to a row.
    seed : of every draw.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        profile: FaultProfile,
        space: Space,
        codes: IntArray,
        labels: IntArray,
        moves: Moves,
        seed: int,
    ) -> None:
        self.network, self.profile, self.space, self.seed = network, profile, space, seed
        self.writer = NetworkWriter(network, profile, codes, labels, moves, seed)
        images, held = self.writer.images, self.writer.checks
        self._fitted = (codes[images[~held]], labels[images[~held]])
        self._checked = (codes[images[held]], labels[images[held]])
        self._passes = tuple(layer.passes for layer in space.layers)

    def loss(self, network: IntegerNetwork, schedule: Schedule) -> float:
        """Loss of a network, as trained or as written, on the images that no fit saw."""
        return Evaluator(network, self.profile, *self._checked).judge(schedule).loss

    def _harmed(self, first: Deployed) -> bool:
        """Whether the images that fits saw show a loss, above its noise, to be won back."""
        codes, labels = self._fitted
        clean = Evaluator(self.network, replace(self.profile, faults=()), codes, labels)
        written = Evaluator(first.network, self.profile, codes, labels)
        plain = identity_schedule(self.network, self.profile.array)
        lost = image_losses(self.network, written, first.schedule)
        lost -= image_losses(self.network, clean, plain)
        return bool(lost.mean() > NORMAL_95 * lost.std() / max(len(lost), 1) ** 0.5)

    def search(self, options: SearchOptions, progress: Progress) -> Written:
        """The assignment by what fits leave, bettered by the search over maps where that wins."""
        progress("fitted rows", 0, 3)
        first = self.writer.write(self._passes, self._assigned)
        found, loss = first, self.loss(first.network, first.schedule)
        history: list[float] = []
        progress("fitted rows", 1, 3)
        fitness = self._fitness(first, options)
        if not self.space.alike and self._harmed(first):
            chromosome = self._maps(first, fitness, options, history)
            progress("fitted rows", 2, 3)
            other = self.on_map(self.space.decode(chromosome))
            again = self.loss(other.network, other.schedule)
            if again < loss:
                found, loss = other, again
        progress("fitted rows", 3, 3)
        counts = (len(self._fitted[1]), len(self._checked[1]))
        return Written(found, loss, tuple(history), fitness.evaluations, *counts)

    def on_map(self, schedule: Schedule) -> Deployed:
        """The rows written for the slots of a given map, of the space's passes."""
        return self.writer.write(self._passes, lambda layer, _error: schedule.layers[layer.index])

    # ------------------------------------------------------------------------------ placing

    def _assigned(self, layer: MultiplyLayer, error: FloatArray) -> RowMap:
        space = self.space.layers[layer.index]
        return self.space.layer_map(space, assign_layer(space, self.costs(layer, error)))

    def costs(self, layer: MultiplyLayer, error: FloatArray) -> FloatArray:
        """Costs [R, classes of the space] of errors [R, classes of the engine]."""
        space = self.space.layers[layer.index]
        on_space = np.zeros((layer.rows, len(space.members)))
        table = self.writer.slot_classes(layer.index, self._passes)
        for number, members in enumerate(space.members):
            if members.size:
                on_space[:, number] = error[:, table.reshape(-1)[members[0]]]
        return on_space * self._weight(layer)[:, None]

    def _weight(self, layer: MultiplyLayer) -> FloatArray:
        """How much an error of each row moves the sums of the next layer, mean 1."""
        if layer.output is None:
            return np.ones(layer.rows)
        after = self.network.layers[layer.index + 1].weights.astype(np.float64)
        share = after / np.maximum(np.abs(after).sum(axis=1, keepdims=True), 1.0)
        # the channel runs fastest in K
        weight = (share.reshape(len(after), -1, layer.rows) ** 2).sum(axis=(0, 1))
        return np.asarray(weight / max(weight.mean(), np.finfo(float).tiny))

    # --------------------------------------------------------------------------------- maps

    def _fitness(self, first: Deployed, options: SearchOptions) -> Fitness:
        codes, labels = (part[:JUDGED] for part in self._fitted)
        evaluator = WrittenEvaluator(self.network, self.profile, codes, labels, first.layers)
        work = int(WORK / (self.network.macs * max(len(labels), 1)))
        limit = options.evaluations or options.times * min(EVALUATIONS, max(work, 1))
        return Fitness(self.space, by_network(self.space, evaluator), limit, options.seconds)

    def _maps(
        self, first: Deployed, fitness: Fitness, options: SearchOptions, history: list[float]
    ) -> IntArray:
        rng = generator(self.seed, "written maps")
        layers = zip(self.network.layers, first.layers, strict=True)
        costs = [self.costs(layer, on_classes.error) for layer, on_classes in layers]
        assigned = self.space.encode(first.schedule)
        limit = fitness.limit
        fitness.limit = max(1, int(GENETIC_SHARE * limit)) if options.polish else limit
        seeds = first_population(self.space, costs, [assigned], assigned, options, rng)
        with suppress(SearchStopped):  # using up the evaluations is the normal end
            evolve(fitness, costs, seeds, options, rng, history.append)
        fitness.limit = limit
        if options.polish and fitness.best is not None:
            with suppress(SearchStopped):
                polish(fitness, costs, fitness.best, limit)
        return assigned if fitness.best is None else fitness.best.chromosome
