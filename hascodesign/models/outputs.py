"""From accumulators to codes: exact integer thresholds, or a shift where scales allow one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hascodesign.contract import arithmetic
from hascodesign.contract.types import BoolArray, IntArray, Shift, Thresholds, frozen
from hascodesign.models import ties
from hascodesign.models.graph import Block, Node, quiet, value_of
from hascodesign.models.layers import NORMS, quantises, truncates
from hascodesign.models.modules import Elementwise
from hascodesign.models.parts import Part
from hascodesign.models.quantisers import Activation, activation, asked

CodeOf = Callable[[IntArray], IntArray]  # v [L, R] -> codes [L, R]
NEAR = 1e-6  # of half a scale: sums beside a step that are looked at in rational numbers


def thresholds_of(part: Part, act: Activation, bits: int) -> Thresholds:
    """What turns v = ACC + bias of a hidden layer into the codes that Brevitas gives.

    Where v lies exactly on a step, the code is that of the quantiser's own rule for one.

    Parameters
    ----------
    part : rows of a block; a real bias goes into the thresholds.
    act : format of the codes.
    bits : of v; thresholds hold for every one.
    """
    assert part.block is not None
    descending = descends(part.block, len(part.exact))
    found = _search(_code_of(part, act), descending, act, bits)
    if ties.handles(part.block.acting) and not _float_is_exact(part, act):
        _decide_ties(found, part, descending, act, bits)
    return Thresholds(frozen(found), frozen(descending, np.bool_), act.low)


def unchanged(rows: int, act: Activation) -> Thresholds:
    """Of rows whose sums are codes already."""
    levels = np.tile(np.arange(act.low + 1, act.high + 1), (rows, 1))
    return Thresholds(frozen(levels), frozen(np.zeros(rows), np.bool_), act.low)


def joined(parts: Sequence[Thresholds], bits: int) -> Thresholds:
    """Rows of several formats as rows of one that holds the codes of all.

    Parameters
    ----------
    parts : thresholds of the rows, part by part.
    bits : of v: a code that a part does not go down to is always passed, one beyond never.
    """
    lowest = min(part.lowest for part in parts)
    highest = max(part.lowest + part.values.shape[1] for part in parts)
    least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    rows = []
    for part in parts:
        down = part.descending[:, None]
        always, never = np.where(down, most, least), np.where(down, least - 1, most + 1)
        below = part.lowest - lowest
        above = highest - lowest - below - part.values.shape[1]
        rows.append(
            np.concatenate(
                [np.repeat(always, below, 1), part.values, np.repeat(never, above, 1)], 1
            )
        )
    descending = np.concatenate([part.descending for part in parts])
    return Thresholds(frozen(np.concatenate(rows)), frozen(descending, np.bool_), lowest)


def descends(block: Block, rows: int) -> BoolArray:
    """Rows whose code falls as v rises: an odd number of negative gammas and factors."""
    sign = np.ones(rows)
    for node in block.chain:
        if isinstance(node.module, NORMS) and node.module.affine:
            sign *= np.sign(node.module.weight.detach().numpy())
        elif isinstance(node.module, Elementwise):
            sign *= np.sign(node.module.gain)
    return sign < 0


def _code_of(part: Part, act: Activation) -> CodeOf:
    """Code of every v in float64, by the model's own layers, operation by operation."""

    def code_of(v: IntArray) -> IntArray:
        (*_, out) = _reals(part, v)
        return np.rint(out.numpy() / act.scale).astype(np.int64)

    return code_of


def _reals(part: Part, v: IntArray) -> Iterator[Tensor]:
    """What the model's own layers make of every v in float64, layer by layer."""
    assert part.block is not None
    real = v.astype(np.float64) * part.unit  # |v| < 2^53, so that the conversion is exact
    if part.bias.real is not None:
        real = real + part.bias.real
    out = torch.from_numpy(real)
    yield out
    for layer in part.block.acting:
        with quiet(), torch.no_grad():
            out = _apply(layer, out)
        yield out


def _apply(node: Node, real: Tensor) -> Tensor:
    """One layer on [L, R], whatever rank it asks for."""
    layer = node.module
    if truncates(layer):
        return value_of(asked(node, real))
    shaped = real[:, :, None, None] if isinstance(layer, nn.BatchNorm2d) else real
    return value_of(layer(shaped)).reshape(real.shape)


