"""What to write in place of a layer that the array does not compute."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_AVERAGE = "write nn.AvgPool2d in its place, with a QuantLinear behind it, and train with it"
_RELU = "write qnn.QuantReLU in the place of it and of the quantiser behind it, and train with it"
_CURVE = "write qnn.QuantReLU in its place and train with it"
_LOSS = "take it out of the model: the loss belongs to the training"
_JOIN = (
    "let a convolution of 1 x 1 behind each branch give maps of one shape, add them, and train so:"
    " sums of maps are built, concatenation is not"
)

#: By the name of the layer's class.
_INSTEAD: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        (*("QuantAvgPool2d", "AdaptiveAvgPool2d", "QuantAdaptiveAvgPool2d"),),
        _AVERAGE,
    )
    | dict.fromkeys(("ReLU6", "LeakyReLU", "PReLU"), _RELU)
    | dict.fromkeys(("GELU", "SiLU", "Hardswish"), _CURVE)
    | dict.fromkeys(("CrossEntropyLoss", "NLLLoss", "MSELoss", "BCELoss"), _LOSS)
    | {
        "Sigmoid": "write qnn.QuantSigmoid in the place of it and of the quantiser behind it",
        "Tanh": "write qnn.QuantTanh in the place of it and of the quantiser behind it",
        "Hardtanh": "leave it out, the range of the quantiser behind it clamps, and train so",
        "QuantCat": _JOIN,
        "Conv1d": "write qnn.QuantConv1d in its place and train with it",
        "Conv2d": "write qnn.QuantConv2d in its place and train with it",
        "Linear": "write qnn.QuantLinear in its place and train with it",
        "ZeroPad2d": "give the QuantConv2d behind it padding=, alike on both sides",
        "DataParallel": "return its .module",
        "AlphaDropout": "write nn.Dropout in its place: neither does anything at evaluation",
    }
)


def instead_of(kind: str) -> str:
    """What to do about a layer of a class of this name, which is not supported."""
    return _INSTEAD.get(
        kind,
        "let one of these do its work, and train with it",
    )
