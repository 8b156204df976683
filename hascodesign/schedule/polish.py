"""Local search: swaps that lower the loss, the most promising first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.schedule.fitness import CHUNK, Candidate, Fitness
from hascodesign.schedule.space import LayerSpace, Space


@dataclass(frozen=True, slots=True)
class Moves:
    """Exchanges of two slots, one per entry."""

    first: IntArray  # gene of a slot
    second: IntArray  # gene of a slot of the same layer, another class
    name: IntArray  # says which rows leave which classes; the same in every chromosome
    added: FloatArray  # to the separable cost


def polish(
    fitness: Fitness,
    costs: Sequence[FloatArray],
    start: Candidate,
    patience: int,
) -> Candidate:
    """Swap rows until no single swap lowers the loss.

    Moves are tried in chunks in the order of what is expected of them, those that failed before
    behind all others; the best of the first chunk that improves is taken.

    Parameters
    ----------
    fitness : judges and counts; SearchStopped passes through.
    costs : per layer [R, classes].
    start : where to begin.
    patience : moves tried without success before giving up.
    """
    current = start
    failures: dict[int, int] = {}
    while True:
        moves = neighbours(fitness.space, costs, current.chromosome)
        failed = np.array([failures.get(int(name), 0) for name in moves.name], dtype=np.int64)
        order = np.lexsort((moves.name, moves.added, failed))[:patience]
        better = None
        for begin in range(0, order.size, CHUNK):
            chunk = order[begin : begin + CHUNK]
            better = _best_of(fitness, current, moves, chunk)
            if better is not None:
                break
            for name in moves.name[chunk]:
                failures[int(name)] = failures.get(int(name), 0) + 1
        if better is None:
            return current
        current = better


def _best_of(
    fitness: Fitness, current: Candidate, moves: Moves, chunk: IntArray
) -> Candidate | None:
    tried = []
    for one in chunk:
        changed = current.chromosome.copy()
        pair = [moves.first[one], moves.second[one]]
        changed[pair] = changed[pair[::-1]]
        tried.append(fitness.space.canonical(changed))
    losses = fitness.losses(tried)
    best = int(np.argmin(losses))
    if losses[best] >= current.loss:
        return None
    return Candidate(tried[best], float(losses[best]))


def neighbours(space: Space, costs: Sequence[FloatArray], chromosome: IntArray) -> Moves:
    """Every exchange of two slots that can change the result, each once.

    Parameters
    ----------
    space : slots and classes.
    costs : per layer [R, classes].
    chromosome : canonical.
    """
    parts = [
        _layer_moves(index, len(space.layers), layer, costs[index], layer.genes(chromosome))
        for index, layer in enumerate(space.layers)
    ]
    return Moves(
        first=np.concatenate([part.first for part in parts]),
        second=np.concatenate([part.second for part in parts]),
        name=np.concatenate([part.name for part in parts]),
        added=np.concatenate([part.added for part in parts]),
    )


def _layer_moves(
    index: int, layers: int, layer: LayerSpace, cost: FloatArray, genes: IntArray
) -> Moves:
    rows = np.minimum(genes, layer.rows)
    # the idle slots of one class are one: the first stands for all
    _, distinct = np.unique(layer.classes * (layer.rows + 1) + rows, return_index=True)
    largest = int(np.argmax([members.size for members in layer.members]))
    unlike = distinct[layer.classes[distinct] != largest]
    first, second = (side.reshape(-1) for side in np.meshgrid(unlike, distinct, indexing="ij"))
    mine, theirs = layer.classes[first], layer.classes[second]
    once = (mine > theirs) | (theirs == largest)
    real = (mine != theirs) & once & ((rows[first] < layer.rows) | (rows[second] < layer.rows))
    first, second, mine, theirs = first[real], second[real], mine[real], theirs[real]
    padded = np.vstack([cost, np.zeros((1, cost.shape[1]))])
    added = padded[rows[first], theirs] + padded[rows[second], mine]
    added = added - padded[rows[first], mine] - padded[rows[second], theirs]
    name = np.zeros(first.size, dtype=np.int64)
    for digit, base in (
        (rows[first], layer.rows + 1),
        (rows[second], layer.rows + 1),
        (mine, len(layer.members)),
        (theirs, len(layer.members)),
    ):
        name = name * base + digit
    name = name * layers + index
    return Moves(layer.start + first, layer.start + second, name, added)
