"""The layers that are known, and the functions of torch as the layers that do the same."""

from __future__ import annotations

import inspect
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # brevitas warns of torch features that are not used here
    import brevitas.nn as qnn
    from brevitas.quant_tensor import QuantTensor

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


class Strange(nn.Module):
    """Something that is none of the layers."""

    def __init__(self, kind: str = "") -> None:
        super().__init__()
        self.kind = kind


MULTIPLY = (qnn.QuantConv2d, qnn.QuantLinear)
ACTIVATIONS = (
    qnn.QuantIdentity, qnn.QuantReLU, qnn.QuantHardTanh, qnn.QuantTanh, qnn.QuantSigmoid,
)  # fmt: skip
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
POOLS = (nn.MaxPool2d,)
MEANS = (nn.AvgPool2d,)
FLAT = (nn.Flatten,)
RISING = (nn.ReLU,)  # keep the order of what they are given
SOFT = (nn.Softmax, nn.LogSoftmax)  # keep the order of the logits
# identity at evaluation
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)
NAMED = (*MULTIPLY, *ACTIVATIONS, *NORMS, *POOLS, *MEANS, *FLAT, *RISING, *SOFT, *DROPOUTS)
SUPPORTED = (*NAMED, Elementwise)
LIBRARIES = ("torch.", "brevitas.")
OPERATIONS = {
    name: getattr(operator, kind)
    for kind in ("add", "sub", "mul", "truediv")
    for name in (kind, f"i{kind}", f"r{kind}")
} | {"div": operator.truediv, "rdiv": operator.truediv}
RESHAPES = {"flatten", "view", "reshape", "squeeze", "contiguous", "clone", "detach", "unsqueeze"}


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one step: what is inside of a library's layer is its own matter."""
    if isinstance(module, NAMED) and not truncates(module):
        return True
    container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
    return type(module).__module__.startswith(LIBRARIES) and not container


def truncates(module: nn.Module) -> bool:
    """Whether a pool of Brevitas drops low bits of its sums, which is no average."""
    return isinstance(module, MEANS) and type(module).__module__.startswith("brevitas.")


def as_built(module: nn.Module) -> bool:
    """Whether a layer computes what its library's class does: no ``forward`` of a subclass."""
    return type(module).forward.__module__.startswith((*LIBRARIES, __name__))


def input_quantisers(module: nn.Module) -> Iterator[nn.Module]:
    """The quantiser that a layer which multiplies has of its own for what it takes."""
    if isinstance(module, MULTIPLY) and module.input_quant.is_quant_enabled:
        yield module.input_quant


def output_quantisers(module: nn.Module) -> Iterator[nn.Module]:
    """The quantiser that a layer which multiplies has of its own for what it gives."""
    if isinstance(module, MULTIPLY) and module.output_quant.is_quant_enabled:
        yield module.output_quant


def simplest(module: nn.Module, taken: Tensor, made: Tensor) -> nn.Module:
    """A module, or the simpler one that does the same at this size."""
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        if tuple(made.shape[2:]) != (1, 1) or taken.dim() != 4:
            return module
        kind = nn.AvgPool2d if isinstance(module, nn.AdaptiveAvgPool2d) else nn.MaxPool2d
        return kind(_size(taken))
    return module


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[2], maps.shape[3]


def quantises(module: nn.Module) -> bool:
    """Whether a module is an activation's quantiser, or one inside a layer that multiplies."""
    return isinstance(module, ACTIVATIONS) or type(module).__name__.startswith("ActQuantProxy")


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
        "relu": _relu, "max_pool2d": _max_pool, "avg_pool2d": _avg_pool, "mean": _mean,
        "adaptive_avg_pool2d": _adaptive, "softmax": _soft, "log_softmax": _soft,
        "dropout": _dropout,
    }  # fmt: skip
    made_of: nn.Module | None = None
    if name in RESHAPES:
        made_of = _reshaped(taken, made)
    elif name in OPERATIONS:
        made_of = _elementwise(name, args, kwargs, taken)
    elif name in makers:
        made_of = makers[name](func, args, kwargs, taken, made)
    return Strange() if made_of is None else made_of


def _reshaped(taken: Tensor, made: Tensor) -> nn.Module | None:
    if made.shape == taken.shape:
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


def _max_pool(_f: Any, args: Any, kwargs: Any, _taken: Tensor, _made: Tensor) -> nn.Module:
    return nn.MaxPool2d(**_bound(args, kwargs, nn.MaxPool2d))


def _avg_pool(_f: Any, args: Any, kwargs: Any, _taken: Tensor, _made: Tensor) -> nn.Module:
    return nn.AvgPool2d(**_bound(args, kwargs, nn.AvgPool2d))


def _adaptive(_f: Any, _a: Any, _k: Any, taken: Tensor, made: Tensor) -> nn.Module | None:
    whole = taken.dim() == 4 and tuple(made.shape[2:]) == (1, 1)
    return nn.AvgPool2d(_size(taken)) if whole else None


def _mean(_f: Any, args: Any, kwargs: Any, taken: Tensor, _made: Tensor) -> nn.Module | None:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    axes = {axis % taken.dim() for axis in dim} if isinstance(dim, tuple | list) else set()
    return nn.AvgPool2d(_size(taken)) if taken.dim() == 4 and axes == {2, 3} else None


def _soft(_f: Any, args: Any, kwargs: Any, taken: Tensor, _made: Tensor) -> nn.Module | None:
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return nn.Softmax(1) if dim in {1, -1} and taken.dim() == 2 else None


def _dropout(_f: Any, args: Any, kwargs: Any, _taken: Tensor, _made: Tensor) -> nn.Module | None:
    training = kwargs.get("training", args[2] if len(args) > 2 else True)
    return None if training else nn.Identity()
