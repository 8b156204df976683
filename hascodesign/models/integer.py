"""The integer graph of a Brevitas model, and the proof that the two are equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from brevitas.nn import QuantConv2d
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import (
    Conv,
    InputQuant,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    frozen,
)
from hascodesign.models import quantisers
from hascodesign.models.equivalence import compare, require_equal
from hascodesign.models.graph import (
    NORMS,
    POOLS,
    Block,
    Graph,
    Node,
    build,
    pair,
    pool_stage,
    quiet,
)
from hascodesign.models.outputs import output_of
from hascodesign.models.quantisers import Activation

__all__ = ["accumulator_bits", "compare", "integerise", "require_equal"]


def integerise(
    model: nn.Module, name: str, in_shape: tuple[int, int, int], acc_bits: int = 24
) -> IntegerNetwork:
    """Integer graph of a model, equal to Brevitas in float64 code for code.

    Parameters
    ----------
    model : layers in sequence: QuantIdentity on the images, then QuantConv2d, QuantLinear,
        BatchNorm1d/2d, QuantReLU, QuantIdentity, MaxPool2d, Flatten, Dropout.
    name : name of the network.
    in_shape : (channels, height, width) of one image.
    acc_bits : bits of the array's accumulator; thresholds hold for all of its values.

    Raises
    ------
    ModelError
        What the array cannot compute, by the layer's name and position.
    """
    graph = build(model, in_shape)
    source = quantisers.activation(graph.input)
    _check_rounding(graph.input, source)
    channels, height, width = in_shape
    stages: list[MultiplyLayer | MaxPool] = _pools(graph.before)
    act, unit = source, 1.0
    for index, block in enumerate(graph.blocks):
        _check_pools(block)
        layer, act, unit = _layer(graph, index, block, act, acc_bits)
        stages += [layer, *_pools((*block.chain, *block.after))]
    quant = InputQuant(source.scale, source.bits, source.signed, source.low, source.high)
    return IntegerNetwork(name, quant, (height, width, channels), tuple(stages), unit)


def accumulator_bits(network: IntegerNetwork) -> tuple[int, ...]:
    """Bits per layer in which no accumulator of a healthy array can wrap, whatever the input."""
    widths = []
    for layer in network.layers:
        low = -(1 << (layer.in_bits - 1)) if layer.in_signed else 0
        high = (1 << (layer.in_bits - layer.in_signed)) - 1
        up, down = np.maximum(layer.weights, 0), np.minimum(layer.weights, 0)
        most = int((up * high + down * low).sum(axis=1).max())
        least = int((up * low + down * high).sum(axis=1).min())
        widths.append(quantisers.bits_of(min(least, 0), max(most, 0)))
    return tuple(widths)


def _layer(
    graph: Graph, index: int, block: Block, source: Activation, acc_bits: int
) -> tuple[MultiplyLayer, Activation, float]:
    node = block.multiply
    weights = quantisers.weights(node)
    bias = quantisers.bias(node, weights, source)
    unit = source.scale * weights.scale
    act = source
    output = None
    if block.chain:
        act = quantisers.activation(block.activation)
        output = output_of(block, unit, bias, act, acc_bits)
    else:
        if bias.real is not None:
            raise node.error(
                "must, as the last layer, have a bias in units of s_in*s_w, or none: give it"
                " bias_quant=Int32Bias and the activation before it return_quant_tensor=True, or"
                " bias=False"
            )
        if (unit != unit[0]).any():
            raise node.error(
                "must, as the last layer, have one weight scale for all rows: give it"
                " weight_quant=Int8WeightPerTensorFloat"
            )
    conv = _conv(node) if isinstance(node.module, QuantConv2d) else None
    matrix = _conv_matrix(weights.codes) if conv else _dense_matrix(graph, node, weights.codes)
    layer = MultiplyLayer(
        name=f"{'conv' if conv else 'dense'}{index}",
        index=index,
        weights=frozen(matrix),
        bias=frozen(bias.codes),
        weight_bits=weights.bits,
        in_bits=source.bits,
        in_signed=source.signed,
        conv=conv,
        output=output,
        out_bits=act.bits if block.chain else 0,
        out_signed=act.signed if block.chain else True,
    )
    return layer, act, float(unit[0])


def _conv(node: Node) -> Conv:
    module: Any = node.module
    if module.groups != 1 or pair(module.dilation) != (1, 1):
        raise node.error(
            f"must have groups 1 and dilation 1, not groups {module.groups}"
            f" and dilation {module.dilation}"
        )
    if module.padding_mode != "zeros" or module.is_same_padded_strided:
        raise node.error("must pad with zeros, alike on both sides")
    kernel = pair(module.kernel_size)
    padding: Any = module.padding
    if padding == "same" and kernel[0] % 2 and kernel[1] % 2:
        padding = (kernel[0] // 2, kernel[1] // 2)
    elif padding == "valid":
        padding = (0, 0)
    elif isinstance(padding, str):
        raise node.error(f"must have an odd kernel for padding 'same', not {kernel}")
    channels, height, width = node.in_shape
    return Conv((height, width, channels), kernel, pair(module.stride), pair(padding))


def _conv_matrix(codes: IntArray) -> IntArray:
    """[out, in, ky, kx] -> [R, K] with K running (ky, kx, channel)."""
    return codes.transpose(0, 2, 3, 1).reshape(len(codes), -1)


def _dense_matrix(graph: Graph, node: Node, codes: IntArray) -> IntArray:
    """[out, in] -> [R, K]; behind a feature map from (channel, y, x) to (y, x, channel)."""
    if len(node.in_shape) != 1:
        raise node.error("must take a flat vector; put nn.Flatten before it")
    shape: tuple[int, ...] = node.in_shape
    for earlier in reversed(graph.nodes[: node.position]):
        shape = earlier.in_shape
        if len(shape) == 3 or isinstance(earlier.module, nn.Linear):
            break
    if len(shape) != 3:
        return codes
    return codes.reshape(-1, *shape).transpose(0, 2, 3, 1).reshape(len(codes), -1)


def _pools(nodes: tuple[Node, ...]) -> list[MultiplyLayer | MaxPool]:
    return [pool_stage(node) for node in nodes if isinstance(node.module, POOLS)]


def _check_pools(block: Block) -> None:
    """A pool before the activation moves behind it: right where the code rises with v."""
    pools = [node for node in block.chain if isinstance(node.module, POOLS)]
    if not pools:
        return
    for node in block.chain:
        module = node.module
        if not isinstance(module, NORMS) or node.position < pools[0].position:
            continue
        if module.affine and bool((module.weight < 0).any()):
            row = int(torch.argmin(module.weight))
            gamma = float(module.weight[row])
            raise node.error(
                f"must have no negative gamma behind {pools[0]}, not {gamma:.3g} in channel {row}:"
                " the maximum would turn into a minimum"
            )


def _check_rounding(node: Node, source: Activation) -> None:
    """The images' quantiser must round half to even, as the integer graph does."""
    halves = np.arange(2 * source.low - 3, 2 * source.high + 4) / 2
    real = halves * source.scale
    with quiet(), torch.no_grad():
        out: Any = node.module(torch.from_numpy(real))
    quant = InputQuant(source.scale, source.bits, source.signed, source.low, source.high)
    expected = arithmetic.quantise(real[:, None, None, None], quant).reshape(-1)
    value = out.value if hasattr(out, "value") else out
    if not bool((value == 0).any()):
        raise node.error(
            "must have 0 among its codes, not -1 and +1 alone as a binary quantiser: give the"
            " images an 8-bit one, such as Int8ActPerTensorFloat"
        )
    if not np.array_equal(np.rint(value.numpy() / source.scale), expected):
        raise ModelError(f"{node} must round half to even, not otherwise")
