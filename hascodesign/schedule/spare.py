"""Spare passes: which layers get them.

A spare pass lets a layer leave slots of faulty PEs idle. What each layer's faults cost alone, its
rows assigned and, where that is wanted, written for their slots, is taken at a few numbers of
passes; of all ways to spend no more than the budget the one with the least sum of these costs is
taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from hascodesign.contract.array import layer_passes
from hascodesign.contract.results import Move
from hascodesign.contract.types import IntegerNetwork
from hascodesign.engine.loss import judge
from hascodesign.engine.network import Assignment, Evaluator
from hascodesign.schedule.assign import assign_layer
from hascodesign.schedule.fitting.judge import WrittenEvaluator
from hascodesign.schedule.fitting.layer import costs_of
from hascodesign.schedule.fitting.network import NetworkWriter
from hascodesign.schedule.problem import Problem
from hascodesign.schedule.space import make_space

IMAGES = 768  # that passes are divided on, at most
POINTS = 4  # numbers of passes at which a layer is tried, at most
SURE = 1e-4  # nats; a spare pass that wins less is not taken


def budget(network: IntegerNetwork, pe: int, share: float) -> int:
    """Spare passes in all: a share of the least number of passes."""
    return int(share * sum(layer_passes(network, pe)))


def spread_passes(
    evaluator: Evaluator, moves: tuple[Move, ...], spare: int, seed: int
) -> tuple[int, ...]:
    """Passes of each layer: the least, and up to ``spare`` more where they win the most.

    Parameters
    ----------
    evaluator : names the network and the array, and holds calibration images.
    moves : what may be done to a row.
    spare : passes in all beyond the least.
    seed : of every draw.
    """
    (passes,) = divide_passes(evaluator, moves, _full(evaluator, spare), [spare], seed)
    return passes


def divide_passes(
    evaluator: Evaluator,
    moves: tuple[Move, ...],
    most: Sequence[int],
    spares: Sequence[int],
    seed: int,
) -> list[tuple[int, ...]]:
    """Passes of each layer for each of some numbers of spare passes.

    Parameters
    ----------
    most : passes that each layer may take.
    spares : passes in all beyond the least.
    evaluator, moves, seed : as for `spread_passes`.
    """
    network, profile = evaluator.network, evaluator.profile
    least = layer_passes(network, profile.array.pe)
    if tuple(most) == least:
        return [least] * len(spares)
    tried = [_points(low, high) for low, high in zip(least, most, strict=True)]
    problem = Problem.of(evaluator, make_space(network, profile, passes=tuple(most)))
    losses = _losses(problem, moves, seed, tried)
    return [_division(tried, losses, least, spare) for spare in spares]


def _division(
    tried: Sequence[Sequence[int]],
    losses: Sequence[Sequence[float]],
    least: Sequence[int],
    spare: int,
) -> tuple[int, ...]:
    """Passes of each layer, among those tried, of the least sum of losses within the budget."""
    best, choice = np.inf, tuple(least)
    for places in product(*(range(len(points)) for points in tried)):
        passes = tuple(points[place] for points, place in zip(tried, places, strict=True))
        added = sum(passes) - sum(least)
        if added > spare:
            continue
        cost = sum(loss[place] for loss, place in zip(losses, places, strict=True))
        cost += SURE * added
        if cost < best:
            best, choice = cost, passes
    return choice


def _full(evaluator: Evaluator, spare: int) -> list[int]:
    """Passes beyond which a layer has nothing to win, or the budget."""
    out = []
    for layer in make_space(evaluator.network, evaluator.profile).layers:
        healthy = layer.healthy_pes.size
        enough = -(-layer.rows // healthy) if healthy else layer.passes + spare
        out.append(min(max(layer.passes, enough), layer.passes + spare))
    return out


def _points(low: int, high: int) -> list[int]:
    """A few numbers of passes from ``low`` to ``high``."""
    return sorted({round(value) for value in np.linspace(low, high, POINTS)})


def _losses(
    problem: Problem, moves: tuple[Move, ...], seed: int, tried: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Loss of the network with one layer on the faulty array in so many passes, nats."""
    writer = NetworkWriter(problem, moves, seed)
    layers = writer.on_healthy_inputs()
    judged = writer.problem.on(np.flatnonzero(~writer.held)[:IMAGES])
    evaluator, space = WrittenEvaluator(judged, layers), problem.space
    healthy = evaluator.assignments(space.decode(space.identity()))
    healthy = [Assignment(one.on_array, np.zeros_like(one.classes)) for one in healthy]
    out = []
    for index, points in enumerate(tried):
        layer, found = space.layers[index], []
        cost = costs_of(problem, index, layers[index].error)
        for passes in points if layer.free else ():
            genes = assign_layer(layer, cost, passes * space.array.pe)
            on_array = healthy[index].on_array
            classes = on_array.classes_of(space.layer_map(layer, genes))
            tried_map = [*healthy]
            tried_map[index] = Assignment(on_array, classes)
            logits = evaluator.run(tried_map)
            found.append(judge(logits, judged.labels, judged.network.logit_scale).loss)
        out.append(found or [0.0] * len(points))
    return out
