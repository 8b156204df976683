"""The layers that are known, and the functions of torch as the layers that do the same."""

from __future__ import annotations

import inspect
import operator
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # brevitas warns of torch features that are not used here
    import brevitas.nn as qnn
    from brevitas.quant_tensor import IntQuantTensor, QuantTensor

__all__ = ["QuantTensor"]


class Elementwise(nn.Module):
    """x -> one operation with a constant: add, subtract, multiply or divide."""

    def __init__(self, func: Callable[..., Tensor], constant: float, *, first: bool) -> None:
        super().__init__()
        self.func, self.constant, self.first = func, constant, first

    def forward(self, x: Tensor) -> Tensor:
        """The very operation that the model does."""
        return self.func(self.constant, x) if self.first else self.func(x, self.constant)

    @property
    def gain(self) -> float:
        """Slope of forward(x) = gain * x + offset."""
        if self.func in {operator.add, operator.sub}:
            return -1.0 if self.func is operator.sub and self.first else 1.0
        return self.constant if self.func is operator.mul else 1.0 / self.constant

    @property
    def offset(self) -> float:
        """What is added."""
        if self.func is operator.sub:
            return self.constant if self.first else -self.constant
        return self.constant if self.func is operator.add else 0.0


class Sum(nn.Module):
    """a + b, or a - b, of two values of the images."""

    def __init__(self, *, minus: bool = False) -> None:
        super().__init__()
        self.minus = minus

    def forward(self, a: Any, b: Any) -> Tensor:
        """The real values."""
        one, other = (getattr(value, "value", value) for value in (a, b))
        return one - other if self.minus else one + other


@dataclass(frozen=True, slots=True)
class Pair:
    """A sum, and the two values that it takes."""

    module: Sum
    values: tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Weights:
    """Constant weights: real = codes * scale."""

    real: NDArray[np.float64]
    scale: NDArray[np.float64]  # of the same rank, or one
    bits: int
    signed: bool

    @classmethod
    def of(cls, codes: Any, scale: Any, bits: int, *, signed: bool) -> Weights:
        """Of whole numbers and their scale."""
        wide = np.asarray(scale, dtype=np.float64)
        return cls(np.asarray(codes, dtype=np.float64) * wide, wide, bits, signed)

    def transposed(self, perm: Sequence[int]) -> Weights:
        """With its axes in another order."""
        scale = self.scale.transpose(perm) if self.scale.ndim == self.real.ndim else self.scale
        return Weights(
            np.ascontiguousarray(self.real.transpose(perm)), scale, self.bits, self.signed
        )

    def reordered(self, perm: Sequence[int], shape: Sequence[int]) -> Weights:
        """Of a dense layer: for features of the axes ``shape``, flat, before they were permuted."""
        order = np.arange(self.real.shape[1]).reshape([shape[axis] for axis in perm])
        columns = order.transpose(np.argsort(perm)).reshape(-1)
        scale = self.scale
        if scale.ndim == 2 and scale.shape[1] > 1:
            scale = scale[:, columns]
        return Weights(np.ascontiguousarray(self.real[:, columns]), scale, self.bits, self.signed)


