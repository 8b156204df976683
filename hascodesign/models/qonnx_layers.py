"""The operators of a QONNX graph as the layers that do the same.

Each maker takes the graph's constants, the node, a sample of what it is given of the images, the
names of its constants and its attributes; it returns None where no layer does the same.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hascodesign.contract.errors import ModelError
from hascodesign.models.modules import (
    Convolution,
    Dense,
    Elementwise,
    Quantiser,
    Transpose,
    Truncation,
)
from hascodesign.models.qonnx_constants import (
    MOST_ELEMENTS,
    Array,
    Constants,
    check_domain,
    rounding,
)

MOST_SIDE = 255  # of padding and dilation
Maker = Callable[[Constants, Any, Tensor, list[str], Mapping[str, Any]], nn.Module | None]


def _quant(
    constants: Constants, node: Any, _taken: Tensor, known: list[str], attributes: Mapping[str, Any]
) -> nn.Module:
    check_domain(node)
    scale = constants.plain(known[0]).reshape(-1)
    if scale.size != 1:
        raise ModelError(f"must have one scale for all channels, not {scale.size}")
    if node.op_type == "BipolarQuant":
        return Quantiser(float(scale[0]), 1, -1, 1, signed=True, binary=True)
    form = constants.format(["", *known], attributes)
    return Quantiser(
        float(scale[0]), form.bits, form.low, form.high, signed=form.signed,
        zero_point=form.zero_point, rounding=rounding(attributes),
    )  # fmt: skip


def _trunc(
    constants: Constants, node: Any, _taken: Tensor, known: list[str], attributes: Mapping[str, Any]
) -> nn.Module:
    """Of version 2, with a scale of its own and a clamp; or of version 1, which has neither."""
    check_domain(node)
    values = [np.asarray(constants.plain(name)).reshape(-1) for name in known]
    if len(values) not in {4, 5} or any(value.size != 1 for value in values):
        raise ModelError("must have one scale, zero point and number of bits each")
    taken, zero, *given = (float(value[0]) for value in values)
    scale, bits = (given[1], given[2]) if len(given) == 3 else (taken, given[1])
    drop = round(math.log2(scale / taken)) if len(given) == 3 else round(given[0] - bits)
    if zero or bits != int(bits) or not 1 <= bits <= 32 or not 0 <= drop <= 32:
        raise ModelError("must have zero point 0, and whole numbers of bits of which none is added")
    mode = {"rounding_mode": attributes.get("rounding_mode", b"FLOOR")}
    if len(given) == 3:
        signed = bool(attributes.get("signed", 1))
        high = (1 << (int(bits) - signed)) - 1
        low = -high - 1 + bool(attributes.get("narrow", 0)) if signed else 0
        form = (int(bits), low, high)
    else:  # codes of either sign, as many as the bits hold, and one that rounding up may give
        signed, high = True, 1 << int(bits)
        form = (int(bits) + 2, -high, high)
    return Truncation(taken, scale, drop, *form, signed=signed, rounding=rounding(mode))


def _matmul(
    constants: Constants,
    node: Any,
    _taken: Tensor,
    known: list[str],
    _attributes: Mapping[str, Any],
) -> nn.Module:
    if node.input[1] not in known:
        raise ModelError("must have its weights second")
    return Dense(constants.weights(known[0], transpose=True))


def _gemm(
    constants: Constants, node: Any, _taken: Tensor, known: list[str], attributes: Mapping[str, Any]
) -> nn.Module:
    if attributes.get("transA", 0) or {attributes.get(n, 1.0) for n in ("alpha", "beta")} != {1.0}:
        raise ModelError("must have transA 0, alpha 1 and beta 1")
    layer = Dense(constants.weights(node.input[1], transpose=not attributes.get("transB", 0)))
    return _with_bias(constants, layer, known[1:])


def _conv(
    constants: Constants, node: Any, taken: Tensor, known: list[str], attributes: Mapping[str, Any]
) -> nn.Module:
    axes = taken.dim() - 2
    padding = _padding(attributes, axes)
    rows = len(constants.weights(node.input[1], transpose=False).real)
    sizes = (size + 2 * pad for size, pad in zip(taken.shape[2:], padding, strict=True))
    if rows * math.prod(sizes) > MOST_ELEMENTS:
        raise ModelError(f"must give a map of at most {MOST_ELEMENTS} elements")
    layer = Convolution(
        constants.weights(node.input[1], transpose=False),
        stride=_sizes(attributes.get("strides", (1,) * axes), axes),
        padding=padding,
        dilation=_sizes(attributes.get("dilations", (1,) * axes), axes),
        groups=int(attributes.get("group", 1)),
    )
    return _with_bias(constants, layer, known[1:])


def _with_bias(constants: Constants, layer: Dense | Convolution, names: list[str]) -> nn.Module:
    if names:
        constant = constants.plain(names[0]).reshape(-1)
        if constant.size != len(layer.weight):
            raise ModelError(f"must have one bias for each of {len(layer.weight)} rows")
        layer.bias = nn.Parameter(torch.from_numpy(constant.astype(np.float64)))
    return layer


def _sizes(values: Any, axes: int) -> tuple[int, ...]:
    if len(values) != axes or not all(0 < value <= MOST_SIDE for value in values):
        raise ModelError(f"must have {axes} axes, of 1 to {MOST_SIDE} each, not {list(values)[:9]}")
    return tuple(int(value) for value in values)


def _padding(attributes: Mapping[str, Any], axes: int) -> tuple[int, ...]:
    if attributes.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
        raise ModelError("must say its padding, not auto_pad")
    pads = tuple(int(pad) for pad in attributes.get("pads", (0, 0) * axes))
    alike = len(pads) == 2 * axes and pads[:axes] == pads[axes:]
    if not alike or not all(0 <= pad <= MOST_SIDE for pad in pads):
        raise ModelError(f"must pad alike on both sides, by at most {MOST_SIDE}, not {pads[:9]}")
    return pads[:axes]


def _norm(
    constants: Constants, _node: Any, taken: Tensor, known: list[str], attributes: Mapping[str, Any]
) -> nn.Module:
    weight, bias, mean, var = (constants.plain(name).reshape(-1) for name in known)
    eps = float(attributes.get("epsilon", 1e-5))
    return _norm_of(taken, weight, bias, mean, var, eps)


def _norm_of(
    taken: Tensor, weight: Array, bias: Array, mean: Array, var: Array, eps: float
) -> nn.Module:
    kind = nn.BatchNorm2d if taken.dim() == 4 else nn.BatchNorm1d
    norm = kind(taken.shape[1], eps=eps)
    named = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": var}
    state = {name: torch.from_numpy(np.array(v, dtype=np.float32)) for name, v in named.items()}
    norm.load_state_dict(state, strict=False)
    return norm


def _arithmetic(
    constants: Constants, node: Any, taken: Tensor, known: list[str], _attributes: Mapping[str, Any]
) -> nn.Module | None:
    """With one constant, or with one for each channel: then a norm that does nothing else."""
    func = getattr(operator, {"Div": "truediv"}.get(node.op_type, node.op_type.lower()))
    constant, first = constants.plain(known[0]), node.input[0] == known[0]
    if constant.size == 1:
        if first and node.op_type == "Div":
            return None
        return Elementwise(func, float(constant.reshape(-1)[0]), first=first)
    channels = constant.size == taken.shape[1] and not first
    if not channels or np.broadcast_shapes(constant.shape, (1, *taken.shape[1:]))[0] != 1:
        return None
    if taken.dim() > 2 and set(constant.shape[2 - taken.dim() :]) != {1}:
        return None
    one, zero, c = np.ones(constant.size), np.zeros(constant.size), constant.reshape(-1)
    weight = {"Mul": c, "Div": 1 / c if node.op_type == "Div" else c}.get(node.op_type, one)
    bias = {"Add": c, "Sub": -c}.get(node.op_type, zero)
    return _norm_of(taken, weight, bias, zero, one, eps=0.0)


def _pool(
    _constants: Constants,
    node: Any,
    taken: Tensor,
    _known: list[str],
    attributes: Mapping[str, Any],
) -> nn.Module:
    axes = taken.dim() - 2
    kernel, stride = (
        _sizes(attributes.get(n, (1,) * axes), axes) for n in ("kernel_shape", "strides")
    )
    padding, ceil_mode = _padding(attributes, axes), bool(attributes.get("ceil_mode", 0))
    kind: Any
    if node.op_type == "MaxPool":
        kind = nn.MaxPool1d if axes == 1 else nn.MaxPool2d
        made: nn.Module = kind(kernel, stride, padding, ceil_mode=ceil_mode)
        return made
    kind = nn.AvgPool1d if axes == 1 else nn.AvgPool2d
    made = kind(kernel, stride, padding, ceil_mode, bool(attributes.get("count_include_pad", 0)))
    return made


def _mean(
    _constants: Constants,
    _node: Any,
    taken: Tensor,
    _known: list[str],
    _attributes: Mapping[str, Any],
) -> nn.Module:
    if taken.dim() == 3:
        return nn.AvgPool1d(taken.shape[2])
    return nn.AvgPool2d((taken.shape[2], taken.shape[3]))


def _reshape(
    constants: Constants, node: Any, taken: Tensor, known: list[str], attributes: Mapping[str, Any]
) -> nn.Module | None:
    if node.op_type == "Flatten":
        return nn.Flatten() if attributes.get("axis", 1) == 1 else None
    target = [int(n) for n in constants.plain(known[0])]
    target = [taken.shape[place] if n == 0 else n for place, n in enumerate(target)]
    made = taken.reshape(target).shape
    if made == taken.shape:
        return nn.Identity()
    return nn.Flatten() if made == (1, taken.numel()) else None


def _same(
    _constants: Constants,
    node: Any,
    taken: Tensor,
    _known: list[str],
    attributes: Mapping[str, Any],
) -> nn.Module | None:
    if node.op_type == "Transpose":
        perm = list(attributes.get("perm", range(taken.dim() - 1, -1, -1)))
        return nn.Identity() if perm == sorted(perm) else Transpose(perm)
    return nn.Identity()


def _soft(
    _constants: Constants,
    _node: Any,
    taken: Tensor,
    _known: list[str],
    attributes: Mapping[str, Any],
) -> nn.Module | None:
    return nn.Softmax(1) if attributes.get("axis", 1) in {1, -1} and taken.dim() == 2 else None


def _relu(*_: Any) -> nn.Module:
    return nn.ReLU()


MAKERS: dict[str, Maker] = {
    "Quant": _quant, "BipolarQuant": _quant, "Trunc": _trunc,
    "MatMul": _matmul, "Gemm": _gemm, "Conv": _conv,
    "BatchNormalization": _norm, "Add": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic,
    "Div": _arithmetic, "Relu": _relu, "MaxPool": _pool, "AveragePool": _pool,
    "GlobalAveragePool": _mean, "Reshape": _reshape, "Flatten": _reshape, "Identity": _same,
    "Dropout": _same, "Transpose": _same, "Softmax": _soft, "LogSoftmax": _soft,
}  # fmt: skip
