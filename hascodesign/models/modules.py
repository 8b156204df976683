"""Steps of a network for which torch and Brevitas have no layer, or QONNX another."""

from __future__ import annotations

import operator
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # brevitas warns of torch features that are not used here
    from brevitas.quant_tensor import IntQuantTensor


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


class _Quantised(nn.Module, ABC):
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

    @abstractmethod
    def _applied(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with these weights and this bias."""


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