class _Quantised(nn.Module):
    """What layers that multiply by constant weights have in common with Brevitas's."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.give(weights)
        self.bias: nn.Parameter | None = None
        self.weight_quant = SimpleNamespace(is_quant_enabled=True)

    def give(self, weights: Weights) -> None:
        """Take other weights."""
        self.given = weights
        self.weight = nn.Parameter(torch.from_numpy(weights.real))

    def quant_weight(self) -> IntQuantTensor:
        """The weights with their scale."""
        given = self.given
        scale = given.scale if given.scale.size > 1 else given.scale.reshape(())
        return int_tensor(self.weight, torch.from_numpy(scale.copy()), given.bits, given.signed)

    def bias_quant(self, bias: Tensor, *_: Any) -> Tensor:
        """The bias as it is."""
        return bias

    def forward(self, x: Any) -> Tensor:
        """In the type of the weights."""
        return self._applied(getattr(x, "value", x).to(self.weight.dtype), self.weight, self.bias)

    def float32_error(self, x: Any) -> Tensor:
        """What float32 may be off by, in whatever order it sums [1]_.

        References
        ----------
        .. [1] N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., SIAM, 2002,
           section 3.1: n u / (1 - n u) of the sum of magnitudes.
        """
        bias = None if self.bias is None else self.bias.abs()
        terms = self.weight[0].numel() + 8  # and what rounds scales, averages and the bias
        size = self._applied(getattr(x, "value", x).abs(), self.weight.abs(), bias)
        return size * (terms * 2.0**-24 / (1 - terms * 2.0**-24))

    def _applied(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        raise NotImplementedError


class Dense(_Quantised):
    """y = x W^T + b of constant quantised weights [rows, features]."""

    def _applied(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(x, weight, bias)


class Convolution(_Quantised):
    """The same of a convolution, weights [rows, channels / groups, ky, kx], zeros as padding."""

    padding_mode, is_same_padded_strided = "zeros", False

    def __init__(
        self,
        weights: Weights,
        *,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> None:
        super().__init__(weights)
        self.kernel_size = weights.real.shape[2:]  # of one axis or two
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def _applied(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        function: Any = nn.functional.conv1d if weight.dim() == 3 else nn.functional.conv2d
        made: Tensor = function(
            x, weight, bias, self.stride, self.padding, self.dilation, self.groups
        )
        return made


class Quantiser(nn.Module):
    """Codes as QONNX's Quant has them: rounded after the clamp, or signs where ``binary``."""

    is_quant_enabled = True

    def __init__(
        self,
        scale: float,
        bits: int,
        low: int,
        high: int,
        *,
        signed: bool,
        zero_point: float = 0.0,
        binary: bool = False,
        rounding: Callable[[Tensor], Tensor] = torch.round,
    ) -> None:
        super().__init__()
        self.scale, self.bits, self.low, self.high = scale, bits, low, high
        self.signed, self.zero_point, self.binary = signed, zero_point, binary
        self.rounding = rounding

    def forward(self, x: Any) -> IntQuantTensor:
        """The value with its format."""
        real = getattr(x, "value", x)
        if self.binary:
            codes = torch.where(real >= 0, 1.0, -1.0).to(real.dtype)
        else:
            codes = self.rounding((real / self.scale + self.zero_point).clamp(self.low, self.high))
        value = (codes - self.zero_point) * self.scale
        scale = torch.tensor(self.scale, dtype=torch.float64)
        return int_tensor(value, scale, self.bits, self.signed, self.zero_point)


class Truncation(Quantiser):
    """Codes without their lowest bits, as QONNX's Trunc has them."""

    def __init__(
        self,
        taken: float,
        scale: float,
        drop: int,
        bits: int,
        low: int,
        high: int,
        *,
        signed: bool,
        rounding: Callable[[Tensor], Tensor],
    ) -> None:
        """Of codes of the scale ``taken``; ``drop`` bits go, and those left have ``scale``."""
        super().__init__(scale, bits, low, high, signed=signed, rounding=rounding)
        self.taken, self.drop = taken, drop

    def forward(self, x: Any) -> IntQuantTensor:
        """The value with its format."""
        whole = torch.round(getattr(x, "value", x) / self.taken) / 2**self.drop
        codes = self.rounding(whole.clamp(self.low, self.high))
        scale = torch.tensor(self.scale, dtype=torch.float64)
        return int_tensor(codes * self.scale, scale, self.bits, self.signed)


class Transpose(nn.Module):
    """Axes in another order."""

    def __init__(self, perm: Sequence[int]) -> None:
        super().__init__()
        self.perm = tuple(perm)

    def forward(self, x: Any) -> Tensor:
        """Of the real values."""
        value: Tensor = getattr(x, "value", x)
        return value.permute(self.perm)


def int_tensor(
    value: Tensor, scale: Tensor, bits: int, signed: bool, zero_point: float = 0.0
) -> IntQuantTensor:
    """A tensor with its integer format, as Brevitas has them."""
    return IntQuantTensor(
        value=value,
        scale=scale,
        zero_point=torch.tensor(zero_point, dtype=torch.float64),
        bit_width=torch.tensor(float(bits)),
        signed=signed,
        training=False,
    )


class Strange(nn.Module):
    """Something that is none of the layers."""

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.kind = kind


