"""The functions of torch, as the layers that do the same."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from hascodesign.models.layers import LINE_POOLS, MAP_POOLS, truncates
from hascodesign.models.modules import Elementwise, Strange, Sum

OPERATIONS = {
    name: getattr(operator, kind)
    for kind in ("add", "sub", "mul", "truediv")
    for name in (kind, f"i{kind}", f"r{kind}")
} | {"div": operator.truediv, "rdiv": operator.truediv}
RESHAPES = {"flatten", "view", "reshape", "squeeze", "contiguous", "clone", "detach", "unsqueeze"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A sum, and the two values that it takes."""

    module: Sum
    values: tuple[Any, Any]


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