def _search(code_of: CodeOf, descending: BoolArray, act: Activation, bits: int) -> IntArray:
    """Thresholds [R, L] by binary search over every v of ``bits`` bits.

    Each operation of the chain is monotone in float64 (a rounded product, sum or quotient by a
    constant never changes order), so the code is a monotone staircase of v and halving finds the
    very v at which it steps.
    """
    rows = len(descending)
    levels = np.arange(act.low + 1, act.high + 1)[:, None]
    sign = np.where(descending, -1, 1)
    # u = v, or -v where the code falls: passes for u >= found. The last of the range never tried
    # is "never": for ascending 2^(bits-1), for descending v = -2^(bits-1) - 1.
    least = np.where(descending, -(2 ** (bits - 1)) + 1, -(2 ** (bits - 1)))
    low = np.broadcast_to(least, (len(levels), rows)).copy()
    high = low + 2**bits
    while (low < high).any():
        middle = (low + high) >> 1
        # where the search has ended at "never" this v is one past the range, and not used
        passes = code_of(middle * sign) >= levels
        open_ = low < high
        high = np.where(open_ & passes, middle, high)
        low = np.where(open_ & ~passes, middle + 1, low)
    return np.ascontiguousarray((low * sign).T)


def _float_is_exact(part: Part, act: Activation) -> bool:
    """Whether scales are powers of two and nothing but one activation follows: nothing rounds."""
    assert part.block is not None
    powers = all(math.frexp(scale)[0] == 0.5 for scale in (act.scale, *part.unit))
    return part.bias.real is None and len(part.block.acting) == 1 and powers


def _decide_ties(
    found: IntArray, part: Part, descending: BoolArray, act: Activation, bits: int
) -> None:
    """Move thresholds [R, L] whose last v without the code, or first with it, lies on a step."""
    assert part.block is not None
    exact: ties.Exact | None = None  # made where there is a sum to look at
    sign = np.where(descending, -1, 1)[:, None]
    for back in (0, 1):
        v = found - back * sign
        inside = np.abs(v) < 2 ** (bits - 1)
        for row, level in np.argwhere(inside & _near_a_step(part, np.where(inside, v, 0), act)):
            exact = exact or ties.Exact(part.block.acting)
            code, *others = exact.codes(ties.real_of(part, row, int(v[row, level])), row)
            if others and (code >= act.low + 1 + level) != (back == 0):
                found[row, level] = v[row, level] + (1 - back) * sign[row, 0]


def _near_a_step(part: Part, v: IntArray, act: Activation) -> BoolArray:
    """[R, L] sums that a quantiser takes at, or just beside, a multiple of half its scale."""
    assert part.block is not None
    given = _reals(part, v.T)
    near = np.zeros(v.T.shape, dtype=np.bool_)
    for node, real in zip(part.block.acting, given, strict=False):
        if quantises(node.module):
            scale = act.scale if node is part.block.activation else activation(node).scale
            halves = 2 * real.numpy() / scale
            near |= np.abs(halves - np.rint(halves)) < NEAR
    return near.T


def shift_of(part: Part, act: Activation, thresholds: Thresholds, bits: int) -> Thresholds | Shift:
    """Shift where every scale is a power of two and nothing but one activation follows."""
    shift = _shift(part, act)
    return shift if shift is not None and _agree(shift, thresholds, bits) else thresholds


def _shift(part: Part, act: Activation) -> Shift | None:
    unit = part.unit
    ratio = act.scale / float(unit[0])
    if not _float_is_exact(part, act) or (unit != unit[0]).any() or ratio < 1:
        return None
    return Shift(math.frexp(ratio)[1] - 1, act.low, act.high)


def _agree(shift: Shift, thresholds: Thresholds, bits: int) -> bool:
    """The shift steps exactly where the model does (it need not round half to even)."""
    inside = np.clip(thresholds.values, -(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 1)
    return all(
        np.array_equal(arithmetic.output_codes(shift, v), arithmetic.output_codes(thresholds, v))
        for v in (inside - 1, inside)
    )
