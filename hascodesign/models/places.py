"""Where the codes of a model's blocks stand in its integer graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hascodesign.contract import arithmetic
from hascodesign.contract.array import wrap
from hascodesign.contract.types import IntArray, IntegerNetwork, MaxPool, MultiplyLayer
from hascodesign.models.graph import Block, Graph, Node
from hascodesign.models.layers import POOLS
from hascodesign.models.lower import Stage, plan, reach, window_of


@dataclass(frozen=True, slots=True)
class Shown:
    """Where the codes of a block, or the logits, stand in the integer graph."""

    block: Block
    place: int  # of the block
    stage: Stage
    layer: int
    span: slice  # rows of that layer
    alone: bool  # whether no other block's stand there


def shown_in(graph: Graph) -> list[Shown]:
    """Of every block that quantises, and the last one, in their order."""
    found = {}
    for stage in plan(graph):
        if stage.layer is None:
            continue
        for place in stage.blocks:
            span = stage.after.of(place).span
            alone = len(stage.blocks) == 1
            found[place] = Shown(graph.blocks[place], place, stage, stage.layer, span, alone)
    return [found[place] for place in sorted(found)]


def names_of(network: IntegerNetwork, shown: Sequence[Shown]) -> list[str]:
    """Of the layers; where several blocks share one, with the path of each one's quantiser."""
    return [
        network.layers[one.layer].name + ("" if one.alone else f":{one.block.activation.path}")
        for one in shown
    ]


def walk(
    network: IntegerNetwork, codes: IntArray, acc_bits: int | None
) -> Iterator[arithmetic.LayerTrace]:
    """Run an integer network on a healthy array."""

    def accumulate(layer: MultiplyLayer, activations: IntArray) -> IntArray:
        # integers below 2^53 are exact in float64, where the product is fast
        product = layer.weights.astype(np.float64) @ activations.astype(np.float64)
        acc = product.astype(np.int64)
        return acc if acc_bits is None else wrap(acc, acc_bits)

    return arithmetic.walk(network, codes, accumulate)


def integers(
    graph: Graph,
    network: IntegerNetwork,
    shown: Sequence[Shown],
    images: Any,
    acc_bits: int | None,
) -> list[IntArray]:
    """Codes of every activation, and the logits, as the model holds them: :mod:`source`'s."""
    codes = arithmetic.quantise(images, network.input)
    maps = [
        arithmetic.maps_of(trace.layer, trace.codes) for trace in walk(network, codes, acc_bits)
    ]
    found = [codes, *(as_caught(one.block, maps[one.layer][..., one.span]) for one in shown)]
    if len(graph.input.in_shape) == 1:
        found[0] = np.moveaxis(codes, -1, 1).reshape(len(codes), -1)
    return found


def as_caught(block: Block, maps: IntArray, around: int = 0) -> IntArray:
    """Codes as Brevitas holds them at the activation: behind the pools that stand before it.

    Around a map that is padded stands ``around``: of codes 0, as none is negative where it matters.
    """
    for node in block.chain:
        if isinstance(node.module, POOLS):
            maps = _pooled(node, maps, around)
    flat = len((block.chain[-1] if block.chain else block.start).out_shape) == 1
    return np.moveaxis(maps, -1, 1).reshape(len(maps), -1) if flat and maps.ndim == 4 else maps


def _pooled(node: Node, maps: IntArray, outside: int) -> IntArray:
    """A maximum over windows."""
    window = window_of(node)
    py, px = window.padding
    height, width = reach(node)
    around = np.full((len(maps), height, width, maps.shape[3]), outside, dtype=maps.dtype)
    seen = maps[:, : height - py, : width - px]
    around[:, py : py + seen.shape[1], px : px + seen.shape[2]] = seen
    return arithmetic.max_pool(MaxPool(window.kernel, window.stride, around.shape[1:]), around)
