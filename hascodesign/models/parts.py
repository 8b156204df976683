"""The rows that one block, or one map that waits, has in a layer, and several of them as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from hascodesign.contract.types import FloatArray, IntArray
from hascodesign.models import quantisers
from hascodesign.models.graph import Block, Graph, Node, pair
from hascodesign.models.layers import CONVOLUTIONS
from hascodesign.models.lower import Stage, State, window_of
from hascodesign.models.quantisers import Activation, Bias

MOST_WORD = 127  # of the weights of an add


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one layer, on the map that all share."""

    block: Block | None  # what they compute; None: a map that is carried
    words: IntArray  # [R, ky, kx, channels of the shared map]
    first: tuple[int, int]  # rows and columns of zeros above and left of the map
    bias: Bias
    exact: tuple[Fraction, ...]  # [R] real value of one unit of the accumulator
    weight_bits: int

    @property
    def unit(self) -> FloatArray:
        """[R] real value of one unit of the accumulator, rounded once."""
        return np.array([float(one) for one in self.exact])


def of_block(graph: Graph, stage: Stage, place: int, acts: Mapping[int, Activation]) -> Part:
    """Rows of a block.

    Parameters
    ----------
    graph : all blocks.
    stage : the layer that it is in.
    place : of the block.
    acts : formats of the codes of the blocks before it.
    """
    block = graph.blocks[place]
    if block.adds:
        return _sum(graph, stage.before, block, acts)
    root = graph.root(block.takes[0])
    source, held = acts[root], stage.before.of(root)
    if block.multiplies:
        return _weights(graph, stage, block, source)
    if block.averages:
        window = window_of(block.start)
        part = identity(stage.before.channels, held.span, source, window.padding)
        words = np.broadcast_to(
            part.words, (len(part.words), *window.kernel, stage.before.channels)
        )
        units = tuple(one / window.divisor for one in part.exact)
        return Part(block, words, window.padding, part.bias, units, part.weight_bits)
    return replace(identity(stage.before.channels, held.span, source), block=block)


def carried(before: State, place: int, act: Activation) -> Part:
    """Rows of a map that goes through unchanged."""
    return identity(before.channels, before.of(place).span, act)


def identity(channels: int, span: slice, act: Activation, first: tuple[int, int] = (0, 0)) -> Part:
    """Rows of one weight of 1, on some of ``channels``."""
    words = np.eye(channels, dtype=np.int64)[span, None, None]
    none = Bias(np.zeros(len(words), dtype=np.int64), None)
    return Part(None, words, first, none, (quantisers.exact(act.scale),) * len(words), 2)


# ------------------------------------------------------------------------------------- the layer


def merged(found: Sequence[Part], stage: Stage) -> tuple[IntArray, tuple[int, int]]:
    """Words [R, ky, kx, channels] of all parts, and the padding of the layer."""
    if stage.dense:
        return np.concatenate([part.words for part in found]), (0, 0)
    return fitted(found, stage.before.size, stage.size, stage.stride)


def fitted(
    found: Sequence[Part], size: tuple[int, int], out: tuple[int, int], stride: tuple[int, int]
) -> tuple[IntArray, tuple[int, int]]:
    """Kernels of several sizes and paddings as those of one, zeros around each.

    Parameters
    ----------
    found : their words and paddings.
    size, out : (height, width) of the map and of what the layer gives.
    stride : of the layer.

    Returns
    -------
    Words [R, ky, kx, channels], and the padding, the same on both sides.
    """
    axes = [
        _axis([(p.first[a], p.words.shape[1 + a]) for p in found], size[a], out[a], stride[a])
        for a in (0, 1)
    ]
    (ky, py), (kx, px) = axes
    whole = []
    for part in found:
        _, height, width, channels = part.words.shape
        y, x = py - part.first[0], px - part.first[1]
        words = np.zeros((len(part.words), ky, kx, channels), dtype=np.int64)
        words[:, y : y + height, x : x + width] = part.words
        whole.append(words)
    return np.concatenate(whole), (py, px)


def _axis(kernels: Sequence[tuple[int, int]], size: int, out: int, stride: int) -> tuple[int, int]:
    """(kernel, padding) of which a layer gives ``out`` positions and holds all (padding, kernel)s.

    Beyond the last row of a kernel stand zeros: it may be as long as the map with its padding asks.
    """
    padding = max(first for first, _ in kernels)
    length = max(padding - first + kernel for first, kernel in kernels)
    least, most = (out - 1) * stride, out * stride - 1  # of size + 2 padding - kernel
    while size + 2 * padding - length < least:
        padding, length = padding + 1, length + 1
    while size + 2 * padding - length > most:
        length += 1
    return length, padding


# ------------------------------------------------------------------------------------- of blocks


