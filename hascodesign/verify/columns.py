"""Which columns of a layer are simulated: as many as the budget allows, chosen to excite faults."""

from __future__ import annotations

import numpy as np

from hascodesign.contract.types import BoolArray, IntArray, IntegerNetwork, MultiplyLayer
from hascodesign.verify.coverage import Excitation

TARGET = 32  # columns of a layer that fits the cycle budget
LEAST = 2  # columns of any layer
LEVELS = 16  # bins of output values whose spread is sought
POOL = 2048  # candidate columns at most
CANDIDATES = 4  # for each column chosen, at least
POOL_WORK = 40_000_000  # partial sums worked out to judge the candidates of one layer
IMAGES = 256  # held-out images run at most
RUN_BYTES = 96 << 20  # size of the largest X of the run


def simulated_cycles(passes: int, steps: int, pe: int, columns: int, external: bool) -> int:
    """Clock cycles that a layer takes: every column streams in T beats and drains P results.

    The words of a layer with external weights are loaded once for each pass and step.
    """
    return passes * columns * max(steps, pe + 1) + (passes * steps if external else 0)


def column_count(passes: int, steps: int, pe: int, external: bool, cycle_budget: int) -> int:
    """Columns of a layer: ``TARGET`` within the budget, else as many as fit, at least ``LEAST``."""
    load = simulated_cycles(passes, steps, pe, 0, external)
    fit = (cycle_budget - load) // simulated_cycles(passes, steps, pe, 1, False)
    return int(min(TARGET, max(LEAST, fit)))


def image_count(network: IntegerNetwork, available: int) -> int:
    """Held-out images to run, so that no layer's X takes more than ``RUN_BYTES``."""
    largest = max(layer.depth * layer.positions * 8 for layer in network.layers)
    return min(available, IMAGES, max(LEAST, RUN_BYTES // largest))


def pool(
    layer: MultiplyLayer, images: int, count: int, cost: int, rng: np.random.Generator
) -> IntArray:
    """Candidate columns of a layer, ascending.

    Parameters
    ----------
    layer : the layer.
    images : images of the run.
    count : columns that will be chosen.
    cost : partial sums to work out for one column: passes*T for each fault.
    rng : draws the candidates where there are more columns than are judged.
    """
    total = images * layer.positions
    size = min(total, POOL, max(CANDIDATES * count, POOL_WORK // max(1, cost)))
    return np.sort(rng.choice(total, size=size, replace=False))


def choose(excited: Excitation, codes: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    """Columns to simulate, of the candidates.

    First a greedy cover of the faults that change an accumulator, then of those that are
    exercised, then up to three quarters of the count for a spread of every row's output values,
    and the rest drawn evenly.

    Parameters
    ----------
    excited : what each fault does at each candidate.
    codes : [R, N] output codes at the candidates (last layer: ACC + bias).
    count : columns wanted.
    rng : draws the rest.

    Returns
    -------
    Places among the candidates, ascending, ``min(count, N)`` of them.
    """
    candidates = codes.shape[1]
    if candidates <= count:
        return np.arange(candidates)
    chosen: list[int] = []
    _cover(excited.changed, chosen, count)
    _cover(excited.exercised, chosen, count)
    _cover(_levels(codes), chosen, max(len(chosen), count * 3 // 4))
    rest = np.setdiff1d(np.arange(candidates), np.array(chosen, dtype=np.int64))
    drawn = rng.choice(rest, size=count - len(chosen), replace=False)
    return np.sort(np.concatenate([np.array(chosen, dtype=np.int64), drawn]))


def _cover(elements: BoolArray, chosen: list[int], count: int) -> None:
    """Add columns to ``chosen`` while one brings a new element and fewer than ``count`` stand."""
    open_ = ~elements[:, chosen].any(axis=1)
    # float32 turns the count of new elements into one matrix product; counts stay below 2^24
    table = elements.astype(np.float32)
    while len(chosen) < count and open_.any():
        gains = open_.astype(np.float32) @ table
        best = int(np.argmax(gains))
        if gains[best] == 0:
            return
        chosen.append(best)
        open_ &= ~elements[:, best]


def _levels(codes: IntArray) -> BoolArray:
    """Whether row r gives a value of bin b at each candidate, [R * bins, N]."""
    low = codes.min(axis=1, keepdims=True)
    span = codes.max(axis=1, keepdims=True) - low + 1
    bins = np.where(span <= LEVELS, codes - low, (codes - low) * LEVELS // span)
    return (bins[:, None, :] == np.arange(LEVELS)[None, :, None]).reshape(-1, codes.shape[1])
