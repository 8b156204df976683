"""The layers that are known, by what they do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from torch import nn

from hascodesign.models.modules import Convolution, Dense, Elementwise, Quantiser, Sum

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # brevitas warns of torch features that are not used here
    import brevitas.nn as qnn
    from brevitas.quant_tensor import QuantTensor

__all__ = ["QuantTensor"]

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
    return type(module).forward.__module__.startswith((*LIBRARIES, Sum.__module__))


def input_quantisers(module: nn.Module) -> Iterator[nn.Module]:
    """The quantiser that a layer which multiplies has of its own for what it takes."""
    if isinstance(module, BREVITAS) and module.input_quant.is_quant_enabled:
        yield module.input_quant


def output_quantisers(module: nn.Module) -> Iterator[nn.Module]:
    """The quantiser that a layer which multiplies has of its own for what it gives."""
    if isinstance(module, BREVITAS) and module.output_quant.is_quant_enabled:
        yield module.output_quant


def quantises(module: nn.Module) -> bool:
    """Whether a module is an activation's quantiser, or one inside a layer that multiplies."""
    return isinstance(module, (*ACTIVATIONS, Quantiser)) or type(module).__name__.startswith(
        "ActQuantProxy"
    )
