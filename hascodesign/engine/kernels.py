"""numba kernels: the walk over K on a faulty PE, many columns side by side.

Sums run in 32 bits and are wrapped to the accumulator's width once, at the end: additions carry
upwards only, and every mask keeps the bits above its site, so the low bits are right throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

LANES = 256  # columns side by side: the block's operands stay in the first-level cache
ROW_BLOCK = 8  # rows that share one read of the activations
GOLDEN = np.uint32(0x9E3779B9)

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(*, parallel: bool = False, inline: str = "never") -> Callable[[Function], Function]:
    """Function compiled by numba, its type kept."""

    def decorate(function: Function) -> Function:
        return numba.njit(parallel=parallel, inline=inline)(function)

    return decorate


class Cells(NamedTuple):
    """One faulty PE as the kernel reads it; every fault is v -> (v AND keep) XOR flip."""

    runs: NDArray[np.int64]  # [n, 3] first multiplier, one past the last, 1 = one faulty cell
    act: NDArray[np.int32]  # [2, S] keep and flip of the activations
    cells: NDArray[np.int32]  # [S, 4] keep and flip of the product, keep and flip of the chain
    foot: NDArray[np.int32]  # [2] keep and flip of the accumulator register
    formats: NDArray[np.int32]  # [8] mask, sign bit (0 = unsigned): weight, act, product, sum
    entries: NDArray[np.int64]  # [E, 4] limit, lowest bit, span, keep of each transient
    starts: NDArray[np.int64]  # [4*S + 2] first transient of (stage, multiplier); the foot's last


class Draws(NamedTuple):
    """What the transient draws of each row hang on."""

    counters: NDArray[np.uint32]  # [N] column counters
    prefixes: NDArray[np.uint32]  # [B, E] state of each draw before column and step go in
    steps: NDArray[np.int64]  # [B, E] the only step the transient acts in, -1 = all, -2 = none


class Lanes(NamedTuple):
    """The draws of one row in one block of columns."""

    counters: NDArray[np.uint32]  # [count]
    prefixes: NDArray[np.uint32]  # [E]
    steps: NDArray[np.int64]  # [E]
    step: int


@compiled(inline="always")
def _mix(x: Any) -> Any:
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@compiled()
def _draw(flips: Any, lanes: Lanes, prefix: Any, entry: Any) -> None:
    limit, low = np.int64(entry[0]), np.uint32(entry[1])
    span, keep = np.uint64(entry[2]), np.int32(entry[3])
    word = np.uint32(lanes.step)
    counters = lanes.counters
    for i in range(counters.size):
        h = _mix(np.uint32((prefix ^ counters[i]) + GOLDEN))
        h = _mix(np.uint32((h ^ word) + GOLDEN))
        bit = low
        if span > 1:
            again = np.uint64(_mix(np.uint32(h + GOLDEN)))
            bit = np.uint32(low + np.uint32((again * span) >> np.uint64(32)))
        if np.int64(h) < limit:
            flips[i] ^= np.int32(np.int32(1) << np.int32(bit)) & keep


@compiled()
def _draw_all(flips: Any, lanes: Lanes, cell: Cells, place: int) -> bool:
    """Inversions of all transients at (stage, multiplier) ``place``; False where there are none."""
    first, last = cell.starts[place], cell.starts[place + 1]
    for i in range(lanes.counters.size):
        flips[i] = np.int32(0)
    for e in range(first, last):
        if lanes.steps[e] == -1 or lanes.steps[e] == lanes.step:
            _draw(flips, lanes, lanes.prefixes[e], cell.entries[e])
    return last > first


@compiled()
def _faulty_cell(q: Any, x: Any, w: Any, s: int, cell: Cells, lanes: Lanes, flips: Any) -> None:
    """One multiplier with faults: q = F_psum(q + F_product(w * a)), transients included."""
    count, simd = lanes.counters.size, cell.cells.shape[0]
    w_mask, w_sign, a_mask, a_sign = cell.formats[:4]
    m_mask, m_sign = cell.formats[4:6]
    m_keep, m_flip, q_keep, q_flip = cell.cells[s]
    drawn_w, drawn_a, product = flips[0], flips[1], flips[2]
    any_w = _draw_all(drawn_w, lanes, cell, s)
    any_a = _draw_all(drawn_a, lanes, cell, simd + s)
    if any_w or any_a:
        for i in range(count):
            wi = np.int32((((w ^ drawn_w[i]) & w_mask) ^ w_sign) - w_sign)
            ai = np.int32((((x[i] ^ drawn_a[i]) & a_mask) ^ a_sign) - a_sign)
            product[i] = np.int32(wi * ai)
    else:
        for i in range(count):
            product[i] = np.int32(w * x[i])
    _draw_all(flips[0], lanes, cell, 2 * simd + s)
    for i in range(count):
        m = np.int32(((product[i] & m_keep) ^ m_flip ^ flips[0, i]) & m_mask)
        q[i] += np.int32((m ^ m_sign) - m_sign)
    if _draw_all(flips[0], lanes, cell, 3 * simd + s) or q_keep != -1 or q_flip != 0:
        for i in range(count):
            q[i] = (q[i] & q_keep) ^ q_flip ^ flips[0, i]


@compiled()
def _load(xs: Any, codes: Any, sources: Any, first: int, count: int, cell: Cells) -> None:
    """One step's activations after their permanent faults, as numbers."""
    mask, sign = cell.formats[2], cell.formats[3]
    for s in range(xs.shape[0]):
        keep, flip, k = cell.act[0, s], cell.act[1, s], sources[s]
        x = xs[s]
        if k < 0:
            value = np.int32(((flip & mask) ^ sign) - sign)
            for i in range(count):
                x[i] = value
        elif keep == -1 and flip == 0 and sign == 0:
            row = codes[k]
            for i in range(count):
                x[i] = np.int32(row[first + i])
        else:
            row = codes[k]
            for i in range(count):
                v = ((np.int32(row[first + i]) & keep) ^ flip) & mask
                x[i] = np.int32((v ^ sign) - sign)


