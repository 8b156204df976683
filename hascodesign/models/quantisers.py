"""What Brevitas's quantisers do, as integers and scales, read in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from brevitas.quant_tensor import IntQuantTensor
from torch import Tensor, nn

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.models.graph import Node, quiet, value_of
from hascodesign.models.layers import ACTIVATIONS, truncates
from hascodesign.models.user_code import running

MOST_BITS = 8  # of a weight and of an activation on the array
LARGE = 1e30  # real number that every quantiser clamps
_PLAIN = {
    "activations": "act_quant=Int8ActPerTensorFloat, or Uint8ActPerTensorFloat",
    "weights": "weight_quant=Int8WeightPerTensorFloat",
    "bias": "bias_quant=Int32Bias",
}


@dataclass(frozen=True, slots=True)
class Activation:
    """code = clamp(round(x / scale), low, high)."""

    scale: float
    bits: int
    signed: bool
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Weights:
    """Weight codes of one layer; real weight = code * scale of its row."""

    codes: IntArray  # as torch holds them: [out, in, ky, kx] or [out, in]
    scale: FloatArray  # [R]
    bits: int
    tensor: IntQuantTensor


@dataclass(frozen=True, slots=True)
class Bias:
    """Bias of one layer: integers in units of the accumulator, or real numbers."""

    codes: IntArray  # [R]
    real: FloatArray | None  # [R] where it is no multiple of the accumulator's unit


def activation(node: Node) -> Activation:
    """Format of an activation's quantiser; refuses what has no integer equal."""
    module: Any = node.module
    if isinstance(module, ACTIVATIONS) and module.input_quant.is_quant_enabled:
        raise node.error(
            "must have no input quantiser of its own: leave input_quant out, or put a QuantIdentity"
            " with it as act_quant before this one"
        )
    if truncates(node.module):
        if not module.trunc_quant.is_quant_enabled:
            raise node.error("must drop bits of its sums: write nn.AvgPool2d where it does not")
    elif not _quantiser(node).is_quant_enabled:
        raise node.error(
            "must quantise, not pass real numbers on: give it act_quant=Int8ActPerTensorFloat, or"
            " Uint8ActPerTensorFloat where it is a QuantReLU"
        )
    # asked at both ends, the quantiser tells its range whatever clamps it
    ends = asked(node, torch.tensor([-LARGE, LARGE], dtype=torch.float64))
    scales = _checked(node, ends, "activations")
    if scales.size != 1:
        raise node.error(
            f"must have one scale, not {scales.size}: leave scaling_per_output_channel out and"
            " train the one scale (the next layer sums over the channels)"
        )
    scale = float(scales[0])
    low, high = (int(code) for code in _codes(node, ends.value, scale))
    signed = bool(ends.signed)
    bits = max(int(ends.bit_width), bits_of(low, high, signed))
    if bits > MOST_BITS:
        raise node.error(
            f"must have at most {MOST_BITS} bits, which the array's words have, not {bits}: give it"
            " bit_width=8 or less"
        )
    _check_constant(node, ends)
    return Activation(scale, bits, signed, low, high)


def asked(node: Node, values: Tensor) -> Any:
    """What an activation's quantiser makes of values."""
    module: Any = node.module
    if truncates(module):
        # an average's sums have the input's scale over the window, and bits as Brevitas counts them
        shape = (1, *node.in_shape)
        zero = node.given.set(value=torch.zeros(shape, dtype=torch.float64))
        with running(f"{node} must quantise what it is given"), torch.no_grad():
            adapts = isinstance(module, nn.AdaptiveAvgPool2d)
            kind: Any = nn.AdaptiveAvgPool2d if adapts else nn.AvgPool2d
            return module.trunc_quant(kind.forward(module, zero).set(value=values))
    with running(f"{node} must quantise what it is given"), torch.no_grad():
        return _quantiser(node)(values)


def _quantiser(node: Node) -> Any:
    """The quantiser of an activation, or what a layer that multiplies has of its own."""
    module: Any = node.module
    return module.act_quant if isinstance(module, ACTIVATIONS) else module


def _check_constant(node: Node, ends: Any) -> None:
    """Refuse a format that moves with the images: thresholds and memories hold one for all."""
    rng = np.random.default_rng(0)
    draws = [np.zeros((1, *node.in_shape))]
    draws += [
        magnitude * rng.standard_normal((batch, *node.in_shape))
        for batch, magnitude in ((1, 1e-3), (1, 1.0), (7, 1.0), (2, 1e3), (1, 1e6))
    ]
    for draw in draws:
        found = asked(node, torch.from_numpy(draw))
        if type(found) is not type(ends):
            raise node.error("must quantise whatever it is given, not some images only")
        for what in ("scale", "zero_point", "bit_width"):
            before, now = (torch.as_tensor(getattr(t, what)).flatten() for t in (ends, found))
            if now.numel() != before.numel() or not torch.equal(now.double(), before.double()):
                raise node.error(
                    f"must have one {what.replace('_', ' ')} whatever the images are; this one's"
                    " depends on them (a dynamic quantiser), and hardware holds a constant: take"
                    " one whose scale is learned or calibrated, such as Int8ActPerTensorFloat"
                )


