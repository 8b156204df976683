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
    group: int  # products that surely sum below 2^15
    act: NDArray[np.int32]  # [2, S] keep and flip of the activations
    cells: NDArray[np.int32]  # [S, 4] keep and flip of the product, keep and flip of the chain
    foot: NDArray[np.int32]  # [2] keep and flip of the accumulator register
    formats: NDArray[np.int32]  # [8] mask, sign bit (0 = unsigned): weight, act, product, sum
    entries: NDArray[np.uint32]  # [E, 4] highest draw that fires, lowest bit, span, keep
    starts: NDArray[np.int64]  # [4*S + 2] first transient of (stage, multiplier); the foot's last


class Draws(NamedTuple):
    """What the transient draws of each row hang on."""

    counters: NDArray[np.uint32]  # [N] column counters
    prefixes: NDArray[np.uint32]  # [B, E] state of each draw before column and step go in
    steps: NDArray[np.int64]  # [B, E] the only step the transient acts in, -1 = all, -2 = none


class Scratch(NamedTuple):
    """What one block of rows and columns works in."""

    x: NDArray[np.int16]  # [S, LANES] activations of the step
    q: NDArray[np.int32]  # [LANES] sum of the step
    flips: NDArray[np.int32]  # [3, LANES]
    states: NDArray[np.uint32]  # [ROW_BLOCK, E, LANES] state of each draw before the step goes in
    total: NDArray[np.int32]  # [ROW_BLOCK, LANES] accumulators


@compiled(inline="always")
def _mix(x: Any) -> Any:
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@compiled()
def _draw(flips: Any, place: int, states: Any, b: int, e: int, step: int, entries: Any) -> None:
    """XOR the inversions of transient ``e`` into ``flips[place]``."""
    highest, low, span = entries[e, 0], entries[e, 1], entries[e, 2]
    keep = np.int32(entries[e, 3])
    word = np.uint32(step)
    if span == 1:
        wire = np.int32(np.int32(1) << np.int32(low)) & keep
        for i in range(LANES):
            h = _mix(np.uint32((states[b, e, i] ^ word) + GOLDEN))
            flips[place, i] ^= wire if h <= highest else np.int32(0)
        return
    for i in range(LANES):
        h = _mix(np.uint32((states[b, e, i] ^ word) + GOLDEN))
        again = _mix(np.uint32(h + GOLDEN))
        # (again * span) >> 32 in two halves, so that all lanes stay 32 bits wide
        upper = np.uint32(np.uint32(again >> np.uint32(16)) * span)
        lower = np.uint32(np.uint32(np.uint32(again & np.uint32(0xFFFF)) * span) >> np.uint32(16))
        bit = np.uint32(low + np.uint32(np.uint32(upper + lower) >> np.uint32(16)))
        wire = np.int32(np.int32(1) << np.int32(bit)) & keep
        flips[place, i] ^= wire if h <= highest else np.int32(0)


@compiled()
def _draw_all(
    work: Scratch, place: int, number: int, cell: Cells, draws: Draws, row: int, b: int, step: int
) -> bool:
    """Inversions at (stage, multiplier) number ``number``; False where it has no transient."""
    first, last = cell.starts[number], cell.starts[number + 1]
    if first == last:
        return False
    work.flips[place, :] = 0
    for e in range(first, last):
        if draws.steps[row, e] == -1 or draws.steps[row, e] == step:
            _draw(work.flips, place, work.states, b, e, step, cell.entries)
    return True


@compiled()
def _multiply(work: Scratch, s: int, w: Any, cell: Cells, any_w: bool, any_a: bool) -> None:
    """flips[2] = w * a, inverted as flips[0] says of w and flips[1] of a, where either is drawn."""
    x, flips = work.x, work.flips
    w_mask, w_sign = cell.formats[0], cell.formats[1]
    a_mask, a_sign = cell.formats[2], cell.formats[3]
    if not any_w:
        flips[0, :] = 0
    if not any_a:
        flips[1, :] = 0
    for i in range(LANES):
        wi = np.int32((((w ^ flips[0, i]) & w_mask) ^ w_sign) - w_sign)
        ai = np.int32((((np.int32(x[s, i]) ^ flips[1, i]) & a_mask) ^ a_sign) - a_sign)
        flips[2, i] = np.int32(wi * ai)


