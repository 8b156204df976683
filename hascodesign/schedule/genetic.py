"""The genetic part of the search: pymoo's GA over all layers' maps at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.core.termination import NoTermination

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.schedule.fitness import Fitness
from hascodesign.schedule.operators import (
    Canonical,
    GivenSampling,
    MapCrossover,
    SameResult,
    ScheduleProblem,
    SwapMutation,
    swap,
)
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.space import Space


def first_population(
    space: Space,
    costs: Sequence[FloatArray],
    given: Sequence[IntArray],
    assigned: IntArray,
    options: SearchOptions,
    rng: np.random.Generator,
) -> list[IntArray]:
    """The given maps, then assignments with a few swaps; random maps fill the rest.

    Parameters
    ----------
    space : slots and classes.
    costs : per layer [R, classes].
    given : chromosomes that come first.
    assigned : the assignment's chromosome.
    options : the size of the population.
    rng : draws the swaps.
    """
    population = list(given)
    while len(population) < options.population * 3 // 4:
        population.append(kick(space, costs, assigned, rng))
    return population[: options.population]


def kick(
    space: Space, costs: Sequence[FloatArray], chromosome: IntArray, rng: np.random.Generator
) -> IntArray:
    """A chromosome with one to four random swaps, cheap rows likelier; not canonical."""
    free = [i for i, layer in enumerate(space.layers) if layer.free]
    changed = chromosome.copy()
    for _ in range(1 + int(rng.integers(4))):
        index = int(rng.choice(free))
        layer = space.layers[index]
        swap(layer, layer.genes(changed), costs[index], rng)
    return changed


def evolve(
    fitness: Fitness,
    costs: Sequence[FloatArray] | None,
    seeds: Sequence[IntArray],
    options: SearchOptions,
    rng: np.random.Generator,
    after: Callable[[float], None],
) -> None:
    """Run the GA until its generations or its plateau end it; `fitness` remembers the best.

    Parameters
    ----------
    fitness : judges and counts; SearchStopped passes through.
    costs : per layer [R, classes] that mutation draws by, or None for even draws.
    seeds : the first population; random maps fill it up.
    options : sizes and probabilities.
    rng : seeds pymoo.
    after : told the best loss after every generation.
    """
    algorithm = GA(
        pop_size=options.population,
        sampling=GivenSampling(seeds),
        crossover=MapCrossover(options.crossover),
        mutation=SwapMutation(fitness.space, costs, options.swaps),
        repair=Canonical(),
        eliminate_duplicates=SameResult(),
    )
    problem = ScheduleProblem(fitness)
    algorithm.setup(problem, termination=NoTermination(), seed=int(rng.integers(2**31)))
    waited, best = 0, np.inf
    for _ in range(options.generations + 1):
        algorithm.next()
        if fitness.best is None or algorithm.termination.force_termination:
            return
        after(fitness.best.loss)
        waited = 0 if fitness.best.loss < best else waited + 1
        best = fitness.best.loss
        if waited >= options.plateau:
            return