def weights(node: Node) -> Weights:
    """Weight codes of a QuantConv2d or QuantLinear."""
    module: Any = node.module
    if not module.weight_quant.is_quant_enabled:
        raise node.error(
            "must quantise its weights, not leave them real: give it"
            " weight_quant=Int8WeightPerTensorFloat"
        )
    with quiet(), torch.no_grad():
        tensor = module.quant_weight()
    scale = _checked(node, tensor, "weights")
    rows = tensor.value.shape[0]
    if scale.size not in (1, rows) or tensor.scale.numel() != np.prod(tensor.scale.shape[:1] or 1):
        raise node.error(
            f"must have one weight scale or one for each of {rows} rows: give it"
            " weight_quant=Int8WeightPerChannelFloat or Int8WeightPerTensorFloat"
        )
    scale = np.broadcast_to(scale, (rows,)).copy()
    codes = _codes(node, tensor.value, scale.reshape(-1, *[1] * (tensor.value.dim() - 1)))
    trained = int(tensor.bit_width) + (0 if bool(tensor.signed) else 1)
    bits = max(trained, bits_of(int(codes.min()), int(codes.max()), True))
    if bits > MOST_BITS:
        raise node.error(
            f"must have weights of at most {MOST_BITS} bits, which the array's words have, not"
            f" {bits}: give it weight_bit_width={MOST_BITS} or less"
        )
    return Weights(codes, scale, bits, tensor)


def exact(scale: float) -> Fraction:
    """The rational number that a scale in float64 stands for.

    Brevitas divides a float32 number by the largest code, of 1 to 8 bits; a float64 number is one
    such quotient by chance once in 2^26.
    """
    for bits in range(1, MOST_BITS + 1):
        levels = (1 << bits) - 1
        whole = float(np.float32(scale * levels))
        if whole / levels == scale:
            return Fraction(whole) / levels
    return Fraction(scale)


def unit_of(given: Weights, source: Activation, divisor: int = 1) -> FloatArray:
    """[R] real value of one unit of the accumulator.

    Of a layer behind an average over windows the accumulator holds the sums of the windows.
    """
    return source.scale * given.scale / divisor


def bias(node: Node, given: Weights, source: Activation, divisor: int = 1) -> Bias:
    """Bias of a layer; integers where its quantiser works in units of the accumulator."""
    module: Any = node.module
    none = np.zeros(len(given.scale), dtype=np.int64)
    if module.bias is None:
        return Bias(none, None)
    unit = unit_of(given, source, divisor)
    taken = replace(source, scale=source.scale / divisor)
    with quiet(), torch.no_grad():
        quantised = module.bias_quant(module.bias, _unit_input(taken), given.tensor)
    real = value_of(quantised).numpy().astype(np.float64).reshape(-1)
    if isinstance(quantised, IntQuantTensor):
        scale = np.broadcast_to(_checked(node, quantised, "bias"), unit.shape)
        if np.array_equal(scale, unit):
            return Bias(_codes(node, real, unit), None)
    return Bias(none, real)


def _unit_input(source: Activation) -> IntQuantTensor:
    """An input of one code, from which the bias quantiser takes the input's scale."""
    return IntQuantTensor(
        value=torch.zeros((1, 1, 1, 1), dtype=torch.float64),
        scale=torch.tensor(source.scale, dtype=torch.float64),
        zero_point=torch.tensor(0.0, dtype=torch.float64),
        bit_width=torch.tensor(float(source.bits)),
        signed=source.signed,
        training=False,
    )


def _checked(node: Node, tensor: Any, what: str) -> FloatArray:
    """Scales of a quantised tensor, flat; refuses other number formats and zero points."""
    if not isinstance(tensor, IntQuantTensor):
        raise node.error(
            f"must have integer {what}, not {type(tensor).__name__}: give it {_PLAIN[what]}"
        )
    if bool((tensor.zero_point != 0).any()):
        raise node.error(
            f"must have zero point 0 for its {what}, not another, which the array does not"
            f" take off: give it {_PLAIN[what]}"
        )
    scale = tensor.scale.detach().numpy().astype(np.float64).reshape(-1)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise node.error(f"must have positive scales for its {what}, not {scale.min()}")
    return scale


def _codes(node: Node, value: Tensor | FloatArray, scale: float | FloatArray) -> IntArray:
    """Integers that a quantised tensor stands for: its values are code * scale, rounded once."""
    real = value.detach().numpy() if isinstance(value, Tensor) else value
    return codes_of(node, np.asarray(real, dtype=np.float64), scale)


def codes_of(node: Node, real: FloatArray, scale: float | FloatArray) -> IntArray:
    """Codes of real values; refuses values that are not code * scale, to the last bit."""
    codes = np.rint(real / scale)
    wrong = np.flatnonzero(~(codes * scale == real))  # NaN is wrong too
    if wrong.size:
        value = float(real.flat[wrong[0]])
        raise node.error(
            f"must give multiples of its scale and nothing else: {wrong.size} of {real.size} values"
            f" are none, the first {value!r}"
        )
    return codes.astype(np.int64)


def bits_of(low: int, high: int, signed: bool = True) -> int:
    """Bits that hold low..high."""
    if not signed:
        return max(1, high.bit_length())
    return 1 + max((-low - 1).bit_length() if low < 0 else 0, high.bit_length())