@compiled()
def _faulty_cell(
    work: Scratch, s: int, w: Any, cell: Cells, draws: Draws, row: int, b: int, step: int
) -> None:
    """One multiplier with faults: q = F_psum(q + F_product(w * a)), transients included."""
    x, q, flips = work.x, work.q, work.flips
    simd = x.shape[0]
    m_mask, m_sign = cell.formats[4], cell.formats[5]
    m_keep, m_flip = cell.cells[s, 0], cell.cells[s, 1]
    q_keep, q_flip = cell.cells[s, 2], cell.cells[s, 3]
    any_w = _draw_all(work, 0, s, cell, draws, row, b, step)
    any_a = _draw_all(work, 1, simd + s, cell, draws, row, b, step)
    if any_w or any_a:
        _multiply(work, s, w, cell, any_w, any_a)
    else:
        for i in range(LANES):
            flips[2, i] = np.int32(w * np.int32(x[s, i]))
    if _draw_all(work, 0, 2 * simd + s, cell, draws, row, b, step):
        for i in range(LANES):
            m = np.int32(((flips[2, i] & m_keep) ^ m_flip ^ flips[0, i]) & m_mask)
            q[i] += np.int32((m ^ m_sign) - m_sign)
    else:
        for i in range(LANES):
            m = np.int32(((flips[2, i] & m_keep) ^ m_flip) & m_mask)
            q[i] += np.int32((m ^ m_sign) - m_sign)
    if _draw_all(work, 0, 3 * simd + s, cell, draws, row, b, step):
        for i in range(LANES):
            q[i] = (q[i] & q_keep) ^ q_flip ^ flips[0, i]
    elif q_keep != -1 or q_flip != 0:
        for i in range(LANES):
            q[i] = (q[i] & q_keep) ^ q_flip


@compiled()
def _load(x: Any, codes: Any, sources: Any, step: int, first: int, count: int, cell: Cells) -> None:
    """One step's activations after their permanent faults, as numbers."""
    mask, sign = cell.formats[2], cell.formats[3]
    for s in range(x.shape[0]):
        keep, flip, k = cell.act[0, s], cell.act[1, s], sources[step, s]
        if k < 0:
            value = np.int16(((flip & mask) ^ sign) - sign)
            for i in range(count):
                x[s, i] = value
        else:
            for i in range(count):
                v = ((np.int32(codes[k, first + i]) & keep) ^ flip) & mask
                x[s, i] = np.int16((v ^ sign) - sign)


@compiled()
def _plain_cells(x: Any, q: Any, weights: Any, row: int, step: int, s: int, last: int) -> None:
    """Healthy multipliers s..last-1."""
    while s + 4 <= last:
        w0, w1 = np.int32(weights[row, step, s]), np.int32(weights[row, step, s + 1])
        w2, w3 = np.int32(weights[row, step, s + 2]), np.int32(weights[row, step, s + 3])
        for i in range(LANES):
            q[i] += np.int32(
                np.int32(np.int32(w0 * x[s, i]) + np.int32(w1 * x[s + 1, i]))
                + np.int32(np.int32(w2 * x[s + 2, i]) + np.int32(w3 * x[s + 3, i]))
            )
        s += 4
    while s < last:
        w0 = np.int32(weights[row, step, s])
        for i in range(LANES):
            q[i] += np.int32(w0 * x[s, i])
        s += 1


