"""What NSGA-II works on: a map of more slots than are used, and the passes of each layer.

An individual is a chromosome over as many slots as a layer may ever take, followed by the passes
that each layer does take. Slots past these are idle: rows found there move to idle slots before
them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from hascodesign.common import interrupt
from hascodesign.contract.array import layer_passes
from hascodesign.contract.results import Objective
from hascodesign.contract.types import (
    FloatArray,
    IntArray,
    RowMap,
    Schedule,
    frozen,
)
from hascodesign.engine.network import Evaluator
from hascodesign.schedule.assign import assign_layer
from hascodesign.schedule.fitness import CHUNK, SearchStopped
from hascodesign.schedule.options import ACCURACY
from hascodesign.schedule.problem import Problem, Progress
from hascodesign.schedule.space import LayerSpace


@dataclass(frozen=True, slots=True)
class PowerShares:
    """The modelled power at the profile's voltage, as shares of the power at nominal voltage."""

    dynamic: float  # while the array is busy with the least passes
    static: float
    label: str  # what the model is

    def of(self, cycles: float) -> float:
        """Mean power at a fixed rate of images; ``cycles`` relative to the least passes."""
        return self.dynamic * cycles + self.static


def total(passes: Sequence[int], each: Sequence[int]) -> int:
    """Sum over layers of passes times what a pass takes."""
    return sum(count * one for count, one in zip(passes, each, strict=True))


class Individuals:
    """What an individual means, and its objectives.

    Parameters
    ----------
    problem : its space has as many passes as each layer may take.
    costs : of each row on each class of slots, per layer [R, classes].
    power, objectives : what is to be small besides the loss.
    """

    def __init__(
        self,
        problem: Problem,
        costs: Sequence[FloatArray],
        power: PowerShares,
        objectives: tuple[Objective, ...],
    ) -> None:
        self.space, self.costs, self.power = problem.space, costs, power
        self.objectives = objectives
        self.pe = self.space.array.pe
        self.least = layer_passes(problem.network, self.pe)
        outputs = [
            1 if one.conv is None else int(np.prod(one.conv.out_size))
            for one in problem.network.layers
        ]
        # cycles of one pass: steps times columns of an image
        self.cycles = [n * s.steps for n, s in zip(outputs, self.space.layers, strict=True)]

    def repaired(self, individual: IntArray) -> IntArray:
        """The same with every row on a slot that is used, rows ascending within a class."""
        out = individual.copy()
        for place, layer in enumerate(self.space.layers):
            count = int(np.clip(out[self.space.genes + place], self.least[place], layer.passes))
            out[self.space.genes + place] = count
            self._into(layer, layer.genes(out), count * self.pe, self.costs[place])
        return out

    def _into(self, layer: LayerSpace, genes: IntArray, kept: int, cost: FloatArray) -> None:
        """Bring the rows past the first ``kept`` slots to idle ones among them, in place."""
        genes[genes >= layer.rows] = layer.rows
        outside = genes[kept:][genes[kept:] < layer.rows]
        idle = np.flatnonzero(genes[:kept] == layer.rows)
        rows, slots = linear_sum_assignment(cost[outside][:, layer.classes[idle]])
        genes[idle[slots]] = outside[rows]
        genes[kept:] = layer.rows
        for members in layer.members:
            used = members[members < kept]
            genes[used] = np.sort(genes[used])
        free = np.flatnonzero(genes == layer.rows)
        genes[free] += np.arange(free.size)

    def passes(self, individual: IntArray) -> IntArray:
        """Passes of each layer."""
        return individual[self.space.genes :]

    def decode(self, individual: IntArray) -> Schedule:
        """Schedule of a repaired individual."""
        maps = []
        for layer, count in zip(self.space.layers, self.passes(individual).tolist(), strict=True):
            genes = layer.genes(individual)[: count * self.pe]
            slots = np.where(genes < layer.rows, genes, -1).reshape(count, self.pe)
            maps.append(RowMap(layer.name, layer.rows, frozen(slots)))
        return Schedule(self.space.array, tuple(maps))

    def relative_power(self, passes: Sequence[int]) -> float:
        """Modelled power of schedules with so many passes of each layer."""
        return self.power.of(total(passes, self.cycles) / total(self.least, self.cycles))

    def values(self, loss: float, passes: Sequence[int]) -> list[float]:
        """The objectives, all to be small, in the order of `objectives`."""
        known = {ACCURACY: loss, "passes": float(sum(passes)), "power": self.relative_power(passes)}
        return [known[name] for name in self.objectives]

    def seeds(self, best: Schedule) -> list[IntArray]:
        """The best map of the least passes, and assignments with more, one layer or all at once."""
        caps = [layer.passes for layer in self.space.layers]
        wanted = [list(self.least)]
        for place, cap in enumerate(caps):
            for count in range(self.least[place] + 1, cap + 1):
                wanted.append([*self.least[:place], count, *self.least[place + 1 :]])
        for share in (0.25, 0.5, 0.75, 1.0):
            pairs = zip(self.least, caps, strict=True)
            wanted.append([low + round(share * (high - low)) for low, high in pairs])
        return [self.assigned(passes, best) for passes in wanted]

    def assigned(self, passes: Sequence[int], best: Schedule) -> IntArray:
        """Layers with spare passes assigned anew, the others as in the best map."""
        out = self.placed(best)
        out[self.space.genes :] = passes
        layers = zip(self.space.layers, self.costs, best.layers, passes, strict=True)
        for layer, cost, row_map, count in layers:
            if count == row_map.passes:
                continue
            layer.genes(out)[:] = assign_layer(layer, cost, count * self.pe)
        return self.repaired(out)

    def placed(self, schedule: Schedule) -> IntArray:
        """Individual of a schedule whose layers take no more passes than they may."""
        out = np.empty(self.space.genes + len(schedule.layers), dtype=np.int64)
        for place, row_map in enumerate(schedule.layers):
            layer = self.space.layers[place]
            genes = np.full(layer.slots, layer.rows, dtype=np.int64)
            genes[: row_map.slots.size] = row_map.slots.reshape(-1)
            genes[genes < 0] = layer.rows
            layer.genes(out)[:] = genes
            out[self.space.genes + place] = row_map.passes
        return self.repaired(out)


