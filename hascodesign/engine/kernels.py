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
        return numba.njit(parallel=parallel, inline=inline, cache=inline == "never")(function)

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


@compiled(inline="always")
def _mix(x: Any) -> Any:
    x = np.uint32(x ^ (x >> np.uint32(16)))
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x = np.uint32(x ^ (x >> np.uint32(15)))
    x = np.uint32(x * np.uint32(0x846CA68B))
    return np.uint32(x ^ (x >> np.uint32(16)))


@compiled()
def _draw(flips: Any, states: Any, b: int, e: int, step: int, entries: Any) -> None:
    """XOR the inversions of transient ``e`` in row ``b`` into ``flips[b]``."""
    highest, low, span = entries[e, 0], entries[e, 1], entries[e, 2]
    keep = np.int32(entries[e, 3])
    word = np.uint32(step)
    if span == 1:
        wire = np.int32(np.int32(1) << np.int32(low)) & keep
        for i in range(LANES):
            h = _mix(np.uint32((states[b, e, i] ^ word) + GOLDEN))
            flips[b, i] ^= wire if h <= highest else np.int32(0)
        return
    for i in range(LANES):
        h = _mix(np.uint32((states[b, e, i] ^ word) + GOLDEN))
        again = _mix(np.uint32(h + GOLDEN))
        # (again * span) >> 32 in two halves, so that all lanes stay 32 bits wide
        upper = np.uint32(np.uint32(again >> np.uint32(16)) * span)
        lower = np.uint32(np.uint32(np.uint32(again & np.uint32(0xFFFF)) * span) >> np.uint32(16))
        bit = np.uint32(low + np.uint32(np.uint32(upper + lower) >> np.uint32(16)))
        wire = np.int32(np.int32(1) << np.int32(bit)) & keep
        flips[b, i] ^= wire if h <= highest else np.int32(0)


@compiled()
def _draw_all(
    flips: Any, states: Any, step: int, number: int, entries: Any, starts: Any, steps: Any
) -> bool:
    """Inversions [rows, LANES] at (stage, multiplier) ``number``; False where nothing is drawn."""
    first, last = starts[number], starts[number + 1]
    if first == last:
        return False
    flips[:, :] = 0
    for e in range(first, last):
        for b in range(flips.shape[0]):
            if steps[b, e] == -1 or steps[b, e] == step:
                _draw(flips, states, b, e, step, entries)
    return True


@compiled()
def _products(
    x: Any, m: Any, flips_w: Any, flips_a: Any, weights: Any, step: int, s: int, formats: Any
) -> None:
    """Products m = w * a, where the flips invert bits of w and of a."""
    w_mask, w_sign = formats[0], formats[1]
    a_mask, a_sign = formats[2], formats[3]
    for b in range(m.shape[0]):
        w = np.int32(weights[b, step, s])
        for i in range(LANES):
            wi = np.int32((((w ^ flips_w[b, i]) & w_mask) ^ w_sign) - w_sign)
            ai = np.int32((((np.int32(x[s, i]) ^ flips_a[b, i]) & a_mask) ^ a_sign) - a_sign)
            m[b, i] = np.int32(wi * ai)


@compiled()
def _struck_cell(x: Any, q: Any, weights: Any, step: int, s: int, cells: Any, formats: Any) -> None:
    """Add F_product(w * a) of one multiplier to q, where nothing is drawn."""
    keep, flip = cells[s, 0], cells[s, 1]
    mask, sign = formats[4], formats[5]
    for b in range(q.shape[0]):
        w = np.int32(weights[b, step, s])
        for i in range(LANES):
            v = np.int32(((np.int32(w * np.int32(x[s, i])) & keep) ^ flip) & mask)
            q[b, i] += np.int32((v ^ sign) - sign)


@compiled()
def _free_sums(cells: Any, foot: Any, starts: Any) -> bool:
    """Whether neither the chain inside the PE nor its register is faulty: sums need no order."""
    simd = cells.shape[0]
    free = foot[0] == -1 and foot[1] == 0 and starts[3 * simd] == starts[4 * simd + 1]
    for s in range(simd):
        free = free and cells[s, 2] == -1 and cells[s, 3] == 0
    return free


@compiled()
def _add_products(q: Any, m: Any, flips: Any, s: int, cells: Any, formats: Any) -> None:
    """Add F_product(m) to q; ``flips`` are the transient inversions."""
    keep, flip = cells[s, 0], cells[s, 1]
    mask, sign = formats[4], formats[5]
    for b in range(q.shape[0]):
        for i in range(LANES):
            v = np.int32(((m[b, i] & keep) ^ flip ^ flips[b, i]) & mask)
            q[b, i] += np.int32((v ^ sign) - sign)


@compiled()
def _chain(q: Any, flips: Any, keep: Any, flip: Any) -> None:
    """F_psum of q in place; ``flips`` are the transient inversions."""
    for b in range(q.shape[0]):
        for i in range(LANES):
            q[b, i] = np.int32((q[b, i] & keep) ^ flip ^ flips[b, i])


