"""Thresholds fitted to faulty sums: isotonic regression of the codes wanted, one row at a time.

What is wanted of a row's faulty sums is a staircase: the code that the healthy row gives. Of all
monotone functions of the sums the one nearest to these codes in squares is their isotonic
regression, found by pooling adjacent violators; rounded to whole codes it is a set of thresholds.

References
----------
M. J. Best, N. Chakravarti, "Active set algorithms for isotonic regression", Mathematical
Programming 47 (1990), doi:10.1007/BF01580873.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.engine.kernels import compiled


def fit(
    sums: IntArray, wanted: IntArray, trained: IntArray, lowest: int
) -> tuple[IntArray, FloatArray]:
    """Ascending thresholds of each row's sums, and what is left of its error.

    Parameters
    ----------
    sums : [n, N] faulty sums, in the direction in which the codes rise.
    wanted : [n, N] codes.
    trained : [n, L] ascending thresholds that hold where no sum says otherwise: codes that no
        column asks for lie beyond the sums seen, at the distance that the trained ones have.
    lowest : code below all thresholds.

    Returns
    -------
    Thresholds [n, L] and mean squared error [n] of the codes.
    """
    order = np.argsort(sums, axis=1, kind="stable")
    ordered = np.take_along_axis(sums, order, axis=1)
    codes = np.take_along_axis(wanted, order, axis=1)
    values = np.empty(trained.shape, dtype=np.int64)
    errors = np.empty(len(sums), dtype=np.float64)
    _fit(ordered, codes, trained, lowest, values, errors)
    return values, errors


def error(sums: IntArray, wanted: IntArray, values: IntArray, lowest: int) -> FloatArray:
    """Mean squared error [n] of the codes that ascending thresholds give; arguments as `fit`."""
    errors = np.empty(len(sums), dtype=np.float64)
    _error(sums, wanted, values, lowest, errors)
    return errors


@compiled(parallel=True)
def _fit(
    sums: IntArray,
    codes: IntArray,
    trained: IntArray,
    lowest: int,
    values: IntArray,
    errors: FloatArray,
) -> None:
    for row in numba.prange(sums.shape[0]):
        starts = np.empty(sums.shape[1] + 1, dtype=np.int64)
        totals = np.empty(sums.shape[1], dtype=np.int64)
        blocks = _pool(sums[row], codes[row], starts, totals)
        _steps(sums[row], starts, totals, blocks, trained[row], lowest, values[row])
        left = 0
        for block in range(blocks):
            count = starts[block + 1] - starts[block]
            level = _nearest(totals[block], count)
            for i in range(starts[block], starts[block + 1]):
                left += (codes[row, i] - level) ** 2
        errors[row] = left / max(sums.shape[1], 1)


@compiled()
def _pool(sums: Any, codes: Any, starts: Any, totals: Any) -> int:
    """Blocks of ascending means: their first places and sums of codes. All in integers."""
    blocks = 0
    i, n = 0, sums.size
    while i < n:
        first, total = i, 0
        while i < n and sums[i] == sums[first]:  # equal sums have one code
            total += codes[i]
            i += 1
        while blocks > 0:
            count, before = i - first, first - starts[blocks - 1]
            if totals[blocks - 1] * count < total * before:
                break
            first = starts[blocks - 1]
            total += totals[blocks - 1]
            blocks -= 1
        starts[blocks], totals[blocks] = first, total
        blocks += 1
    starts[blocks] = n
    return blocks


@compiled()
def _nearest(total: Any, count: Any) -> int:
    """Rounded total / count; halves go up, so that no code depends on the sign."""
    return int((2 * total + count) // (2 * count))


@compiled()
def _steps(
    sums: Any, starts: Any, totals: Any, blocks: Any, trained: Any, lowest: int, values: Any
) -> None:
    n = sums.size
    block = 0
    for level in range(values.size):
        code = lowest + level + 1
        while block < blocks:
            if _nearest(totals[block], starts[block + 1] - starts[block]) >= code:
                break
            block += 1
        if n == 0:
            values[level] = trained[level]
        elif block == blocks:  # no column asks for it
            gap = trained[level] - trained[level - 1] if level > 0 else 1
            beyond = values[level - 1] + gap if level > 0 else sums[n - 1] + 1
            values[level] = max(beyond, sums[n - 1] + 1)
        elif block == 0:
            values[level] = sums[0]
        else:
            # halfway between the sums on both sides of the step, in whole numbers
            values[level] = (sums[starts[block] - 1] + sums[starts[block]] + 1) >> 1
    for level in range(values.size - 2, -1, -1):  # below every sum seen: as far apart as trained
        if n > 0 and values[level] == sums[0]:
            gap = trained[level + 1] - trained[level]
            values[level] = min(values[level + 1] - gap, sums[0])


@compiled(parallel=True)
def _error(
    sums: IntArray, wanted: IntArray, values: IntArray, lowest: int, errors: NDArray[Any]
) -> None:
    for row in numba.prange(sums.shape[0]):
        left = 0
        for i in range(sums.shape[1]):
            code = lowest
            for level in range(values.shape[1]):
                if sums[row, i] >= values[row, level]:
                    code += 1
            left += (wanted[row, i] - code) ** 2
        errors[row] = left / max(sums.shape[1], 1)
