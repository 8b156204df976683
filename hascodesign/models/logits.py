"""What becomes of the last layer's sums: integers, and what one of each class is worth.

Where all classes have one unit, the class is that of the greatest integer. Where a weight scale for
each row, or a norm behind the layer, gives each class a unit of its own, it is that of the greatest
integer times its factor. Factors are rounded to 24 bits: a sum of up to 29 bits times one is exact
in float64, on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.models import quantisers
from hascodesign.models.graph import Graph
from hascodesign.models.layers import NORMS
from hascodesign.models.lower import window_of
from hascodesign.models.modules import Elementwise


@dataclass(frozen=True, slots=True)
class Logits:
    """Of each class; the layer itself gives unit * (integer + rest), the model what it means."""

    unit: FloatArray  # [classes] real value of one unit of the accumulator
    bias: IntArray  # [classes] in units of the accumulator, what stands behind the layer included
    rest: FloatArray  # [classes] what the layer's own output has beyond the integer, in units
    cut: FloatArray  # [classes] what rounding took from the model's logit, in units
    scale: float | FloatArray  # real value of one unit of the logit; [classes] where they differ

    @property
    def steps(self) -> FloatArray:
        """[classes] units of each class's logit, the largest as 1."""
        scale = np.broadcast_to(np.asarray(self.scale, dtype=np.float64), self.unit.shape)
        return scale / np.abs(scale).max()


def of_last(graph: Graph) -> Logits:
    """Of the last block of a graph.

    Raises
    ------
    ModelError
        A class that a norm multiplies by zero.
    """
    block = graph.blocks[-1]
    (source,) = block.takes
    mean = graph.mean(source)
    divisor = 1 if mean is None else window_of(mean).divisor
    act = quantisers.activation(graph.quantiser(source))
    weights = quantisers.weights(block.start)
    bias = quantisers.bias(block.start, weights, act, divisor)
    unit = quantisers.unit_of(weights, act, divisor)
    own = bias.codes.astype(np.float64) if bias.real is None else bias.real / unit
    gain, offset = _behind(graph, len(unit))
    each = gain is not None or bool((unit != unit[0]).any())
    if gain is None:
        gain = np.ones(len(unit))
    whole = own + offset / (gain * unit)
    rounded = np.rint(whole).astype(np.int64)
    factors = (gain * unit).astype(np.float32).astype(np.float64)
    scale = factors if each else float(unit[0])
    return Logits(unit, rounded, own - rounded, whole - rounded, scale)


def _behind(graph: Graph, classes: int) -> tuple[FloatArray | None, FloatArray]:
    """Logit = gain * output + offset by what stands behind the last layer; no gain: one for all.

    Operations with one constant, the same for all classes, change no class and count only where
    they stand before a norm.
    """
    gain: FloatArray | None = None
    one, offset = 1.0, np.zeros(classes)
    norms = [node for node in graph.blocks[-1].after if isinstance(node.module, NORMS)]
    for node in graph.blocks[-1].after if norms else ():
        module: Any = node.module
        if isinstance(module, Elementwise) and node.position < norms[-1].position:
            one, offset = one * module.gain, offset * module.gain + module.offset
        elif isinstance(module, NORMS):
            factor, shift = _affine(module)
            if (factor == 0).any():
                raise node.error(
                    "must have no gamma of zero, as that of class"
                    f" {int(np.argmin(np.abs(factor)))}: its logit would be the same for all images"
                )
            gain = (np.ones(classes) if gain is None else gain) * factor
            offset = offset * factor + shift
    return (None if gain is None else gain * one), offset


def _affine(norm: Any) -> tuple[FloatArray, FloatArray]:
    """Factor and shift [channels] of a norm in evaluation."""
    mean, variance = (t.double().numpy() for t in (norm.running_mean, norm.running_var))
    factor = 1.0 / np.sqrt(variance + norm.eps)
    if norm.affine:
        factor = factor * norm.weight.detach().double().numpy()
    shift = -mean * factor
    return factor, shift + norm.bias.detach().double().numpy() if norm.affine else shift