@compiled()
def _foot(total: Any, q: Any, flips: Any, foot: Any, drawn: bool) -> None:
    """Accumulator register: acc = F(acc + q), and q = 0 for the next step."""
    keep, flip = foot[0], foot[1]
    for b in range(q.shape[0]):
        if drawn:
            for i in range(LANES):
                total[b, i] = np.int32(((total[b, i] + q[b, i]) & keep) ^ flip ^ flips[b, i])
        else:
            for i in range(LANES):
                total[b, i] = np.int32(((total[b, i] + q[b, i]) & keep) ^ flip)
        for i in range(LANES):
            q[b, i] = np.int32(0)


@compiled()
def _load(x: Any, fed: Any, block: int, step: int, act: Any, formats: Any) -> None:
    """One step's activations after their permanent faults, as numbers."""
    mask, sign = formats[2], formats[3]
    for s in range(x.shape[0]):
        keep, flip = act[0, s], act[1, s]
        for i in range(LANES):
            v = ((np.int32(fed[block, step, s, i]) & keep) ^ flip) & mask
            x[s, i] = np.int16((v ^ sign) - sign)


@compiled()
def _plain_cells(x: Any, q: Any, weights: Any, step: int, s: int, last: int) -> None:
    """Healthy multipliers s..last-1."""
    while s + 4 <= last:
        for b in range(q.shape[0]):
            w0, w1 = np.int32(weights[b, step, s]), np.int32(weights[b, step, s + 1])
            w2, w3 = np.int32(weights[b, step, s + 2]), np.int32(weights[b, step, s + 3])
            for i in range(LANES):
                q[b, i] += np.int32(
                    np.int32(np.int32(w0 * x[s, i]) + np.int32(w1 * x[s + 1, i]))
                    + np.int32(np.int32(w2 * x[s + 2, i]) + np.int32(w3 * x[s + 3, i]))
                )
        s += 4
    while s < last:
        for b in range(q.shape[0]):
            w0 = np.int32(weights[b, step, s])
            for i in range(LANES):
                q[b, i] += np.int32(w0 * x[s, i])
        s += 1


@compiled()
def _narrow_cells(x: Any, q: Any, weights: Any, step: int, s: int, last: int) -> None:
    """Healthy multipliers s..last-1 where eight products surely sum below 2^15."""
    while s + 8 <= last:
        for b in range(q.shape[0]):
            w0, w1 = weights[b, step, s], weights[b, step, s + 1]
            w2, w3 = weights[b, step, s + 2], weights[b, step, s + 3]
            w4, w5 = weights[b, step, s + 4], weights[b, step, s + 5]
            w6, w7 = weights[b, step, s + 6], weights[b, step, s + 7]
            for i in range(LANES):
                lower = np.int16(
                    np.int16(np.int16(w0 * x[s, i]) + np.int16(w1 * x[s + 1, i]))
                    + np.int16(np.int16(w2 * x[s + 2, i]) + np.int16(w3 * x[s + 3, i]))
                )
                upper = np.int16(
                    np.int16(np.int16(w4 * x[s + 4, i]) + np.int16(w5 * x[s + 5, i]))
                    + np.int16(np.int16(w6 * x[s + 6, i]) + np.int16(w7 * x[s + 7, i]))
                )
                q[b, i] += np.int32(np.int16(lower + upper))
        s += 8
    while s < last:
        for b in range(q.shape[0]):
            w0 = weights[b, step, s]
            for i in range(LANES):
                q[b, i] += np.int32(np.int16(w0 * x[s, i]))
        s += 1


@compiled()
def _start_draws(states: Any, draws: Draws, row: int, first: int) -> None:
    count = min(LANES, draws.counters.size - first)
    for b in range(states.shape[0]):
        for e in range(states.shape[1]):
            prefix = draws.prefixes[row + b, e]
            for i in range(count):
                states[b, e, i] = _mix(np.uint32((prefix ^ draws.counters[first + i]) + GOLDEN))


