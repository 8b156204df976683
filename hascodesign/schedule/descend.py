"""Maps proposed by the loss model: a genetic run on it, reassignment in context, swaps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.schedule.assign import assign
from hascodesign.schedule.fitness import Fitness, SearchStopped
from hascodesign.schedule.genetic import evolve, first_population
from hascodesign.schedule.options import SearchOptions
from hascodesign.schedule.polish import Moves, neighbours
from hascodesign.schedule.space import Space
from hascodesign.schedule.surrogate import LogitModel

MOVES = 1024  # swaps that one step looks at, the most promising where there are more
DESCENTS = 6  # from the best of the genetic run on the model
STEPS = 400  # at most, of swaps
FOLLOW = 4  # steps after which the costs that choose among many moves follow the context
FEW_STEPS, FEW_SWAPS = 32, 8  # of a descent in a large space, and of one of its steps
ON_THE_WAY = (1, 3, 7, 15, 31)  # steps of it that are proposed
LEAST_GAIN = 1e-4  # share of the loss; below lies the rounding of float32


def descend(model: LogitModel, chromosome: IntArray) -> IntArray:
    """Canonical chromosome from which no swap looked at lowers the model's loss; see `path`."""
    return path(model, chromosome)[-1]


def path(
    model: LogitModel, chromosome: IntArray, jumps: bool = True, swaps: int | None = None
) -> list[IntArray]:
    """Canonical chromosomes from the first to one that no swap looked at makes better.

    Parameters
    ----------
    model : orders the maps.
    chromosome : where to begin.
    jumps : whether to begin by assigning all rows anew.
    swaps : of one step, at most; with a limit there are few steps, so that the end stays near.
    """
    current = model.space.canonical(chromosome)
    loss = model.loss(current)
    costs = model.costs(current)
    steps = [current]
    while jumps:
        proposed = assign(model.space, costs).chromosome
        found = model.loss(proposed)
        if found >= loss * (1.0 - LEAST_GAIN):
            break
        current, loss = proposed, found
        steps.append(current)
        costs = model.costs(current)
    for number in range(1, (STEPS if swaps is None else FEW_STEPS) + 1):
        stepped = _step(model, costs, current, loss, swaps)
        if stepped is None:
            break
        current, loss = stepped
        steps.append(current)
        if large(model.space) and number % FOLLOW == 0:
            costs = model.costs(current)
    return steps


def propose(
    model: LogitModel,
    starts: Sequence[IntArray],
    options: SearchOptions,
    evaluations: int,
    rng: np.random.Generator,
    first: bool = True,
) -> list[IntArray]:
    """The best maps by the model: of a genetic run on it, and of descents from there.

    Parameters
    ----------
    model : judges the maps.
    starts : chromosomes in the first population, each descended from too.
    options : sizes and probabilities of the genetic run, and how many maps to return.
    evaluations : of the model.
    rng : of every draw.
    first : whether the model is of the healthy network, so that the best may be far.
    """
    if large(model.space):
        # a descent sees more of so large a space than a population does, but the model may not
        # hold to its end: points on the way are proposed too
        steps = path(model, starts[0], jumps=first, swaps=FEW_SWAPS)[1:]
        return [steps[point] for point in ON_THE_WAY if point < len(steps)] or steps[-1:]
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


def large(space: Space) -> bool:
    """Whether there are too many swaps to look at them all."""
    return sum(layer.slots for layer in space.layers) > MOVES // 8


def _step(
    model: LogitModel,
    costs: Sequence[FloatArray],
    current: IntArray,
    loss: float,
    swaps: int | None,
) -> tuple[IntArray, float] | None:
    """As many of the best swaps at once as are better than the best alone."""
    moves = neighbours(model.space, costs, current).most_promising(MOVES)
    losses = model.swapped(current, moves.first, moves.second)
    good = np.argsort(losses, kind="stable")
    good = good[losses[good] < loss * (1.0 - LEAST_GAIN)]
    if not good.size:
        return None
    # swaps that are good alone need not be so together: halve their number until they are
    count = good.size if swaps is None else min(good.size, swaps)
    found = _swap_all(model, current, moves, good[:count])
    while count > 1 and found[1] >= losses[good[0]]:
        count //= 2
        found = _swap_all(model, current, moves, good[:count])
    return found


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