LINES = (qnn.QuantConv1d,)  # of maps with one axis
CONVOLUTIONS = (qnn.QuantConv2d, *LINES, Convolution)
MULTIPLY = (*CONVOLUTIONS, qnn.QuantLinear, Dense)
ADDS = (qnn.QuantEltwiseAdd, Sum)
IDENTITIES = (qnn.QuantIdentity,)
ACTIVATIONS = (
    qnn.QuantIdentity, qnn.QuantReLU, qnn.QuantHardTanh, qnn.QuantTanh, qnn.QuantSigmoid,
)  # fmt: skip
BREVITAS = (qnn.QuantConv2d, qnn.QuantConv1d, qnn.QuantLinear, qnn.QuantEltwiseAdd)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.MaxPool2d,)
LINE_POOLS = (nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d)
MAP_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
MEANS = (nn.AvgPool2d,)
TRUNCATING = (qnn.TruncAvgPool2d, qnn.TruncAdaptiveAvgPool2d)
FLAT = (nn.Flatten,)
RISING = (nn.ReLU,)  # keep the order of what they are given
ACTING = (*NORMS, *RISING, Elementwise)  # on real numbers, each channel for itself
SOFT = (nn.Softmax, nn.LogSoftmax)  # keep the order of the logits
# identity at evaluation
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
NAMED = (
    *(*BREVITAS, *ACTIVATIONS, *NORMS, *POOLS, *MEANS, *TRUNCATING),
    *(*FLAT, *RISING, *SOFT, *DROPOUTS),
)
SUPPORTED = (*NAMED, Dense, Convolution, Elementwise, Sum)
LIBRARIES = ("torch.", "brevitas.")
OPERATIONS = {
    name: getattr(operator, kind)
    for kind in ("add", "sub", "mul", "truediv")
    for name in (kind, f"i{kind}", f"r{kind}")
} | {"div": operator.truediv, "rdiv": operator.truediv}
RESHAPES = {"flatten", "view", "reshape", "squeeze", "contiguous", "clone", "detach", "unsqueeze"}


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one step: what is inside of a library's layer is its own matter."""
    if isinstance(module, (*SUPPORTED, Quantiser)):
        return True
    container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    return type(module).__module__.startswith(LIBRARIES) and not container


def truncates(module: nn.Module) -> bool:
    """Whether a pool of Brevitas drops low bits of its sums, which is no average."""
    return isinstance(module, TRUNCATING)


def as_built(module: nn.Module) -> bool:
    """Whether a layer computes what its library's class does: no ``forward`` of a subclass."""
    return type(module).forward.__module__.startswith((*LIBRARIES, __name__))


def input_quantisers(module: nn.Module) -> Iterator[nn.Module]:
    """The quantiser that a layer which multiplies has of its own for what it takes."""
    if isinstance(module, BREVITAS) and module.input_quant.is_quant_enabled:
        yield module.input_quant


def output_quantisers(module: nn.Module) -> Iterator[nn.Module]:
    """The quantiser that a layer which multiplies has of its own for what it gives."""
    if isinstance(module, BREVITAS) and module.output_quant.is_quant_enabled:
        yield module.output_quant


def simplest(module: nn.Module, taken: Tensor, made: Tensor) -> nn.Module:
    """A module, or the simpler one that does the same at this size.

    Without the axis of a batch torch's pools take their first axis for the channels: what they do
    then to a batch is no pool of its maps.
    """
    for kinds, axes in ((LINE_POOLS, 3), (MAP_POOLS, 4)):
        if isinstance(module, kinds) and taken.dim() != axes:
            return Strange(f" ({type(module).__name__} of {taken.dim()} axes, not {axes})")
    adaptive = {
        nn.AdaptiveAvgPool2d: nn.AvgPool2d, nn.AdaptiveAvgPool1d: nn.AvgPool2d,
        nn.AdaptiveMaxPool2d: nn.MaxPool2d, nn.AdaptiveMaxPool1d: nn.MaxPool2d,
    }  # fmt: skip
    for given, kind in adaptive.items():
        if isinstance(module, given) and not truncates(module):
            whole = taken.dim() > 2 and set(made.shape[2:]) == {1}
            return kind(_size(taken)) if whole else module
    if isinstance(module, nn.MaxPool1d):
        return nn.MaxPool2d(
            _flat(module.kernel_size, 1), _flat(module.stride, 1), _flat(module.padding, 0),
            _flat(module.dilation, 1), module.return_indices, module.ceil_mode,
        )  # fmt: skip
    if isinstance(module, nn.AvgPool1d):
        return nn.AvgPool2d(
            _flat(module.kernel_size, 1), _flat(module.stride, 1), _flat(module.padding, 0),
            module.ceil_mode, module.count_include_pad,
        )  # fmt: skip
    return module


def _flat(size: Any, alone: int) -> tuple[int, int]:
    """Of a pool with one axis, as of one with two."""
    return alone, size[0] if isinstance(size, tuple) else size


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """(channels, height, width) of a map, height 1 where it has one axis, or (features,)."""
    shape = tuple(tensor.shape[1:])
    return (shape[0], 1, shape[1]) if len(shape) == 2 else shape


def _size(maps: Tensor) -> tuple[int, int]:
    _, height, width = shape_of(maps)
    return height, width


def quantises(module: nn.Module) -> bool:
    """Whether a module is an activation's quantiser, or one inside a layer that multiplies."""
    return isinstance(module, (*ACTIVATIONS, Quantiser)) or type(module).__name__.startswith(
        "ActQuantProxy"
    )


