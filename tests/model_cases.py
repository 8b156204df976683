"""Small Brevitas models with settled scales, for the tests of hascodesign.models."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from brevitas import nn as qnn
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    Int16Bias,
    Uint8ActPerTensorFixedPoint,
    Uint8ActPerTensorFloat,
)
from torch import nn

from hascodesign.contract.types import Split, frozen
from hascodesign.models.graph import quiet

IMAGE = (2, 6, 5)  # channels, height, width: all different, so that a swapped axis shows


def pixels(bits: int = 8, quant: Any = Int8ActPerTensorFloat, **options: Any) -> nn.Module:
    return qnn.QuantIdentity(act_quant=quant, bit_width=bits, return_quant_tensor=True, **options)


def relu(bits: int = 4, quant: Any = Uint8ActPerTensorFloat, **options: Any) -> nn.Module:
    return qnn.QuantReLU(act_quant=quant, bit_width=bits, return_quant_tensor=True, **options)


def conv(inputs: int, outputs: int, kernel: Any = 3, bits: int = 4, **options: Any) -> nn.Module:
    options = {"bias": False, "weight_quant": Int8WeightPerChannelFloat} | options
    return qnn.QuantConv2d(inputs, outputs, kernel, weight_bit_width=bits, **options)


def line(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Module:
    """A convolution of maps with one axis."""
    options = {"bias": False, "weight_quant": Int8WeightPerChannelFloat} | options
    return qnn.QuantConv1d(inputs, outputs, kernel, weight_bit_width=4, **options)


def dense(inputs: int, outputs: int, bits: int = 4, **options: Any) -> nn.Module:
    options = {"bias": False, "weight_quant": Int8WeightPerChannelFloat} | options
    return qnn.QuantLinear(inputs, outputs, weight_bit_width=bits, **options)


def last(inputs: int, outputs: int = 3, **options: Any) -> nn.Module:
    options = {"weight_quant": Int8WeightPerTensorFloat} | options
    return dense(inputs, outputs, **({"bias": True, "bias_quant": Int16Bias} | options))


def settled(*layers: nn.Module, shape: tuple[int, int, int] = IMAGE, seed: int = 0) -> nn.Module:
    """Layers in sequence, their scales and statistics drawn from random images."""
    return settle(nn.Sequential(*layers), shape, seed)


def settle(model: nn.Module, shape: tuple[int, int, int] = IMAGE, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    with quiet(), torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
                module.weight.normal_()  # either sign
                module.bias.normal_()
        model.train()
        for _ in range(3):
            model(torch.randn(16, *shape))
    return model.eval()


def images(
    count: int = 40, shape: tuple[int, int, int] = IMAGE, seed: int = 1, scale: float = 1.0
) -> Split:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, *shape)) * scale
    return Split(frozen(values, np.float32), frozen(rng.integers(0, 3, count)))


def power_of_two(*, bits: int = 4, signed: bool = False, bias: bool = False) -> nn.Module:
    """Two dense layers on fixed-point scales: the first one's output is a shift."""
    options: dict[str, Any] = {"weight_quant": Int8WeightPerTensorFixedPoint, "bias": False}
    if bias:
        options |= {"bias": True, "bias_quant": Int16Bias}
    act = (
        pixels(bits, Int8ActPerTensorFixedPoint)
        if signed
        else relu(bits, Uint8ActPerTensorFixedPoint)
    )
    return settled(
        pixels(8, Int8ActPerTensorFixedPoint),
        nn.Flatten(),
        dense(60, 5, **options),
        act,
        last(5),
    )
