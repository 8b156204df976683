"""The integer graph of a Brevitas model, and the proof that the two are equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.memories import sum_bits
from hascodesign.contract.types import (
    Conv,
    InputQuant,
    IntArray,
    IntegerNetwork,
    MaxPool,
    MultiplyLayer,
    Shift,
    Thresholds,
    frozen,
)
from hascodesign.models import logits, lower, outputs, parts, quantisers
from hascodesign.models.equivalence import compare, require_equal
from hascodesign.models.graph import INPUT, Block, Graph, Node, build
from hascodesign.models.layers import NORMS, POOLS
from hascodesign.models.modules import Elementwise
from hascodesign.models.parts import Part
from hascodesign.models.quantisers import Activation

__all__ = ["accumulator_bits", "compare", "integerise", "require_equal"]


def integerise(
    model: nn.Module, name: str, in_shape: tuple[int, ...], acc_bits: int = 24
) -> IntegerNetwork:
    """Integer graph of a model, equal to Brevitas in float64 code for code.

    Parameters
    ----------
    model : a graph of what ``layers`` names.
    name : name of the network.
    in_shape : of one image as the model takes it: (channels, height, width) or (features,).
    acc_bits : bits of the array's accumulator; thresholds hold for all of its values.

    Raises
    ------
    ModelError
        What the array cannot compute, by the layer's name and position.
    """
    return _Filled(build(model, in_shape), acc_bits).network(name, in_shape)


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


class _Filled:
    """Fills the stages of a plan with integers."""

    def __init__(self, graph: Graph, acc_bits: int) -> None:
        self._graph, self._acc_bits = graph, acc_bits
        self._source = quantisers.activation(graph.input)
        self._acts = {INPUT: self._source}
        self._last = logits.of_last(graph)
        self._layers = 0

    def network(self, name: str, in_shape: tuple[int, ...]) -> IntegerNetwork:
        graph = self._graph
        quant = _input_quant(graph, self._source)
        channels, height, width = in_shape if len(in_shape) == 3 else (in_shape[0], 1, 1)
        stages: list[MultiplyLayer | MaxPool] = []
        for node in graph.before:
            if isinstance(node.module, POOLS):
                stages += self._pool(node, (INPUT,), channels)
        for stage in lower.plan(graph):
            for place in stage.blocks:
                _check_pools(graph.blocks[place])
            if stage.layer is not None:
                stages.append(self._layer(stage))
            else:
                for place in stage.blocks:
                    self._acts[place] = self._acts[graph.root(graph.blocks[place].takes[0])]
            for node in stage.pools:
                alive = tuple(held.block for held in stage.after.held)
                stages += self._pool(node, alive, stage.after.channels)
        shape = (height, width, channels)
        scale = self._last.scale
        return IntegerNetwork(name, quant, shape, tuple(stages), scale, self._acc_bits)

    def _layer(self, stage: lower.Stage) -> MultiplyLayer:
        """One layer of the array."""
        graph = self._graph
        found = [parts.of_block(graph, stage, place, self._acts) for place in stage.blocks]
        found += [parts.carried(stage.before, place, self._acts[place]) for place in stage.carried]
        codes = np.concatenate([part.bias.codes for part in found])
        output: Thresholds | Shift | None = None
        last = graph.blocks[stage.blocks[0]]
        if last is graph.blocks[-1]:
            codes = self._last.bias
        else:
            output = self._output(stage, found, codes)
        for place in stage.blocks:
            if graph.blocks[place].chain:
                self._acts[place] = quantisers.activation(graph.blocks[place].activation)
        layer = replace(self._made(stage, found, last.start), bias=frozen(codes), output=output)
        if output is not None:
            made = self._common(last.start, [held.block for held in stage.after.held])
            layer = replace(layer, out_bits=made.bits, out_signed=made.signed)
        return layer

    def _made(self, stage: lower.Stage, found: Sequence[Part], start: Node) -> MultiplyLayer:
        """The layer's weights and what it takes."""
        source = self._common(start, [held.block for held in stage.before.held])
        height, width = stage.before.size
        words, padding = parts.merged(found, stage)
        conv = None
        if not stage.dense:
            kernel = (words.shape[1], words.shape[2])
            conv = Conv((height, width, stage.before.channels), kernel, stage.stride, padding)
        return self._numbered(words, max(part.weight_bits for part in found), source, conv)

    def _numbered(
        self, words: IntArray, bits: int, source: Activation, conv: Conv | None
    ) -> MultiplyLayer:
        """The next layer, of words [R, ky, kx, channels]; bias and output are still to come."""
        index = self._layers
        self._layers += 1
        return MultiplyLayer(
            name=f"{'conv' if conv else 'dense'}{index}",
            index=index,
            weights=frozen(words.reshape(len(words), -1)),
            bias=frozen(np.zeros(len(words))),
            weight_bits=bits,
            in_bits=source.bits,
            in_signed=source.signed,
            conv=conv,
            output=None,
            out_bits=0,
            out_signed=True,
        )

    def _output(
        self, stage: lower.Stage, found: Sequence[Part], codes: IntArray
    ) -> Thresholds | Shift:
        bits = sum_bits(codes, self._acc_bits)
        made = []
        for place, part in zip((*stage.blocks, *stage.carried), found, strict=True):
            if part.block is None:
                made.append(outputs.unchanged(len(part.words), self._acts[place]))
                continue
            act = quantisers.activation(part.block.activation)
            made.append(outputs.thresholds_of(part, act, bits))
        if len(found) > 1 or found[0].block is None:
            return outputs.joined(made, bits)
        act = quantisers.activation(found[0].block.activation)
        return outputs.shift_of(found[0], act, made[0], bits)

    def _common(self, node: Node, blocks: Sequence[int]) -> Activation:
        """A format that holds the codes of several maps."""
        acts = [self._acts[place] for place in blocks]
        signed = any(act.signed for act in acts)
        bits = max(act.bits + (signed and not act.signed) for act in acts)
        if bits > quantisers.MOST_BITS:
            raise node.error(
                f"must run beside maps whose codes together take {quantisers.MOST_BITS} bits, not"
                f" {bits}: one of the branches is signed, so that unsigned ones need a bit more."
                f" Give them bit_width={quantisers.MOST_BITS - 1} or less, or the signed one a"
                " QuantReLU, and train with it"
            )
        ends = (min(act.low for act in acts), max(act.high for act in acts))
        return Activation(acts[0].scale, bits, signed, *ends)

    def _pool(
        self, node: Node, alive: Sequence[int], channels: int
    ) -> Iterator[MultiplyLayer | MaxPool]:
        """A maximum over windows; where it reads beyond the map, behind a layer of zeros around."""
        window = lower.window_of(node)
        _, height, width = node.in_shape
        if lower.borders(node):
            act = self._common(node, alive)
            if act.low < 0:
                raise node.error(
                    "must have padding 0 and no ceil_mode behind codes that may be negative, not"
                    f" padding {window.padding}: around the map stand zeros. Put a QuantReLU before"
                    " it, or leave the padding out, and train so"
                )
            size = lower.reach(node)
            yield self._bordered(act, (height, width, channels), window.padding, size)
            height, width = size
        yield MaxPool(window.kernel, window.stride, (height, width, channels))

    def _bordered(
        self,
        act: Activation,
        shape: tuple[int, int, int],
        first: tuple[int, int],
        size: tuple[int, int],
    ) -> MultiplyLayer:
        """A layer that changes no code and puts zeros around the map."""
        part = parts.identity(shape[2], slice(0, shape[2]), act, first)
        words, padding = parts.fitted([part], shape[:2], size, (1, 1))
        conv = Conv(shape, (words.shape[1], words.shape[2]), (1, 1), padding)
        return replace(
            self._numbered(words, part.weight_bits, act, conv),
            output=outputs.unchanged(len(words), act),
            out_bits=act.bits,
            out_signed=act.signed,
        )


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
