"""The assignment problem that a separable cost leaves, solved exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.schedule.space import LayerSpace, Space


@dataclass(frozen=True, slots=True)
class Assignment:
    """The cheapest maps on a separable cost."""

    chromosome: IntArray  # canonical
    cost: float  # its separable cost, nats; no map has less


def assign(space: Space, costs: Sequence[FloatArray]) -> Assignment:
    """Cheapest row map of each layer, every row in one slot.

    Minimises the sum over rows r of costs[layer][r, class of the slot of r]; a slot that no row
    takes is idle and costs 0. The optimum is a lower bound of the separable cost of every schedule;
    it is not one of the true loss, in which the rows' errors meet.

    Parameters
    ----------
    space : slots and classes of every layer.
    costs : per layer [R, classes], nats.

    Returns
    -------
    Assignment
        One of the optima, always the same one for the same costs.

    References
    ----------
    D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE Transactions on
    Aerospace and Electronic Systems 52 (2016), doi:10.1109/TAES.2016.140952.
    """
    chromosome = np.empty(space.genes, dtype=np.int64)
    for layer, cost in zip(space.layers, costs, strict=True):
        layer.genes(chromosome)[:] = assign_layer(layer, cost)
    chromosome = space.canonical(chromosome)
    return Assignment(chromosome, separable_cost(space, costs, chromosome))


def assign_layer(layer: LayerSpace, cost: FloatArray) -> IntArray:
    """Genes of one layer's cheapest map, costs [R, classes]."""
    rows, slots = linear_sum_assignment(cost[:, layer.classes])
    genes = np.full(layer.slots, layer.rows, dtype=np.int64)
    genes[slots] = rows
    idle = np.flatnonzero(genes == layer.rows)
    genes[idle] += np.arange(idle.size)
    return genes


def separable_cost(space: Space, costs: Sequence[FloatArray], chromosome: IntArray) -> float:
    """Sum over all rows of the cost of the row on the class of its slot, nats."""
    total = 0.0
    for layer, cost in zip(space.layers, costs, strict=True):
        genes = layer.genes(chromosome)
        used = genes < layer.rows
        # exact rounding, so that the sum does not depend on the order of equal slots
        total += float(np.sort(cost[genes[used], layer.classes[used]]).sum())
    return total