@compiled()
def _narrow_cells(x: Any, q: Any, weights: Any, row: int, step: int, s: int, last: int) -> None:
    """Healthy multipliers s..last-1 where eight products surely sum below 2^15."""
    while s + 8 <= last:
        w0, w1 = weights[row, step, s], weights[row, step, s + 1]
        w2, w3 = weights[row, step, s + 2], weights[row, step, s + 3]
        w4, w5 = weights[row, step, s + 4], weights[row, step, s + 5]
        w6, w7 = weights[row, step, s + 6], weights[row, step, s + 7]
        for i in range(LANES):
            lower = np.int16(
                np.int16(np.int16(w0 * x[s, i]) + np.int16(w1 * x[s + 1, i]))
                + np.int16(np.int16(w2 * x[s + 2, i]) + np.int16(w3 * x[s + 3, i]))
            )
            upper = np.int16(
                np.int16(np.int16(w4 * x[s + 4, i]) + np.int16(w5 * x[s + 5, i]))
                + np.int16(np.int16(w6 * x[s + 6, i]) + np.int16(w7 * x[s + 7, i]))
            )
            q[i] += np.int32(np.int16(lower + upper))
        s += 8
    while s + 2 <= last:
        w0, w1 = weights[row, step, s], weights[row, step, s + 1]
        for i in range(LANES):
            q[i] += np.int32(np.int16(np.int16(w0 * x[s, i]) + np.int16(w1 * x[s + 1, i])))
        s += 2
    if s < last:
        w0 = weights[row, step, s]
        for i in range(LANES):
            q[i] += np.int32(np.int16(w0 * x[s, i]))


@compiled()
def _step(
    work: Scratch, weights: Any, cell: Cells, draws: Draws, row: int, b: int, step: int
) -> None:
    """One step of one row: the sum of its products, then the accumulator."""
    q, total = work.q, work.total
    q[:] = 0
    for run in range(cell.runs.shape[0]):
        s, last = cell.runs[run, 0], cell.runs[run, 1]
        if cell.runs[run, 2] != 0:
            w = np.int32(weights[row, step, s])
            _faulty_cell(work, s, w, cell, draws, row, b, step)
        elif cell.group >= 8:
            _narrow_cells(work.x, q, weights, row, step, s, last)
        else:
            _plain_cells(work.x, q, weights, row, step, s, last)
    keep, flip = cell.foot[0], cell.foot[1]
    if _draw_all(work, 0, 4 * work.x.shape[0], cell, draws, row, b, step):
        for i in range(LANES):
            total[b, i] = ((total[b, i] + q[i]) & keep) ^ flip ^ work.flips[0, i]
    else:
        for i in range(LANES):
            total[b, i] = ((total[b, i] + q[i]) & keep) ^ flip


@compiled()
def _start_draws(states: Any, draws: Draws, first: int, count: int, row: int, rows: int) -> None:
    for b in range(rows):
        for e in range(states.shape[1]):
            prefix = draws.prefixes[row + b, e]
            for i in range(count):
                states[b, e, i] = _mix(np.uint32((prefix ^ draws.counters[first + i]) + GOLDEN))


@compiled(parallel=True)
def walk(
    codes: NDArray[np.uint8],
    sources: NDArray[np.int64],
    weights: NDArray[np.int16],
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
    for block in numba.prange(lane_blocks * row_blocks):
        first = (block % lane_blocks) * LANES
        count = min(LANES, columns - first)
        row_first = (block // lane_blocks) * ROW_BLOCK
        row_count = min(ROW_BLOCK, rows - row_first)
        # Lanes past the last column are computed and dropped: loops of fixed length are faster.
        work = Scratch(
            np.zeros((simd, LANES), dtype=np.int16),
            np.zeros(LANES, dtype=np.int32),
            np.zeros((3, LANES), dtype=np.int32),
            np.zeros((row_count, cell.entries.shape[0], LANES), dtype=np.uint32),
            np.zeros((row_count, LANES), dtype=np.int32),
        )
        _start_draws(work.states, draws, first, count, row_first, row_count)
        for step in range(depth):
            _load(work.x, codes, sources, step, first, count, cell)
            for b in range(row_count):
                _step(work, weights, cell, draws, row_first + b, b, step)
        for b in range(row_count):
            for i in range(count):
                v = np.int32(work.total[b, i] & mask)
                out[row_first + b, first + i] = np.int32((v ^ sign) - sign)
