"""The operators of a QONNX graph as the layers that do the same.

Each maker takes the graph's constants, the node, a sample of what it is given of the images, the
names of its constants and its attributes; it returns None where no layer does the same.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hascodesign.contract.errors import ModelError
from hascodesign.models.layers import Convolution, Dense, Elementwise, Quantiser
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
    height, width = taken.shape[2:]
    py, px = _padding(attributes)
    rows = len(constants.weights(node.input[1], transpose=False).real)
    if rows * (height + 2 * py) * (width + 2 * px) > MOST_ELEMENTS:
        raise ModelError(f"must give a map of at most {MOST_ELEMENTS} elements")
    layer = Convolution(
        constants.weights(node.input[1], transpose=False),
        stride=_pair(attributes.get("strides", (1, 1))),
        padding=(py, px),
        dilation=_pair(attributes.get("dilations", (1, 1))),
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


def _pair(values: Any) -> tuple[int, int]:
    if len(values) != 2 or not all(0 < value <= MOST_SIDE for value in values):
        raise ModelError(f"must have two axes, of 1 to {MOST_SIDE} each, not {list(values)[:9]}")
    return int(values[0]), int(values[1])


def _padding(attributes: Mapping[str, Any]) -> tuple[int, int]:
    if attributes.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
        raise ModelError("must say its padding, not auto_pad")
    pads = tuple(int(pad) for pad in attributes.get("pads", (0, 0, 0, 0)))
    if len(pads) != 4 or pads[:2] != pads[2:] or not all(0 <= pad <= MOST_SIDE for pad in pads):
        raise ModelError(f"must pad alike on both sides, by at most {MOST_SIDE}, not {pads[:9]}")
    return pads[0], pads[1]


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
    if taken.dim() == 4 and constant.shape[-2:] != (1, 1):
        return None
    one, zero, c = np.ones(constant.size), np.zeros(constant.size), constant.reshape(-1)
    weight = {"Mul": c, "Div": 1 / c if node.op_type == "Div" else c}.get(node.op_type, one)
    bias = {"Add": c, "Sub": -c}.get(node.op_type, zero)
    return _norm_of(taken, weight, bias, zero, one, eps=0.0)


def _pool(
    _constants: Constants,
    node: Any,
    _taken: Tensor,
    _known: list[str],
    attributes: Mapping[str, Any],
) -> nn.Module:
    kernel, stride = (_pair(attributes.get(n, (1, 1))) for n in ("kernel_shape", "strides"))
    padding, ceil_mode = _padding(attributes), bool(attributes.get("ceil_mode", 0))
    if node.op_type == "MaxPool":
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    counts = bool(attributes.get("count_include_pad", 0))
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode, counts)


def _mean(
    _constants: Constants,
    _node: Any,
    taken: Tensor,
    _known: list[str],
    _attributes: Mapping[str, Any],
) -> nn.Module:
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
        return nn.Identity() if perm == sorted(perm) else None
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
    "Quant": _quant, "BipolarQuant": _quant, "MatMul": _matmul, "Gemm": _gemm, "Conv": _conv,
    "BatchNormalization": _norm, "Add": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic,
    "Div": _arithmetic, "Relu": _relu, "MaxPool": _pool, "AveragePool": _pool,
    "GlobalAveragePool": _mean, "Reshape": _reshape, "Flatten": _reshape, "Identity": _same,
    "Dropout": _same, "Transpose": _same, "Softmax": _soft, "LogSoftmax": _soft,
}  # fmt: skip
