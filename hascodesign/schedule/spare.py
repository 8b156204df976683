"""Spare passes: which layers get them.

A spare pass lets a layer leave slots of faulty PEs idle. What each layer's faults cost alone is
taken at a few numbers of passes, and of all ways to spend no more than the budget the one with
the least sum of these costs is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from threadpoolctl import threadpool_limits

from hascodesign.contract.array import layer_passes
from hascodesign.contract.types import FaultProfile, IntArray, IntegerNetwork
from hascodesign.engine.loss import judge
from hascodesign.schedule.layer_maps import room
from hascodesign.schedule.rebuild import DAMPINGS, GRAM_BYTES, IMAGES, Clean, gram_bytes
from hascodesign.schedule.singles import Singles
from hascodesign.schedule.space import Space, make_space

POINTS = 4  # numbers of passes at which a layer is tried, at most
SURE = 1e-4  # nats; a spare pass that wins less is not taken


def budget(network: IntegerNetwork, pe: int, share: float) -> int:
    """Spare passes in all: a share of the least number of passes."""
    return int(share * sum(layer_passes(network, pe)))


def spread_passes(
    network: IntegerNetwork,
    profile: FaultProfile,
    spare: int,
    codes: IntArray,
    labels: IntArray,
) -> tuple[int, ...]:
    """Passes of each layer: the least, and up to ``spare`` more where they win the most.

    Parameters
    ----------
    network : the network.
    profile : a profile that has been checked.
    spare : passes in all beyond the least.
    codes : [n, height, width, channels] input codes.
    labels : [n] classes.
    """
    least = layer_passes(network, profile.array.pe)
    most = _full(network, profile, least, spare)
    (passes,) = divide_passes(network, profile, most, [spare], codes, labels)
    return passes


def divide_passes(
    network: IntegerNetwork,
    profile: FaultProfile,
    most: Sequence[int],
    spares: Sequence[int],
    codes: IntArray,
    labels: IntArray,
) -> list[tuple[int, ...]]:
    """Passes of each layer for each of some numbers of spare passes.

    Parameters
    ----------
    most : passes that each layer may take.
    spares : passes in all beyond the least.
    network, profile, codes, labels : as for `spread_passes`.
    """
    least = layer_passes(network, profile.array.pe)
    space = make_space(network, profile, passes=tuple(most))
    too_large = any(gram_bytes(layer) > GRAM_BYTES for layer in space.layers[:-1])
    if tuple(most) == least or too_large:
        return [least] * len(spares)
    tried = [_points(low, high) for low, high in zip(least, most, strict=True)]
    # one thread: sums of floats must not depend on how many share them
    with threadpool_limits(1, user_api="blas"):
        losses = _losses(network, profile, space, tried, codes[:IMAGES], labels[:IMAGES])
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


def _full(
    network: IntegerNetwork, profile: FaultProfile, least: Sequence[int], spare: int
) -> list[int]:
    """Passes beyond which a layer has nothing to win, or the budget."""
    one = make_space(network, profile)
    out = []
    for layer, slots, low in zip(network.layers, one.layers, least, strict=True):
        healthy = slots.healthy_pes.size
        enough = -(-layer.rows // healthy) if healthy else low + spare
        out.append(min(max(low, enough), low + spare))
    return out


def _points(low: int, high: int) -> list[int]:
    """A few numbers of passes from ``low`` to ``high``."""
    return sorted({round(value) for value in np.linspace(low, high, POINTS)})


def _losses(
    network: IntegerNetwork,
    profile: FaultProfile,
    space: Space,
    tried: Sequence[Sequence[int]],
    codes: IntArray,
    labels: IntArray,
) -> list[list[float]]:
    """Loss of the network with one layer on the faulty array in so many passes, nats."""
    clean = Clean(network, profile, space, codes, labels)
    singles = Singles(network, profile, space, codes, None)
    out = []
    for index, points in enumerate(tried):
        layer = space.layers[index]
        if len(points) == 1 or not layer.free:
            out.append([0.0] * len(points))
            continue
        problem = clean.problem(clean.steps[index], DAMPINGS[0])
        found = []
        for passes in points:
            kinds = problem.solve(room(layer, passes * profile.array.pe))
            logits = singles.on_kinds(index, kinds)
            found.append(judge(logits, labels, network.logit_scale).loss)
        out.append(found)
    return out
