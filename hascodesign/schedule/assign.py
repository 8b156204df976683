"""The assignment problem that a separable cost leaves, solved exactly."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.schedule.space import LayerSpace


def assign_layer(layer: LayerSpace, cost: FloatArray, slots: int | None = None) -> IntArray:
    """Genes of the cheapest map of a layer, every row in one slot.

    Minimises the sum over rows r of cost[r, class of the slot of r]; a slot that no row takes is
    idle and costs 0. One of the optima, always the same one for the same costs.

    Parameters
    ----------
    layer : slots and their classes.
    cost : [R, classes].
    slots : the first so many may be taken; all where None.

    References
    ----------
    D. F. Crouse, "On implementing 2D rectangular assignment algorithms", IEEE Transactions on
    Aerospace and Electronic Systems 52 (2016), doi:10.1109/TAES.2016.140952.
    """
    rows, taken = linear_sum_assignment(cost[:, layer.classes[:slots]])
    genes = np.full(layer.slots, layer.rows, dtype=np.int64)
    genes[taken] = rows
    idle = np.flatnonzero(genes == layer.rows)
    genes[idle] += np.arange(idle.size)
    return genes