@compiled()
def _plain_cells(q: Any, xs: Any, w: Any, s: int, last: int, count: int) -> None:
    """Healthy multipliers s..last-1, four at a time."""
    while s + 4 <= last:
        w0, w1, w2, w3 = w[s], w[s + 1], w[s + 2], w[s + 3]
        x0, x1, x2, x3 = xs[s], xs[s + 1], xs[s + 2], xs[s + 3]
        for i in range(count):
            q[i] += np.int32(
                np.int32(np.int32(w0 * x0[i]) + np.int32(w1 * x1[i]))
                + np.int32(np.int32(w2 * x2[i]) + np.int32(w3 * x3[i]))
            )
        s += 4
    while s < last:
        w0, x0 = w[s], xs[s]
        for i in range(count):
            q[i] += np.int32(w0 * x0[i])
        s += 1


@compiled(parallel=True)
def walk(
    codes: NDArray[np.uint8],
    sources: NDArray[np.int64],
    weights: NDArray[np.int32],
    cell: Cells,
    draws: Draws,
    out: NDArray[np.int32],
) -> None:
    """ACC of some rows on one faulty PE.

    Parameters
    ----------
    codes : [K, N] activation codes, two's complement in 8 bits where signed.
    sources : [T, S] row of ``codes`` per step and multiplier, -1 for padding.
    weights : [B, T, S] words after their permanent faults.
    cell : the PE.
    draws : what its transients hang on.
    out : [B, N] filled with ACC.
    """
    rows, depth, simd = weights.shape
    columns = codes.shape[1]
    lane_blocks = (columns + LANES - 1) // LANES
    row_blocks = (rows + ROW_BLOCK - 1) // ROW_BLOCK
    mask, sign = cell.formats[6], cell.formats[7]
    keep, flip = cell.foot[0], cell.foot[1]
    for block in numba.prange(lane_blocks * row_blocks):
        first = (block % lane_blocks) * LANES
        count = min(LANES, columns - first)
        row_first = (block // lane_blocks) * ROW_BLOCK
        row_count = min(ROW_BLOCK, rows - row_first)
        counters = draws.counters[first : first + count]
        xs = np.empty((simd, LANES), dtype=np.int32)
        acc = np.zeros((ROW_BLOCK, LANES), dtype=np.int32)
        q = np.empty(LANES, dtype=np.int32)
        flips = np.empty((3, LANES), dtype=np.int32)
        for step in range(depth):
            _load(xs, codes, sources[step], first, count, cell)
            for b in range(row_count):
                row = row_first + b
                w, total = weights[row, step], acc[b]
                lanes = Lanes(counters, draws.prefixes[row], draws.steps[row], step)
                q[:] = 0
                for run in range(cell.runs.shape[0]):
                    s, last = cell.runs[run, 0], cell.runs[run, 1]
                    if cell.runs[run, 2] == 0:
                        _plain_cells(q, xs, w, s, last, count)
                    else:
                        _faulty_cell(q, xs[s], w[s], s, cell, lanes, flips)
                if _draw_all(flips[0], lanes, cell, 4 * simd):
                    for i in range(count):
                        total[i] = ((total[i] + q[i]) & keep) ^ flip ^ flips[0, i]
                else:
                    for i in range(count):
                        total[i] = ((total[i] + q[i]) & keep) ^ flip
        for b in range(row_count):
            for i in range(count):
                v = np.int32(acc[b, i] & mask)
                out[row_first + b, first + i] = np.int32((v ^ sign) - sign)
