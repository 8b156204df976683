"""The schedule of the study's first layer: curves of cost, assignment, swaps on the images.

Where rows break images independently of one another, an image survives all of them with the
product of its chances to survive each. So a row's cost is the negative logarithm of the share of
images that survive where that row alone is struck with probability p, measured at a few p and
straight between them; what a broken network guesses right counts as lost. Rows on threads with
these costs are a linear sum assignment: its optimum is the least that the *separable* cost can
be. What it misses is left to swaps judged on the images.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from hascodesign.contract.types import FloatArray, IntArray, frozen
from hascodesign.study.has.forward import FirstLayer

LEVELS = (0.0, 0.06, 0.2, 0.5, 1.0)  # of pmax: where a row's curve is measured
CURVE_DRAWS = 2
SEARCH_DRAWS = 1
BUSY_ROWS = 6  # rows whose swaps are tried
SURE = 1.5  # standard errors that a swap must win by
MOST_LOST = 0.999  # of the images; bounds the logarithm


@dataclass(frozen=True, slots=True)
class Curves:
    """What each row alone costs, by probability."""

    p: FloatArray  # [levels], rising from 0
    lost: FloatArray  # [R, levels] of what a network can lose, the share lost; 0..1
    seconds: float

    def cost(self, p: FloatArray) -> FloatArray:
        """[R, slots]: -log of the share that survives each row at the probability of each slot."""
        costs = -np.log1p(-np.minimum(self.lost, MOST_LOST))
        return np.array([np.interp(p, self.p, row) for row in costs])


def share_lost(cost: float) -> float:
    """Share of what a network can lose that a separable cost comes to."""
    return 1 - math.exp(-cost)


@dataclass(frozen=True, slots=True)
class Found:
    """A map of the first layer, and what the search knows of it."""

    slots: IntArray  # [R] slot of each row
    assigned: IntArray  # [R] the assignment that it started from
    bound: float  # least separable cost, -log of a share
    plain_cost: float  # separable cost of the plain order
    evaluations: int  # of the swaps
    seconds: float


def measure_curves(first: FirstLayer, pmax: float, seed: int) -> Curves:
    """Cost curve of every row on the images of ``first``.

    Parameters
    ----------
    first : evaluator on calibration images.
    pmax : largest probability.
    seed : of the draws, the same for every row and level.
    """
    start = time.monotonic()
    rows = first.network.layers[0].rows
    healthy = first.healthy.mean()
    classes = first.network.layers[-1].rows
    most = max(healthy - 1 / classes, 1 / len(first.healthy))  # that a network can lose
    lost = np.zeros((rows, len(LEVELS)))
    for row in range(rows):
        for place in range(len(LEVELS) - 1, 0, -1):
            p = np.zeros(rows)
            p[row] = LEVELS[place] * pmax
            right = [first.correct(p, pmax, seed + n).mean() for n in range(CURVE_DRAWS)]
            lost[row, place] = min(max(0.0, (healthy - np.mean(right)) / most), 1.0)
            if lost[row, place] == 0.0:
                break  # less of it costs nothing either
    lost = np.maximum.accumulate(lost, axis=1)
    return Curves(frozen(np.array(LEVELS) * pmax, np.float64), lost, time.monotonic() - start)


def assign(cost: FloatArray) -> IntArray:
    """Slot [R] of each row of the least total cost."""
    return frozen(linear_sum_assignment(cost)[1])


def schedule(first: FirstLayer, curves: Curves, p: FloatArray, pmax: float, seed: int) -> Found:
    """Map of the first layer's rows.

    Parameters
    ----------
    first : evaluator on calibration images.
    curves : of its rows.
    p : [slots] probability of each slot.
    seed : of the draws that the swaps are compared on.
    """
    start = time.monotonic()
    rows = len(curves.lost)
    cost = curves.cost(p)
    assigned = assign(cost)
    least = float(cost[np.arange(rows), assigned].sum())
    plain = float(np.trace(cost))

    def right(slots: IntArray) -> FloatArray:
        found = [first.correct(p[slots], pmax, seed + n) for n in range(SEARCH_DRAWS)]
        return np.concatenate(found).astype(np.float64)

    slots, evaluations = _swaps(right, np.array(assigned), curves, p)
    seconds = time.monotonic() - start + curves.seconds
    return Found(frozen(slots), assigned, least, plain, evaluations, seconds)


def _swaps(
    right: Callable[[IntArray], FloatArray], slots: IntArray, curves: Curves, p: FloatArray
) -> tuple[IntArray, int]:
    """Exchange the busiest rows with neighbours in probability where that is surely better."""
    best, evaluations = right(slots), 1
    busy = np.argsort(-curves.lost[:, -1], kind="stable")[:BUSY_ROWS]
    for row in busy:
        for slot in _near(p, int(slots[row])):
            tried = _exchanged(slots, int(row), slot)
            value = right(tried)
            evaluations += 1
            gain = value - best
            # the paired noise of the two: a win below it would be a random walk
            if gain.mean() > SURE * gain.std() / np.sqrt(len(gain)) and gain.mean() > 0:
                slots, best = tried, value
    return slots, evaluations


def _near(p: FloatArray, slot: int) -> list[int]:
    """Slots that are a few places better or worse than this one."""
    order = np.argsort(p, kind="stable")
    place = int(np.flatnonzero(order == slot)[0])
    around = [place + step for step in (-1, 1)]
    return [int(order[n]) for n in around if 0 <= n < len(order)]


def _exchanged(slots: IntArray, row: int, slot: int) -> IntArray:
    tried = slots.copy()
    tried[tried == slot] = slots[row]
    tried[row] = slot
    return tried


def random_map(rng: np.random.Generator, rows: int, slots: int) -> IntArray:
    """Map drawn evenly."""
    return frozen(rng.permutation(slots)[:rows])
