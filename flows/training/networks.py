"""Networks to train for this flow: a residual one, a depthwise-separable one, one for digits.

Beside them two of those that Brevitas ships, as their own classes make them: TFC and CNV.
Each is a factory that ``hascodesign flow --model networks.py:NAME`` takes. One quantiser, the same
module, stands behind both branches of every sum: sums add codes, which need one scale.
"""

from __future__ import annotations

from typing import Any

from brevitas import nn as qnn
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import (
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    Uint8ActPerTensorFloat,
    Uint8ActPerTensorFloatMaxInit,
)
from brevitas_examples.bnn_pynq.models import model_with_cfg
from torch import nn

BITS = 4  # of weights and activations


def pixels(most: float) -> nn.Module:
    """8-bit codes of images from 0 to ``most``."""
    return qnn.QuantIdentity(
        act_quant=Uint8ActPerTensorFloatMaxInit,
        max_val=most,
        scaling_impl_type=ScalingImplType.CONST,
        return_quant_tensor=True,
    )


def relu() -> nn.Module:
    """Codes of what is not negative, a learned scale."""
    return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=BITS, return_quant_tensor=True)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    """A convolution and its norm, which becomes part of the thresholds behind it."""
    return nn.Sequential(
        qnn.QuantConv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=False,
            weight_quant=Int8WeightPerChannelFloat,
            weight_bit_width=BITS,
        ),
        nn.BatchNorm2d(outputs),
    )


def last(inputs: int, classes: int = 10) -> nn.Module:
    """Logits: one weight scale for all rows."""
    return qnn.QuantLinear(
        inputs,
        classes,
        bias=True,
        weight_quant=Int8WeightPerTensorFloat,
        weight_bit_width=BITS,
    )


class Residual(nn.Module):
    """Two convolutions of 3 x 3 beside the map itself, or beside one of 1 x 1 with a stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.between = conv(inputs, outputs, 3, stride), relu()
        self.second = conv(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.short = nn.Identity() if same else conv(inputs, outputs, 1, stride)
        self.shared, self.out = relu(), relu()

    def forward(self, x: Any) -> Any:
        """Codes to codes."""
        y = self.shared(self.second(self.between(self.first(x))))
        return self.out(y + self.shared(self.short(x)))


def resnet8() -> nn.Module:
    """ResNet-8 of MLPerf Tiny for 32 x 32 colour images, 4 bits."""
    return nn.Sequential(
        pixels(1.0),
        conv(3, 16, 3),
        relu(),
        Residual(16, 16, 1),
        Residual(16, 32, 2),
        Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        last(64),
    )


def _separable(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """A convolution for each channel, then one of 1 x 1 over all."""
    return [
        *(conv(inputs, inputs, 3, stride, groups=inputs), relu()),
        *(conv(inputs, outputs, 1), relu()),
    ]


def separable() -> nn.Module:
    """Depthwise-separable, as MobileNet, for 32 x 32 colour images, 4 bits."""
    return nn.Sequential(
        pixels(1.0),
        conv(3, 16, 3),
        relu(),
        *_separable(16, 32, 2),
        *_separable(32, 32, 1),
        *_separable(32, 64, 2),
        *_separable(64, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        last(64),
    )


def digits() -> nn.Module:
    """8 x 8 digits: two convolutions and a pool, 4 bits."""
    return nn.Sequential(
        pixels(16.0),
        conv(1, 16, 3),
        relu(),
        conv(16, 24, 3),
        relu(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        last(24 * 16),
    )


def _shipped(name: str) -> nn.Module:
    """A network of ``brevitas_examples.bnn_pynq``, not trained."""
    model: nn.Module = model_with_cfg(name, pretrained=False)[0]
    return model


def tfc_2w2a() -> nn.Module:
    """Brevitas's TFC for 28 x 28 digits, weights and activations of 2 bits."""
    return _shipped("tfc_2w2a")


def cnv_1w1a() -> nn.Module:
    """Brevitas's CNV for 32 x 32 colour images, binary weights and activations."""
    return _shipped("cnv_1w1a")