def module_of(
    func: Callable[..., Any], args: Any, kwargs: Any, taken: Tensor, made: Tensor
) -> nn.Module:
    """The module that does what a function did, or a Strange one.

    Parameters
    ----------
    func, args, kwargs : the call.
    taken, made : what it was given of the images, and what it gave.
    """
    name = getattr(func, "__name__", "").strip("_")
    if made.dtype != taken.dtype:
        return Strange(f" (a cast from {taken.dtype} to {made.dtype})")
    makers: dict[str, Callable[..., nn.Module | None]] = {
        "relu": _relu, "mean": _mean,
        **dict.fromkeys(("max_pool2d", "avg_pool2d", "max_pool1d", "avg_pool1d"), _pool),
        "adaptive_avg_pool2d": _adaptive, "adaptive_avg_pool1d": _adaptive,
        "softmax": _soft, "log_softmax": _soft, "dropout": _dropout,
    }  # fmt: skip
    made_of: nn.Module | None = None
    if name in RESHAPES:
        made_of = _reshaped(taken, made)
    elif name in OPERATIONS:
        made_of = _elementwise(name, args, kwargs, taken)
    elif name in makers:
        made_of = makers[name](func, args, kwargs, taken, made)
    return Strange() if made_of is None else made_of


def sum_of(func: Callable[..., Any], args: Any, kwargs: Any) -> Pair | None:
    """The sum or difference of two tensors of one shape that a function is; None where it is not.

    Of ``a - b`` the first of ``values`` is a.
    """
    name = getattr(func, "__name__", "").strip("_")
    if OPERATIONS.get(name) not in {operator.add, operator.sub} or len(args) != 2 or kwargs:
        return None
    one, other = (getattr(arg, "value", arg) for arg in args)
    if not (isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape):
        return None
    values = (other, one) if name.startswith("r") else (one, other)
    return Pair(Sum(minus=OPERATIONS[name] is operator.sub), values)


def _reshaped(taken: Tensor, made: Tensor) -> nn.Module | None:
    if shape_of(made) == shape_of(taken):
        return nn.Identity()
    flat = made.dim() == 2 and made.shape[0] == taken.shape[0]
    return nn.Flatten() if flat and made.numel() == taken.numel() else None


def _elementwise(name: str, args: Any, kwargs: Any, taken: Tensor) -> nn.Module | None:
    """An operation with one constant for all elements."""
    if len(args) != 2 or kwargs:
        return None
    func, swapped = OPERATIONS[name], name.startswith("r")
    mine = [getattr(one, "value", one) is taken for one in args]
    other: Any = args[mine.index(False)] if mine.count(True) == 1 else None
    if isinstance(other, Tensor) and other.numel() == 1 and other.dim() <= 1:
        other = float(other.double())
    if isinstance(other, bool) or not isinstance(other, int | float):
        return None
    first = mine[1] != swapped
    if func is operator.truediv and first:
        return None  # a constant over x
    return Elementwise(func, float(other), first=first)


def _bound(args: Any, kwargs: Any, like: Callable[..., Any]) -> Any:
    """Arguments by name, as ``like`` names them, without the input."""
    return inspect.signature(like).bind(*args[1:], **kwargs).arguments


def _relu(*_: Any) -> nn.Module:
    return nn.ReLU()


def _pool(func: Any, args: Any, kwargs: Any, taken: Tensor, made: Tensor) -> nn.Module:
    name = func.__name__
    kinds: tuple[Any, Any] = (nn.MaxPool1d, nn.MaxPool2d)
    if "avg" in name:
        kinds = (nn.AvgPool1d, nn.AvgPool2d)
    kind = kinds["2d" in name]
    return simplest(kind(**_bound(args, kwargs, kind)), taken, made)


def _adaptive(func: Any, _a: Any, _k: Any, taken: Tensor, made: Tensor) -> nn.Module | None:
    axes = 3 if "1d" in func.__name__ else 4
    whole = taken.dim() == axes and set(made.shape[2:]) == {1}
    return nn.AvgPool2d(_size(taken)) if whole else None


def _mean(_f: Any, args: Any, kwargs: Any, taken: Tensor, _made: Tensor) -> nn.Module | None:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    given = dim if isinstance(dim, tuple | list) else () if dim is None else (dim,)
    axes = {axis % taken.dim() for axis in given}
    return nn.AvgPool2d(_size(taken)) if axes and axes == set(range(2, taken.dim())) else None


def _soft(_f: Any, args: Any, kwargs: Any, taken: Tensor, _made: Tensor) -> nn.Module | None:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return nn.Softmax(1) if dim in {1, -1} and taken.dim() == 2 else None


def _dropout(_f: Any, args: Any, kwargs: Any, _taken: Tensor, _made: Tensor) -> nn.Module | None:
    training = kwargs.get("training", args[2] if len(args) > 2 else True)
    return None if training else nn.Identity()