def _weights(graph: Graph, stage: Stage, block: Block, source: Activation) -> Part:
    """Rows of a layer with weights."""
    node, mean = block.start, graph.mean(block.takes[0])
    held, (height, width) = stage.before.of(graph.root(block.takes[0])), stage.before.size
    divisor = 1 if mean is None else window_of(mean).divisor
    given = quantisers.weights(node)
    bias = quantisers.bias(node, given, source, divisor)
    first = (0, 0)
    if isinstance(node.module, CONVOLUTIONS):
        first = _padding(node)
        words = _kernels(node, given.codes)
        if stage.dense:
            words, first = _on_map(words, first, (height, width)), (0, 0)
    else:
        words = _on_vector(node, mean, given.codes, (held.channels, height, width))
    whole = np.zeros((*words.shape[:3], stage.before.channels), dtype=np.int64)
    whole[..., held.span] = words
    scale = quantisers.exact(source.scale) / divisor
    units = tuple(scale * quantisers.exact(float(one)) for one in given.scale)
    # windows of an average that overlap add up in the words
    bits = max(given.bits, quantisers.bits_of(int(whole.min()), int(whole.max())))
    return Part(block, whole, first, bias, units, bits)


def _padding(node: Node) -> tuple[int, int]:
    """Rows and columns of zeros that a convolution puts above and left of the map."""
    module: Any = node.module
    if module.padding_mode != "zeros":
        raise node.error(
            f"must pad with zeros, not by {module.padding_mode!r}: write padding_mode='zeros' and"
            " train with it"
        )
    kernel = [(k - 1) * d + 1 for k, d in zip(*_of(module, "kernel_size", "dilation"), strict=True)]
    stride = pair(module.stride)
    if module.is_same_padded_strided or module.padding == "same":
        needed = [
            max((out - 1) * s + k - size, 0)
            for out, s, k, size in zip(
                node.out_shape[1:], stride, kernel, node.in_shape[1:], strict=True
            )
        ]
        return needed[0] // 2, needed[1] // 2
    return (0, 0) if module.padding == "valid" else pair(module.padding, 0)


def _of(module: Any, *names: str) -> list[tuple[int, int]]:
    return [pair(getattr(module, name)) for name in names]


def _kernels(node: Node, codes: IntArray) -> IntArray:
    """[out, in / groups, ky, kx] -> [R, ky, kx, channels].

    The array has no groups and no dilation: words that are not there are zeros.
    """
    module: Any = node.module
    codes = codes if codes.ndim == 4 else codes[:, :, None]  # of one axis
    rows, each, ky, kx = codes.shape
    (dy, dx), groups = pair(module.dilation), module.groups
    whole = np.zeros((rows, each * groups, (ky - 1) * dy + 1, (kx - 1) * dx + 1), dtype=np.int64)
    for group in range(groups):
        mine = slice(group * (rows // groups), (group + 1) * (rows // groups))
        whole[mine, group * each : (group + 1) * each, ::dy, ::dx] = codes[mine]
    return whole.transpose(0, 2, 3, 1)


def _on_map(words: IntArray, first: tuple[int, int], size: tuple[int, int]) -> IntArray:
    """Kernels of a convolution with one position as words on its whole map."""
    rows, ky, kx, channels = words.shape
    (height, width), (py, px) = size, first
    whole = np.zeros((rows, ky + height, kx + width, channels), dtype=np.int64)
    whole[:, :ky, :kx] = words
    return whole[:, py : py + height, px : px + width]


def _on_vector(
    node: Node, mean: Node | None, codes: IntArray, shape: tuple[int, int, int]
) -> IntArray:
    """[out, in] of a dense layer as words [R, height, width, channels] on the map before it."""
    if len(node.in_shape) != 1:
        raise node.error("must take a flat vector; put nn.Flatten before it")
    seen = shape if mean is None else (*mean.out_shape, 1, 1)[:3]
    words = codes.reshape(-1, *seen).transpose(0, 2, 3, 1)
    if mean is None:
        return words
    window, (channels, height, width) = window_of(mean), shape
    (ky, kx), (sy, sx), (py, px) = window.kernel, window.stride, window.padding
    whole = np.zeros((len(codes), height + 2 * py, width + 2 * px, channels), dtype=np.int64)
    for y in range(words.shape[1]):
        for x in range(words.shape[2]):
            whole[:, y * sy : y * sy + ky, x * sx : x * sx + kx] += words[:, y, x, None, None]
    return whole[:, py : py + height, px : px + width]


def _sum(graph: Graph, before: State, block: Block, acts: Mapping[int, Activation]) -> Part:
    """Rows of an add: each map's scale is a whole number of the sum's units."""
    module: Any = block.start.module
    one, other = (graph.root(taken) for taken in block.takes)
    scale = quantisers.exact(acts[one].scale)
    ratio = scale / quantisers.exact(acts[other].scale)
    factors = [ratio.numerator, ratio.denominator]
    if max(factors) > MOST_WORD:
        raise block.start.error(
            f"must add maps whose scales are in a ratio of small whole numbers, not"
            f" {acts[one].scale!r} and {acts[other].scale!r}: put one quantiser, the same module,"
            " behind both branches (Brevitas's own networks do so), or qnn.QuantEltwiseAdd in place"
            " of the add, and train with it"
        )
    unit = scale / factors[0]
    if getattr(module, "minus", False):
        factors[1] = -factors[1]
    words = sum(
        factor * identity(before.channels, before.of(root).span, acts[root]).words
        for factor, root in zip(factors, (one, other), strict=True)
    )
    rows = before.of(one).channels
    none = Bias(np.zeros(rows, dtype=np.int64), None)
    bits = quantisers.bits_of(int(np.min(words)), int(np.max(words)))
    return Part(block, np.asarray(words), (0, 0), none, (unit,) * rows, max(bits, 2))
