"""pymoo operators on slot maps: all layers' permutations end to end in one chromosome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling

from hascodesign.contract.types import BoolArray, FloatArray, IntArray
from hascodesign.schedule.fitness import Fitness
from hascodesign.schedule.space import LayerSpace, Space


class ScheduleProblem(Problem):
    """Calibration loss over chromosomes."""

    def __init__(self, fitness: Fitness) -> None:
        super().__init__(n_var=fitness.space.genes, n_obj=1, vtype=int)
        self.space = fitness.space
        self.fitness = fitness

    def _evaluate(self, x: IntArray, out: dict[str, Any], *_args: Any, **_kwargs: Any) -> None:
        out["F"] = self.fitness.losses(x)[:, None]


class GivenSampling(Sampling):
    """The seeds first, then random maps up to the size of the population."""

    def __init__(self, seeds: Sequence[IntArray]) -> None:
        super().__init__()
        self.seeds = seeds

    def _do(
        self,
        problem: ScheduleProblem,
        n_samples: int,
        *_args: Any,
        random_state: np.random.Generator,
        **_kwargs: Any,
    ) -> IntArray:
        population = list(self.seeds[:n_samples])
        while len(population) < n_samples:
            population.append(problem.space.random(random_state))
        return np.stack(population)


class MapCrossover(Crossover):
    """Each layer either changes hands whole or is mixed by cycles.

    Cycle crossover keeps every row in a slot that one of the parents gave it, which is what the
    loss depends on.

    References
    ----------
    I. Oliver, D. Smith, J. Holland, "A study of permutation crossover operators on the traveling
    salesman problem", ICGA 1987.
    """

    def __init__(self, prob: float) -> None:
        super().__init__(2, 2, prob=prob)

    def _do(
        self,
        problem: ScheduleProblem,
        x: IntArray,
        *_args: Any,
        random_state: np.random.Generator,
        **_kwargs: Any,
    ) -> IntArray:
        children = x.copy()
        for mating in range(x.shape[1]):
            for layer in problem.space.layers:
                first, second = layer.genes(x[0, mating]), layer.genes(x[1, mating])
                if random_state.random() < 0.5:
                    take = np.full(layer.slots, random_state.random() < 0.5)
                else:
                    take = _cycles(first, second, random_state)
                layer.genes(children[0, mating])[:] = np.where(take, second, first)
                layer.genes(children[1, mating])[:] = np.where(take, first, second)
        return children


def _cycles(first: IntArray, second: IntArray, rng: np.random.Generator) -> BoolArray:
    """Slots to exchange: whole cycles of the two permutations, each with probability 1/2."""
    place = np.empty(first.size, dtype=np.int64)
    place[first] = np.arange(first.size)
    take = np.zeros(first.size, dtype=bool)
    seen = np.zeros(first.size, dtype=bool)
    for start in range(first.size):
        if seen[start]:
            continue
        chosen, slot = rng.random() < 0.5, start
        while not seen[slot]:
            seen[slot], take[slot] = True, chosen
            slot = int(place[second[slot]])
    return take


class SwapMutation(Mutation):
    """Swaps of two slots of different classes; every one changes the result.

    Half of the swaps bring in a row by its separable cost on the class (the cheaper, the
    likelier), the others any row.

    Parameters
    ----------
    space : slots and classes.
    costs : per layer [R, classes]; None for even draws only.
    swaps : mean number of swaps of a child, at least one is made.
    """

    def __init__(self, space: Space, costs: Sequence[FloatArray] | None, swaps: float) -> None:
        super().__init__(prob=1.0)
        self.swaps = swaps
        self.costs = costs
        self.free = [i for i, layer in enumerate(space.layers) if layer.free]
        weight = np.array([_unlike(space.layers[i]).size for i in self.free], dtype=np.float64)
        self.weight = weight / weight.sum() if weight.size else weight

    def _do(
        self,
        problem: ScheduleProblem,
        x: IntArray,
        *_args: Any,
        random_state: np.random.Generator,
        **_kwargs: Any,
    ) -> IntArray:
        mutated = x.copy()
        for chromosome in mutated:
            for _ in range(1 + random_state.poisson(max(self.swaps - 1.0, 0.0))):
                index = int(random_state.choice(self.free, p=self.weight))
                cost = None if self.costs is None else self.costs[index]
                layer = problem.space.layers[index]
                swap(layer, layer.genes(chromosome), cost, random_state)
        return mutated


def swap(
    layer: LayerSpace, genes: IntArray, cost: FloatArray | None, rng: np.random.Generator
) -> None:
    """Exchange, in place, one slot that meets faults and one of another class."""
    here = int(rng.choice(_unlike(layer)))
    others = np.flatnonzero(layer.classes != layer.classes[here])
    if cost is None or rng.random() < 0.5:
        there = int(rng.choice(others))
    else:
        with_idle = np.vstack([cost, np.zeros((1, cost.shape[1]))])
        rows = np.minimum(genes[others], layer.rows)
        # what the swap adds to the separable cost, ranked: rank k is e times likelier than k + n/4
        added = with_idle[rows, layer.classes[here]] - with_idle[rows, layer.classes[others]]
        rank = np.argsort(np.argsort(added, kind="stable"), kind="stable")
        weight = np.exp(-4.0 * rank / rank.size)
        there = int(rng.choice(others, p=weight / weight.sum()))
    genes[here], genes[there] = genes[there], genes[here]


def _unlike(layer: LayerSpace) -> IntArray:
    """Slots outside the largest class: the slots whose row makes the difference."""
    largest = int(np.argmax([members.size for members in layer.members]))
    return np.flatnonzero(layer.classes != largest)


class Canonical(Repair):
    """Every chromosome as its canonical one, so that equal results are equal chromosomes."""

    def _do(self, problem: ScheduleProblem, x: IntArray, **_kwargs: Any) -> IntArray:
        return np.stack([problem.space.canonical(chromosome) for chromosome in x])


class SameResult(DuplicateElimination):
    """Canonical chromosomes that stand twice."""

    def _do(self, pop: Any, other: Any, is_duplicate: BoolArray) -> BoolArray:
        seen = set() if other is None else {one.X.tobytes() for one in other}
        for index, one in enumerate(pop):
            key = one.X.tobytes()
            is_duplicate[index] = key in seen
            seen.add(key)
        return is_duplicate
