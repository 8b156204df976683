"""Sums that lie exactly on a step of their quantiser, decided in rational numbers.

Of a real number half-way between two codes float64 takes either, by the last bit of its sums. The
scales are rational (a float32 number over a whole one), and so are the weights, the biases and the
constants of a norm but for its square root: whether a sum lies on a step can be told exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from brevitas import nn as qnn
from brevitas.core.function_wrapper.ops_ste import DPURoundSte

from hascodesign.models import quantisers
from hascodesign.models.graph import Node
from hascodesign.models.layers import NORMS, RISING, quantises, truncates
from hascodesign.models.parts import Part
from hascodesign.models.quantisers import Activation

#: Bits of a norm's square root. Sums of two such numbers that are no closer than the last of them
#: can tell are equal: all that they are made of has a few hundred bits.
PRECISIONS = (128, 1024, 8192)
BESIDE = 2.0**-30  # of a step: where a quantiser is asked on either side of one

Ends = tuple[Fraction, Fraction]  # what a real number lies between, both included


class Exact:
    """What layers between sums and codes make of real numbers that are known exactly."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        """Of the layers in their order, the last one a quantiser."""
        self._nodes = tuple(nodes)
        self._formats = {
            node.position: quantisers.activation(node) for node in nodes if quantises(node.module)
        }
        self._known: dict[tuple[Fraction, int], tuple[int, ...]] = {}
        self._steps: dict[tuple[int, Fraction], tuple[int, int | None, int]] = {}
        self._normed = any(isinstance(node.module, NORMS) for node in nodes)

    def codes(self, real: Fraction, channel: int) -> tuple[int, ...]:
        """Codes of a number: one, or where it lies on a step the quantiser's own and the others."""
        key = (real, channel if self._normed else 0)
        if key not in self._known:
            self._known[key] = self._through(self._nodes, real, channel)
        return self._known[key]

    def _through(self, nodes: Sequence[Node], real: Fraction, channel: int) -> tuple[int, ...]:
        place = next(i for i, node in enumerate(nodes) if node.position in self._formats)
        act = self._formats[nodes[place].position]
        found = self._quantised(nodes[place], act, nodes[:place], real, channel)
        rest = nodes[place + 1 :]
        if rest:
            scale = quantisers.exact(act.scale)
            each = [self._through(rest, code * scale, channel) for code in found]
            found = tuple(dict.fromkeys(code for codes in each for code in codes))
        return found

    def _quantised(
        self, node: Node, act: Activation, before: Sequence[Node], real: Fraction, channel: int
    ) -> tuple[int, ...]:
        low, high = _acted(before, real, channel, PRECISIONS[0])
        scale, middle = quantisers.exact(act.scale), (low + high) / 2
        step = Fraction(round(2 * middle / scale), 2)
        curved = isinstance(node.module, qnn.QuantTanh | qnn.QuantSigmoid)
        if abs(middle / scale - step) > BESIDE or (curved and step != 0):
            return (_code(node, act, float(middle)),)
        key = (node.position, step)
        if key not in self._steps:
            self._steps[key] = _around(node, act, float(step))
        below, own, above = self._steps[key]
        side = _side(before, real, channel, step * scale)
        if side == 0 and own is not None:
            return tuple(dict.fromkeys((own, below, above)))
        return (below if side < 0 else above,)


def handles(nodes: Sequence[Node]) -> bool:
    """Whether there are no others among layers than those that are known in rational numbers."""
    return not any(truncates(node.module) for node in nodes)


def real_of(part: Part, row: int, v: int) -> Fraction:
    """What v = ACC + bias of a row stands for."""
    real = Fraction(0) if part.bias.real is None else Fraction(float(part.bias.real[row]))
    return part.exact[row] * v + real


def _around(node: Node, act: Activation, step: float) -> tuple[int, int | None, int]:
    """Codes below, at and above a multiple of half a scale: a few hundred at most, exact."""
    below, above = (_code(node, act, (step + d) * act.scale) for d in (-BESIDE, BESIDE))
    return below, below if below == above else _own(node, act, step), above


def _own(node: Node, act: Activation, place: float) -> int | None:
    """The quantiser's own code at a multiple of half its scale; None where it cannot be asked.

    Where no number of float64 gives that multiple when it is divided by the scale, one does at
    another multiple of the same parity, which is rounded alike: of the same sign where the
    quantiser rounds halves below zero otherwise than those above.
    """
    signs = any(isinstance(one, DPURoundSte) for one in node.module.modules())
    for away in (0, *(sign * 2 * n for n in range(1, 9) for sign in (1, -1))):
        other = place + away
        if signs and (other < 0) != (place < 0):
            continue
        near = other * act.scale
        inputs = (near, float(np.nextafter(near, -math.inf)), float(np.nextafter(near, math.inf)))
        at = next((x for x in inputs if x / act.scale == other), None)
        if at is not None and act.low <= math.floor(other) and math.ceil(other) <= act.high:
            return _code(node, act, at) - away
    return None


def _code(node: Node, act: Activation, real: float) -> int:
    value = quantisers.asked(node, torch.tensor([real], dtype=torch.float64)).value
    return round(float(value) / act.scale)


def _side(nodes: Sequence[Node], real: Fraction, channel: int, wanted: Fraction) -> int:
    """-1, 0 or 1 where what comes out of layers is less than a number, that number, or more."""
    for bits in PRECISIONS:
        low, high = _acted(nodes, real, channel, bits)
        if high < wanted or low > wanted:
            return -1 if high < wanted else 1
        if low == high:
            break
    return 0


def _acted(nodes: Sequence[Node], real: Fraction, channel: int, bits: int) -> Ends:
    """What comes out of layers that do not quantise."""
    ends = (real, real)
    for node in nodes:
        module: Any = node.module
        if isinstance(module, NORMS):
            ends = _normed(module, ends, channel, bits)
        elif isinstance(module, RISING):
            ends = (max(ends[0], Fraction(0)), max(ends[1], Fraction(0)))
        else:
            constant = Fraction(module.constant)
            one, other = (
                module.func(constant, end) if module.first else module.func(end, constant)
                for end in ends
            )
            ends = (min(one, other), max(one, other))
    return ends


def _normed(norm: Any, ends: Ends, channel: int, bits: int) -> Ends:
    """Of a norm in evaluation: (x - mean) * gamma / sqrt(variance + eps) + beta."""
    gamma, beta = Fraction(1), Fraction(0)
    if norm.affine:
        gamma, beta = (Fraction(float(one[channel])) for one in (norm.weight, norm.bias))
    mean = Fraction(float(norm.running_mean[channel]))
    root = _root(Fraction(float(norm.running_var[channel])) + Fraction(norm.eps), bits)
    found = [(end - mean) * gamma / one + beta for end in ends for one in root]
    return min(found), max(found)


def _root(square: Fraction, bits: int) -> Ends:
    """Numbers that a square root lies between, 2^-bits of the denominator's inverse apart."""
    whole = square.numerator * square.denominator << 2 * bits
    root, unit = math.isqrt(whole), square.denominator << bits
    if root * root == whole:
        return Fraction(root, unit), Fraction(root, unit)
    return Fraction(root, unit), Fraction(root + 1, unit)
