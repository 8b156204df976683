"""The words of healthy multipliers moved to make up for what the faulty ones lack.

A row's sums are off by what its faulty multiplier cannot give, and by what the layers before get
wrong. Both are partly a linear function of the activations that the healthy multipliers meet, so
steps of one in their words, the one that wins most first, take it away.

All sums are of integers below 2^53, exact in float64 whatever their order; where they are below
2^24, float32 will do.

References
----------
E. Frantar, D. Alistarh, "Optimal brain compression", NeurIPS 2022, arXiv:2208.11580.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import BoolArray, FloatArray, IntArray
from hascodesign.engine.kernels import compiled
from hascodesign.engine.matrix import FLOAT32_EXACT

BYTES = 400 << 20  # of the products of all activations; beyond it a layer is too deep for this
#: Times the mean square left by which a step must win more than chance would.
PENALTY = 6.0


def affordable(depth: int) -> bool:
    """Whether a layer of K = ``depth`` is small enough."""
    return 8 * depth * depth <= BYTES


def covariances(codes: IntArray) -> FloatArray:
    """N^2 times the covariance [K, K] of activations [K, N]; whole numbers."""
    most = int(np.abs(codes).max(initial=0)) ** 2 * codes.shape[1]
    real: NDArray[Any] = codes.astype(np.float32 if most < FLOAT32_EXACT else np.float64)
    total = codes.sum(axis=1).astype(np.float64)
    return np.asarray(codes.shape[1] * (real @ real.T).astype(np.float64) - np.outer(total, total))


def improve(
    weights: NDArray[np.int16],
    errors: IntArray,
    codes: IntArray,
    free: BoolArray,
    limits: tuple[int, int],
) -> NDArray[np.int16]:
    """Weights [n, K] whose sums lie nearer to what is wanted, a constant apart.

    Parameters
    ----------
    weights : [n, K] words as they are.
    errors : [n, N] sums less those wanted.
    codes : [K, N] activations.
    free : [n, K] words that may move.
    limits : least and greatest word.
    """
    columns, between = codes.shape[1], covariances(codes)
    real, wrong = codes.astype(np.float64), errors.astype(np.float64)
    slopes = columns * (wrong @ real.T) - np.outer(wrong.sum(axis=1), real.sum(axis=1))
    left = columns * (wrong**2).sum(axis=1) - wrong.sum(axis=1) ** 2
    out = np.ascontiguousarray(weights).copy()
    _descend(out, slopes, left, between, free, limits, PENALTY / max(columns, 1))
    return out


@compiled(parallel=True)
def _descend(
    weights: NDArray[np.int16],
    slopes: FloatArray,
    left: FloatArray,
    between: FloatArray,
    free: BoolArray,
    limits: tuple[int, int],
    least_share: float,
) -> None:
    rows, depth = weights.shape
    for row in numba.prange(rows):
        for _ in range(2 * depth):
            best, place = 0.0, -1
            for k in range(depth):
                if not free[row, k]:
                    continue
                gain = 2.0 * abs(slopes[row, k]) - between[k, k]
                if gain > best and _inside(weights[row, k], slopes[row, k], limits):
                    best, place = gain, k
            if place < 0 or best <= least_share * left[row]:
                break
            step = -1 if slopes[row, place] > 0 else 1
            weights[row, place] += step
            for k in range(depth):
                slopes[row, k] += step * between[place, k]
            left[row] -= best


@compiled(inline="always")
def _inside(word: Any, slope: Any, limits: Any) -> bool:
    return word > limits[0] if slope > 0 else word < limits[1]
