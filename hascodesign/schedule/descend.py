"""Maps proposed by the loss model: a genetic run on it, reassignment in context, swaps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from hascodesign.schedule.assign import assign
from hascodesign.schedule.fitness import Fitness, SearchStopped
from hascodesign.schedule.genetic import evolve, first_population
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.polish import Moves, neighbours
from hascodesign.schedule.surrogate import LogitModel
from hascodesign.types import FloatArray, IntArray

MOVES = 1024  # swaps that one step looks at, the most promising where there are more
DESCENTS = 6  # from the best of the genetic run on the model
STEPS = 400  # at most, of swaps
LEAST_GAIN = 1e-4  # share of the loss; below lies the rounding of float32


def descend(model: LogitModel, chromosome: IntArray) -> IntArray:
    """Canonical chromosome from which no swap looked at lowers the model's loss.

    Parameters
    ----------
    model : orders the maps.
    chromosome : where to begin.
    """
    current = model.space.canonical(chromosome)
    loss = model.loss(current)
    costs = model.costs(current)
    while True:
        proposed = assign(model.space, costs).chromosome
        found = model.loss(proposed)
        if found >= loss * (1.0 - LEAST_GAIN):
            break
        current, loss = proposed, found
        costs = model.costs(current)
    for _ in range(STEPS):
        stepped = _step(model, costs, current, loss)
        if stepped is None:
            break
        current, loss = stepped
        if _many(model):
            costs = model.costs(current)
    return current


def propose(
    model: LogitModel,
    starts: Sequence[IntArray],
    options: SearchOptions,
    evaluations: int,
    rng: np.random.Generator,
) -> list[IntArray]:
    """The best maps by the model: of a genetic run on it, and of descents from there.

    Parameters
    ----------
    model : judges the maps.
    starts : chromosomes in the first population, each descended from too.
    options : sizes and probabilities of the genetic run, and how many maps to return.
    evaluations : of the model.
    rng : of every draw.
    """
    fitness = Fitness(model.space, lambda some: [model.loss(one) for one in some], evaluations)
    near = min(starts, key=model.loss)
    costs = model.costs(near)
    seeds = first_population(model.space, costs, starts, near, options, rng)
    with suppress(SearchStopped):  # its evaluations are used: the normal end
        evolve(fitness, costs, seeds, options, rng, lambda _loss: None)
    ends = [candidate.chromosome for candidate in fitness.top(DESCENTS)]
    found = [descend(model, one) for one in [*ends, *starts]]
    distinct = {one.tobytes(): one for one in sorted(found, key=model.loss)}
    return list(distinct.values())[: options.finalists]


def _many(model: LogitModel) -> bool:
    """Whether the costs choose the moves, so that they have to follow the context."""
    return sum(layer.slots for layer in model.space.layers) > MOVES // 8


def _step(
    model: LogitModel, costs: Sequence[FloatArray], current: IntArray, loss: float
) -> tuple[IntArray, float] | None:
    """The best of all good swaps at once and the best swap alone, where one is better."""
    moves = neighbours(model.space, costs, current).most_promising(MOVES)
    losses = model.swapped(current, moves.first, moves.second)
    good = np.argsort(losses, kind="stable")
    good = good[losses[good] < loss * (1.0 - LEAST_GAIN)]
    if not good.size:
        return None
    best = _swap_all(model, current, moves, good[:1])
    if good.size == 1:
        return best
    return min(best, _swap_all(model, current, moves, good), key=lambda found: found[1])


def _swap_all(
    model: LogitModel, current: IntArray, moves: Moves, chosen: IntArray
) -> tuple[IntArray, float]:
    """The chosen swaps in turn, those left out that touch a slot touched before."""
    changed, touched = current.copy(), np.zeros(current.size, dtype=bool)
    for move in chosen:
        pair = [int(moves.first[move]), int(moves.second[move])]
        if not touched[pair].any():
            changed[pair] = changed[pair[::-1]]
            touched[pair] = True
    changed = model.space.canonical(changed)
    return changed, model.loss(changed)