class FrontJudge:
    """Objectives of individuals, each distinct one evaluated once."""

    def __init__(
        self,
        subject: Individuals,
        evaluator: Evaluator,
        limit: int,
        seconds: float | None,
        progress: Progress,
    ) -> None:
        self.subject, self._evaluator = subject, evaluator
        self.evaluations = 0
        self._limit = limit
        self._seconds = seconds
        self._start = time.monotonic()
        self._progress = progress
        self._known: dict[bytes, tuple[IntArray, list[float]]] = {}

    def values(self, individuals: Sequence[IntArray] | IntArray) -> FloatArray:
        """Objectives [n, objectives] of repaired individuals.

        Raises
        ------
        SearchStopped
            Where evaluations or time are used up.
        """
        waiting = {x.tobytes(): x for x in individuals if x.tobytes() not in self._known}
        new = list(waiting.values())
        for start in range(0, len(new), CHUNK):
            self._add(new[start : start + CHUNK])
        return np.array([self._known[x.tobytes()][1] for x in individuals])

    def _add(self, chunk: list[IntArray]) -> None:
        interrupt.check()
        if self.evaluations + len(chunk) > self._limit:
            raise SearchStopped(f"all {self._limit} evaluations are used", for_good=False)
        passed = time.monotonic() - self._start
        # the seeds are worth their few evaluations on a slow machine, too
        if self._known and self._seconds is not None and passed > self._seconds:
            raise SearchStopped("the time limit is reached", for_good=True)
        subject = self.subject
        judged = self._evaluator.judge_many([subject.decode(x) for x in chunk])
        for x, judgement in zip(chunk, judged, strict=True):
            values = subject.values(judgement.loss, subject.passes(x).tolist())
            self._known[x.tobytes()] = (x, values)
        self.evaluations += len(chunk)
        self._progress("front", self.evaluations, self._limit)

    def front(self) -> list[IntArray]:
        """Individuals that no other known one beats in one objective and equals in the rest."""
        known = list(self._known.values())
        if not known:
            return []
        return [known[i][0] for i in undominated(np.array([values for _, values in known]))]


def undominated(values: FloatArray) -> list[int]:
    """Rows of ``values`` [n, objectives] that no other dominates; the first of equal rows."""
    kept = []
    for number, own in enumerate(values):
        no_worse = (values <= own).all(axis=1)
        better = no_worse & (values < own).any(axis=1)
        equal_before = (values[:number] == own).all(axis=1)
        if not better.any() and not equal_before.any():
            kept.append(number)
    return kept
