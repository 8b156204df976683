"""The walk over K on a faulty PE in torch: all steps at once, but for the accumulator register.

The chain inside a PE starts from 0 at every step, so it is computed for all steps together; only
faults of the register itself make a step wait for the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hascodesign.engine.kernels import Cells
from hascodesign.engine.layer import Walk
from hascodesign.engine.reference import GOLDEN, WORD

BLOCK = 1 << 25  # values [T, rows, columns] held at once
KEEP, FLIP = 0, 1


def walk(fed: Tensor, one: Walk, counters: Tensor) -> Tensor:
    """Sums int64 [B, N] of the walked products, modulo 2^32.

    Parameters
    ----------
    fed : [T, w, N] bytes that the walked multipliers take, code 0 at padding.
    one : the rows and their faults.
    counters : [N] column counters of the transient draws.
    """
    rows, steps, _ = one.weights.shape
    weights = torch.from_numpy(one.weights).to(fed.device).int().permute(1, 0, 2)  # [T, B, w]
    starts = torch.from_numpy(one.starts).to(fed.device)[:, None]
    chunk = max(BLOCK // max(rows * steps, 1), 1)
    parts = []
    for first in range(0, fed.shape[2], chunk):
        part = slice(first, first + chunk)
        draws = _Draws.of(one, counters[part])
        parts.append(_walk(_acts(fed[..., part], one.cell), weights, one.cell, draws, starts))
    return torch.cat(parts, dim=1)


def wrap(values: Tensor, bits: int) -> Tensor:
    """Two's complement of ``bits`` bits."""
    sign = 1 << (bits - 1)
    return ((values & ((1 << bits) - 1)) ^ sign) - sign


def _acts(fed: Tensor, cell: Cells) -> Tensor:
    """Activations int32 [T, w, N] after their permanent faults."""
    mask, sign = int(cell.formats[2]), int(cell.formats[3])
    masks = torch.from_numpy(cell.act).to(fed.device)[:, None, :, None]
    return ((((fed.int() & masks[KEEP]) ^ masks[FLIP]) & mask) ^ sign) - sign


def _walk(acts: Tensor, weights: Tensor, cell: Cells, draws: _Draws, starts: Tensor) -> Tensor:
    steps, rows, simd = weights.shape
    # 32 bits wrap as the sums may: low bits are right throughout, and the end is wrapped
    q = torch.zeros((steps, rows, acts.shape[2]), dtype=torch.int32, device=acts.device)
    for first, last, faulty in cell.runs.tolist():
        if not faulty:
            # below 2^24 each: at most 16 bits a product, and a float64 holds any sum of them
            left, right = weights[..., first:last].double(), acts[:, first:last].double()
            q += torch.bmm(left, right).int()
            continue
        s = first
        m = _product(acts[:, s], weights[..., s], cell, draws, s)
        q += m
        chain = draws.flips(3 * simd + s)
        keep, flip = int(cell.cells[s, 2]), int(cell.cells[s, 3])
        q = (q & keep) ^ flip
        if chain is not None:
            q ^= chain
    return _register(q, cell, draws.flips(4 * simd), starts)


def _product(a: Tensor, w: Tensor, cell: Cells, draws: _Draws, s: int) -> Tensor:
    """Products int32 [T, B, N] of one multiplier with its faults."""
    simd = len(cell.cells)
    formats = cell.formats.tolist()
    left, right = w[..., None], a[:, None, :]
    in_w, in_a = draws.flips(s), draws.flips(simd + s)
    if in_w is not None:
        left = (((left ^ in_w) & formats[0]) ^ formats[1]) - formats[1]
    if in_a is not None:
        right = (((right ^ in_a) & formats[2]) ^ formats[3]) - formats[3]
    m = (left * right & int(cell.cells[s, 0])) ^ int(cell.cells[s, 1])
    drawn = draws.flips(2 * simd + s)
    if drawn is not None:
        m = m ^ drawn
    return ((m & formats[4]) ^ formats[5]) - formats[5]


def _register(q: Tensor, cell: Cells, drawn: Tensor | None, starts: Tensor) -> Tensor:
    """Sums int64 [B, N] over the steps, through the accumulator register's faults."""
    keep, flip = (int(part) for part in cell.foot)
    if drawn is None and keep == -1 and flip == 0:
        return q.sum(dim=0, dtype=torch.int64) + starts
    total = starts.expand_as(q[0])
    for step in range(q.shape[0]):
        total = ((total + q[step]) & keep) ^ flip
        if drawn is not None:
            total = total ^ drawn[step]
    return total.long()


@dataclass(frozen=True, slots=True)
class _Draws:
    """The transient draws of some rows at some columns."""

    entries: list[list[int]]  # [E] highest draw that fires, lowest bit, span, keep
    starts: list[int]  # first entry of each (stage, multiplier)
    states: Tensor  # int64 [B, E, N]
    only: Tensor  # int64 [B, E] the only step that a draw acts in, -1 = all, -2 = none
    steps: Tensor  # int64 [T, 1, 1]

    @classmethod
    def of(cls, one: Walk, counters: Tensor) -> _Draws:
        """States before the step goes in."""
        device = counters.device
        prefixes = torch.from_numpy(one.draws.prefixes.astype("int64")).to(device)
        mixed = _mix(((prefixes[..., None] ^ (counters & WORD)) + GOLDEN) & WORD)
        return cls(
            one.cell.entries.tolist(),
            one.cell.starts.tolist(),
            mixed,
            torch.from_numpy(one.draws.steps).to(device),
            torch.arange(one.weights.shape[1], device=device)[:, None, None],
        )

    def flips(self, number: int) -> Tensor | None:
        """Inversions int32 [T, B, N] at one (stage, multiplier); None where nothing is drawn."""
        first, last = self.starts[number], self.starts[number + 1]
        if first == last:
            return None
        total = torch.zeros((), dtype=torch.int64, device=self.states.device)
        for entry in range(first, last):
            total = total ^ self._flips(entry)
        return total.int()

    def _flips(self, entry: int) -> Tensor:
        highest, low, span, keep = self.entries[entry]
        h = _mix(((self.states[:, entry] ^ self.steps) + GOLDEN) & WORD)
        # (again * span) >> 32 stays below 2^40
        bit = low + ((_mix((h + GOLDEN) & WORD) * span) >> 32)
        only = self.only[:, entry, None]
        fires = (h <= highest) & ((only == -1) | (only == self.steps))
        wire = torch.ones_like(bit) << bit
        # as a signed number, so that it fits 32 bits when the highest of them is drawn
        return wrap(torch.where(fires, wire & keep, 0), 32)


def _mix(x: Tensor) -> Tensor:
    """Mixing of 32-bit words held in 64 bits; a product that overflows keeps its low half."""
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & WORD
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & WORD
    return x ^ (x >> 16)