@compiled()
def _block(
    fed: Any, block: int, weights: Any, cell: Cells, draws: Draws, starts_at: Any, row: int
) -> Any:
    """ACC before the last wrap, [rows of the block, LANES]."""
    # Copies: a reference count that the threads share costs more than the arithmetic.
    weights = weights[row : row + ROW_BLOCK].copy()
    rows, depth, simd = weights.shape
    runs, cells, formats = cell.runs.copy(), cell.cells.copy(), cell.formats.copy()
    act, foot = cell.act.copy(), cell.foot.copy()
    entries, starts = cell.entries.copy(), cell.starts.copy()
    steps = draws.steps[row : row + ROW_BLOCK].copy()
    x = np.zeros((simd, LANES), dtype=np.int16)
    q, total = np.zeros((rows, LANES), np.int32), np.zeros((rows, LANES), np.int32)
    m, none = np.zeros((rows, LANES), np.int32), np.zeros((rows, LANES), np.int32)
    f, g = np.zeros((rows, LANES), np.int32), np.zeros((rows, LANES), np.int32)
    states = np.zeros((rows, starts[-1], LANES), dtype=np.uint32)
    _start_draws(states, draws, row, block * LANES)
    free = _free_sums(cells, foot, starts)
    begun = q if free else total
    for b in range(rows):
        begun[b, :] = starts_at[row + b]
    quiet = np.zeros(simd, dtype=np.bool_)
    for s in range(simd):
        quiet[s] = (
            starts[s] == starts[s + 1]
            and starts[simd + s] == starts[simd + s + 1]
            and starts[2 * simd + s] == starts[2 * simd + s + 1]
        )
    for step in range(depth):
        _load(x, fed, block, step, act, formats)
        for run in range(runs.shape[0]):
            s, last = runs[run, 0], runs[run, 1]
            if runs[run, 2] == 0 and cell.group >= 8:
                _narrow_cells(x, q, weights, step, s, last)
                continue
            if runs[run, 2] == 0:
                _plain_cells(x, q, weights, step, s, last)
                continue
            if quiet[s]:
                _struck_cell(x, q, weights, step, s, cells, formats)
            else:
                in_w = _draw_all(f, states, step, s, entries, starts, steps)
                in_a = _draw_all(g, states, step, simd + s, entries, starts, steps)
                ff, gg = f if in_w else none, g if in_a else none
                _products(x, m, ff, gg, weights, step, s, formats)
                drawn = _draw_all(f, states, step, 2 * simd + s, entries, starts, steps)
                _add_products(q, m, f if drawn else none, s, cells, formats)
            drawn = _draw_all(f, states, step, 3 * simd + s, entries, starts, steps)
            if drawn or cells[s, 2] != -1 or cells[s, 3] != 0:
                _chain(q, f if drawn else none, cells[s, 2], cells[s, 3])
        if not free:
            drawn = _draw_all(f, states, step, 4 * simd, entries, starts, steps)
            _foot(total, q, f, foot, drawn)
    return q if free else total


@compiled(parallel=True)
def feed(codes: NDArray[np.uint8], sources: NDArray[np.int64], fed: NDArray[np.uint8]) -> None:
    """Lay codes [K, N] out as the array takes them: [blocks, T, S, LANES], code 0 at padding."""
    depth, simd = sources.shape
    full = codes.shape[1] // LANES
    for number in numba.prange(depth * simd):
        step, s = number // simd, number % simd
        k = sources[step, s]
        for block in range(fed.shape[0]):
            first = block * LANES
            # Lanes past the last column are computed and dropped: loops of fixed length are faster.
            if k >= 0 and block < full:
                for i in range(LANES):
                    fed[block, step, s, i] = codes[k, first + i]
                continue
            for i in range(LANES):
                fed[block, step, s, i] = np.uint8(0)
            if k >= 0:
                for i in range(codes.shape[1] - first):
                    fed[block, step, s, i] = codes[k, first + i]


@compiled(parallel=True)
def walk(
    fed: NDArray[np.uint8],
    weights: NDArray[np.int16],
    cell: Cells,
    draws: Draws,
    starts_at: NDArray[np.int32],
    out: NDArray[np.int32],
    places: NDArray[np.int64],
) -> None:
    """Add the walked products of some rows on one faulty PE to their ACC.

    Parameters
    ----------
    fed : [blocks, T, S, LANES] activation codes in 8 bits, as `feed` lays them out.
    weights : [B, T, S] words after their permanent faults.
    cell : the PE.
    draws : what its transients hang on.
    starts_at : [B] word that the accumulator starts from.
    out : [n, N] sums of what is not walked, modulo 2^CB.
    places : [B] row of ``out`` of each.
    """
    rows, columns = places.size, out.shape[1]
    lane_blocks = fed.shape[0]
    row_blocks = (rows + ROW_BLOCK - 1) // ROW_BLOCK
    for number in numba.prange(lane_blocks * row_blocks):
        block, row = number // row_blocks, (number % row_blocks) * ROW_BLOCK
        total = _block(fed, block, weights, cell, draws, starts_at, row)
        mask, sign = cell.formats[6], cell.formats[7]
        for b in range(total.shape[0]):
            place = places[row + b]
            for i in range(min(LANES, columns - block * LANES)):
                v = np.int32((total[b, i] + out[place, block * LANES + i]) & mask)
                out[place, block * LANES + i] = np.int32((v ^ sign) - sign)


@compiled(parallel=True)
def store(
    sums: NDArray[Any], out: NDArray[np.int32], places: NDArray[np.int64], first: int, bits: int
) -> None:
    """Put exact integer sums [B, n] into ``out[places, first:first + n]``, modulo 2^bits."""
    up = np.int64(64 - bits)
    for b in numba.prange(sums.shape[0]):
        place = places[b]
        for i in range(sums.shape[1]):
            out[place, first + i] = np.int32((np.int64(sums[b, i]) << up) >> up)


@compiled()
def largest_row(values: NDArray[np.int8]) -> int:
    """Largest sum of magnitudes in a row of [n, K]; 0 without rows."""
    largest = 0
    for b in range(values.shape[0]):
        total = np.int32(0)
        for i in range(values.shape[1]):
            total += np.int32(abs(np.int32(values[b, i])))
        largest = max(largest, int(total))
    return largest
