"""The integer graph of a Brevitas model, and the proof that the two are equal."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from hascodesign.contract import arithmetic
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
from hascodesign.models.graph import Block, Graph, Node, build, pair, pool_stage
from hascodesign.models.layers import CONVOLUTIONS, MEANS, MULTIPLY, NORMS, POOLS, Elementwise
from hascodesign.models.outputs import output_of
from hascodesign.models.quantisers import Activation

__all__ = ["accumulator_bits", "compare", "integerise", "require_equal"]


def integerise(
    model: nn.Module, name: str, in_shape: tuple[int, ...], acc_bits: int = 24
) -> IntegerNetwork:
    """Integer graph of a model, equal to Brevitas in float64 code for code.

    Parameters
    ----------
    model : a sequence of what ``layers`` names, in the order in which it runs.
    name : name of the network.
    in_shape : of one image as the model takes it: (channels, height, width) or (features,).
    acc_bits : bits of the array's accumulator; thresholds hold for all of its values.

    Raises
    ------
    ModelError
        What the array cannot compute, by the layer's name and position.
    """
    graph = build(model, in_shape)
    source = quantisers.activation(graph.input)
    quant = _input_quant(graph, source)
    channels, height, width = in_shape if len(in_shape) == 3 else (in_shape[0], 1, 1)
    stages: list[MultiplyLayer | MaxPool] = _pools(graph.before)
    act, unit = source, 1.0
    for index, block in enumerate(graph.blocks):
        _check_pools(block)
        layer, act, unit = _layer(graph, index, block, act, acc_bits)
        stages += [layer, *_pools((*block.chain, *block.after))]
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
    node, pool = block.multiply, graph.blocks[index - 1].mean if index else None
    weights = quantisers.weights(node)
    bias = quantisers.bias(node, weights, source, pool)
    unit = quantisers.unit_of(weights, source, pool)
    act = source
    output = None
    codes = bias.codes
    if block.chain:
        act = quantisers.activation(block.activation)
        output = output_of(block, unit, bias, act, acc_bits)
    else:
        if (unit != unit[0]).any():
            raise node.error(
                "must, as the last layer, have one weight scale for all rows: give it"
                " weight_quant=Int8WeightPerTensorFloat"
            )
        codes = quantisers.rounded(bias, unit)
    conv = _conv(node) if isinstance(node.module, CONVOLUTIONS) else None
    matrix = (
        _conv_matrix(node, weights.codes) if conv else _dense_matrix(graph, node, weights.codes)
    )
    if conv and not block.chain:
        matrix, conv = _conv_as_dense(conv, matrix), None
    if pool is not None:
        matrix = _averaging(pool, matrix)
    layer = MultiplyLayer(
        name=f"{'conv' if conv else 'dense'}{index}",
        index=index,
        weights=frozen(matrix),
        bias=frozen(codes),
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
    """Geometry on the array; of a dilated kernel that of one with zeros in between."""
    module: Any = node.module
    if module.padding_mode != "zeros":
        raise node.error(
            f"must pad with zeros, not by {module.padding_mode!r}: write padding_mode='zeros' and"
            " train with it"
        )
    if module.is_same_padded_strided:
        raise node.error(
            "must pad alike on both sides, not as 'same' does with a stride: write"
            f" padding={tuple(k // 2 for k in pair(module.kernel_size))} and train with it"
        )
    (ky, kx), (dy, dx) = pair(module.kernel_size), pair(module.dilation)
    kernel = ((ky - 1) * dy + 1, (kx - 1) * dx + 1)
    padding: Any = module.padding
    if padding == "same" and kernel[0] % 2 and kernel[1] % 2:
        padding = (kernel[0] // 2, kernel[1] // 2)
    elif padding == "valid":
        padding = (0, 0)
    elif isinstance(padding, str):
        odd = tuple(k + 1 - k % 2 for k in kernel)
        raise node.error(
            f"must have an odd kernel for padding 'same', not {kernel}: write kernel_size={odd},"
            " which computes the same with 0 in the row or column added in front"
        )
    channels, height, width = node.in_shape
    return Conv((height, width, channels), kernel, pair(module.stride), pair(padding))


def _conv_matrix(node: Node, codes: IntArray) -> IntArray:
    """[out, in / groups, ky, kx] -> [R, K] with K running (ky, kx, channel).

    The array has no groups and no dilation: words that are not there are zeros.
    """
    module: Any = node.module
    rows, each, ky, kx = codes.shape
    (dy, dx), groups = pair(module.dilation), module.groups
    whole = np.zeros((rows, each * groups, (ky - 1) * dy + 1, (kx - 1) * dx + 1), dtype=np.int64)
    for group in range(groups):
        mine = slice(group * (rows // groups), (group + 1) * (rows // groups))
        whole[mine, group * each : (group + 1) * each, ::dy, ::dx] = codes[mine]
    return whole.transpose(0, 2, 3, 1).reshape(rows, -1)


def _conv_as_dense(conv: Conv, matrix: IntArray) -> IntArray:
    """[R, K] of a convolution with one output position as that of a dense layer on its map."""
    height, width, channels = conv.in_shape
    (ky, kx), (py, px) = conv.kernel, conv.padding
    words = matrix.reshape(-1, ky, kx, channels)
    whole = np.zeros((len(matrix), ky + height, kx + width, channels), dtype=np.int64)
    whole[:, :ky, :kx] = words
    return whole[:, py : py + height, px : px + width].reshape(len(matrix), -1)


def _dense_matrix(graph: Graph, node: Node, codes: IntArray) -> IntArray:
    """[out, in] -> [R, K]; behind a feature map from (channel, y, x) to (y, x, channel)."""
    if len(node.in_shape) != 1:
        raise node.error("must take a flat vector; put nn.Flatten before it")
    for earlier in reversed(graph.nodes[: node.position]):
        if len(earlier.out_shape) == 3:
            shape = earlier.out_shape
            break
        if isinstance(earlier.module, (*MULTIPLY, *MEANS)):
            return codes  # one value a channel
        if len(earlier.in_shape) == 3:
            shape = earlier.in_shape
            break
    else:
        return codes
    return codes.reshape(-1, *shape).transpose(0, 2, 3, 1).reshape(len(codes), -1)


def _averaging(pool: Node, matrix: IntArray) -> IntArray:
    """[R, K] on averages of windows as [R, K] on what is averaged; the unit takes the divisor."""
    channels, height, width = pool.in_shape
    module: Any = pool.module
    (ky, kx), (sy, sx) = pair(module.kernel_size), pair(module.stride)
    rows, down = len(matrix), (height - ky) // sy + 1
    words = matrix.reshape(rows, down, -1, channels)
    whole = np.zeros((rows, height, width, channels), dtype=np.int64)
    for y in range(words.shape[1]):
        for x in range(words.shape[2]):
            whole[:, y * sy : y * sy + ky, x * sx : x * sx + kx] += words[:, y, x, None, None]
    return whole.reshape(rows, -1)


def _pools(nodes: tuple[Node, ...]) -> list[MultiplyLayer | MaxPool]:
    return [pool_stage(node) for node in nodes if isinstance(node.module, POOLS)]


def _check_pools(block: Block) -> None:
    """A pool before the activation moves behind it: right where the code rises with v."""
    pools = [node for node in block.chain if isinstance(node.module, POOLS)]
    if not pools:
        return
    for node in block.chain:
        module = node.module
        if node.position < pools[0].position:
            continue
        if isinstance(module, Elementwise) and module.gain < 0:
            raise node.error(f"must have a positive factor behind {pools[0]}, not {module.gain}")
        if isinstance(module, NORMS) and module.affine and bool((module.weight < 0).any()):
            row = int(torch.argmin(module.weight))
            gamma = float(module.weight[row])
            raise node.error(
                f"must have no negative gamma behind {pools[0]}, not {gamma:.3g} in channel {row}:"
                f" the maximum would turn into a minimum; put {pools[0]} behind the activation and"
                " train so"
            )


def _input_quant(graph: Graph, source: Activation) -> InputQuant:
    """The images' quantiser: one that rounds half to even, or one that tells signs apart."""
    node, gain, offset = graph.input, 1.0, 0.0
    for one in graph.before:
        if isinstance(one.module, Elementwise):
            gain, offset = one.module.gain * gain, one.module.gain * offset + one.module.offset
    halves = np.arange(2 * source.low - 3, 2 * source.high + 4) / 2
    real = halves * source.scale
    value = quantisers.asked(node, torch.from_numpy(real)).value
    found = np.rint(value.numpy() / source.scale)
    plain = InputQuant(source.scale, source.bits, source.signed, source.low, source.high)
    for binary in (False, True):
        quant = replace(plain, binary=binary)
        if np.array_equal(found, arithmetic.quantise(real[:, None], quant).reshape(-1)):
            return replace(quant, gain=gain, offset=offset)
    raise node.error(
        "must round half to even, or tell signs apart, not otherwise: leave float_to_int_impl_type"
        " out, which is FloatToIntImplType.ROUND"
    )
