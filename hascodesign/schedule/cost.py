"""What each row costs on each kind of slot, one row at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hascodesign.contract.types import FloatArray, IntArray, RowMap, Schedule, frozen
from hascodesign.engine.classes import HEALTHY
from hascodesign.engine.network import Evaluator as NetworkEvaluator
from hascodesign.schedule.protocols import Evaluator, Progress, RowCosts
from hascodesign.schedule.space import LayerSpace, Space

BATCH = 32  # schedules judged together


def plain_costs(space: Space, evaluator: NetworkEvaluator) -> list[FloatArray]:
    """Costs as `row_costs` gives them, by the loss of the plain logits."""
    return [
        _of_pes(space, layer, evaluator.row_costs(index, sharpness=1.0))
        for index, layer in enumerate(space.layers)
    ]


def row_costs(space: Space, evaluator: Evaluator, progress: Progress) -> list[FloatArray]:
    """Cost of each row on each class of slots, per layer [R, classes], nats.

    The cost is the loss increase where that row alone meets the faults of that class. Taken from
    the evaluator where it offers them, else by judging one schedule for each row and class: with
    spare passes that leave the other faulty PEs idle, or, where no PE is healthy, by exchanging
    rows of the plain order, in which case the cheapest row of a class costs 0.
    """
    costs = []
    for index, layer in enumerate(space.layers):
        progress("row costs", index, len(space.layers))
        if isinstance(evaluator, RowCosts):
            costs.append(_of_pes(space, layer, evaluator.row_costs(index)))
        elif layer.healthy_pes.size:
            costs.append(_alone(space, index, evaluator))
        else:
            costs.append(_exchanged(space, index, evaluator))
    progress("row costs", len(space.layers), len(space.layers))
    return costs


def _of_pes(space: Space, layer: LayerSpace, cost: FloatArray) -> FloatArray:
    """[R, P] to [R, classes]: the mean over the PEs that hold slots of the class."""
    out = np.zeros((layer.rows, len(layer.members)))
    for number, members in enumerate(layer.members):
        if members.size and number != HEALTHY:
            out[:, number] = cost[:, np.unique(members % space.array.pe)].mean(axis=1)
    return out


def _on_healthy(layer: LayerSpace, pes: IntArray, pe: int) -> RowMap:
    """All rows on healthy PEs, in as many passes as that takes, and one pass more for a guest."""
    passes = -(-layer.rows // pes.size) + 1
    slots = np.full((passes, pe), -1, dtype=np.int64)
    rows = np.arange(layer.rows)
    slots[rows // pes.size, pes[rows % pes.size]] = rows
    return RowMap(layer.name, layer.rows, frozen(slots))


def _alone(space: Space, index: int, evaluator: Evaluator) -> FloatArray:
    """By judging: one row on the faulty PE of a class, every other row on healthy ones."""
    layer = space.layers[index]
    pe = space.array.pe
    maps = [_on_healthy(one, one.healthy_pes, pe) for one in space.layers]
    todo: list[tuple[int, int]] = []
    schedules = [Schedule(space.array, tuple(maps))]
    for number, members in enumerate(layer.members):
        if number == HEALTHY or not members.size:
            continue
        for row in range(layer.rows):
            slots = maps[index].slots.copy()
            slots[slots == row] = -1
            slots[-1, members[0] % pe] = row
            changed = RowMap(layer.name, layer.rows, frozen(slots))
            schedules.append(Schedule(space.array, (*maps[:index], changed, *maps[index + 1 :])))
            todo.append((row, number))
    losses = _judge(evaluator, schedules)
    out = np.zeros((layer.rows, len(layer.members)))
    for (row, number), loss in zip(todo, losses[1:], strict=True):
        out[row, number] = loss - losses[0]
    return out


def _exchanged(space: Space, index: int, evaluator: Evaluator) -> FloatArray:
    """By judging: each row brought to the first slot of each class, in the plain order."""
    layer = space.layers[index]
    todo: list[tuple[int, int]] = []
    schedules = []
    for number, members in enumerate(layer.members):
        for row in range(layer.rows if members.size else 0):
            chromosome = space.identity()
            genes = layer.genes(chromosome)
            genes[row], genes[members[0]] = genes[members[0]], genes[row]
            schedules.append(space.decode(chromosome))
            todo.append((row, number))
    out = np.zeros((layer.rows, len(layer.members)))
    for (row, number), loss in zip(todo, _judge(evaluator, schedules), strict=True):
        out[row, number] = loss
    return out - out.min(axis=0, initial=np.inf)


def _judge(evaluator: Evaluator, schedules: Sequence[Schedule]) -> list[float]:
    losses: list[float] = []
    for start in range(0, len(schedules), BATCH):
        losses += [j.loss for j in evaluator.judge_many(schedules[start : start + BATCH])]
    return losses
