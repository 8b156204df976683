"""The bundled networks, untrained."""

from __future__ import annotations

from brevitas import nn as qnn
from brevitas.inject.enum import ScalingImplType
from brevitas.quant import (
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    Int16Bias,
    Uint8ActPerTensorFloat,
    Uint8ActPerTensorFloatMaxInit,
)
from torch import nn


def digits_cnn() -> nn.Sequential:
    """8x8 images: conv 16 and 32 of 3x3, pool, dense 10; 4-bit weights and activations.

    Dropout of whole channels spreads what the network knows over its rows, so that it can do
    without some of them.
    """
    return nn.Sequential(
        _pixels(16.0),
        *_conv(1, 16, 3, 4, padding=1),
        nn.Dropout2d(0.2),
        *_conv(16, 32, 3, 4, padding=1),
        nn.Dropout2d(0.2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        _last(32 * 4 * 4, 4),
    )


def mnist_cnn() -> nn.Sequential:
    """28x28 images: conv 32 of 4x4, pool, dense 1024, 256, 64, 10; 4 bits."""
    return nn.Sequential(
        _pixels(1.0),
        *_conv(1, 32, 4, 4),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *_dense(32 * 12 * 12, 1024, 4),
        nn.Dropout(0.2),
        *_dense(1024, 256, 4),
        *_dense(256, 64, 4),
        _last(64, 4),
    )


def mnist_mlp() -> nn.Sequential:
    """28x28 images: the TFC of BNN-PYNQ, dense 64, 64, 64, 10; 2 bits."""
    return nn.Sequential(
        _pixels(1.0),
        nn.Flatten(),
        *_dense(28 * 28, 64, 2),
        *_dense(64, 64, 2),
        *_dense(64, 64, 2),
        _last(64, 2),
    )


def _pixels(highest: float) -> nn.Module:
    """8-bit quantiser of images with values from 0 to ``highest``."""
    return qnn.QuantIdentity(
        act_quant=Uint8ActPerTensorFloatMaxInit,
        max_val=highest,
        scaling_impl_type=ScalingImplType.CONST,
        return_quant_tensor=True,
    )


def _relu(bits: int) -> nn.Module:
    return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits, return_quant_tensor=True)


def _conv(inputs: int, outputs: int, kernel: int, bits: int, padding: int = 0) -> list[nn.Module]:
    conv = qnn.QuantConv2d(
        inputs,
        outputs,
        kernel,
        padding=padding,
        bias=False,
        weight_quant=Int8WeightPerChannelFloat,
        weight_bit_width=bits,
    )
    return [conv, nn.BatchNorm2d(outputs), _relu(bits)]


def _dense(inputs: int, outputs: int, bits: int) -> list[nn.Module]:
    dense = qnn.QuantLinear(
        inputs,
        outputs,
        bias=False,
        weight_quant=Int8WeightPerChannelFloat,
        weight_bit_width=bits,
    )
    return [dense, nn.BatchNorm1d(outputs), _relu(bits)]


def _last(inputs: int, bits: int) -> nn.Module:
    return qnn.QuantLinear(
        inputs,
        10,
        bias=True,
        weight_quant=Int8WeightPerTensorFloat,
        weight_bit_width=bits,
        bias_quant=Int16Bias,
    )
