"""A graph of blocks as the sequence of layers and pools that the accelerator walks.

The accelerator takes one map and gives one map. Maps that are alive at the same time share one, in
channels of their own: blocks that are ready together become one layer with the rows of all of
them; a map that waits for another is carried through the layers between by rows of one weight of 1
at the kernel's centre, and an add is a layer of 1 x 1 on the maps that it adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from hascodesign.models.graph import INPUT, Block, Graph, Node, pair
from hascodesign.models.layers import CONVOLUTIONS, POOLS

Shape = tuple[int, int, int]  # (channels, height, width) of a map; (features, 1, 1) of a vector


@dataclass(frozen=True, slots=True)
class Held:
    """A map among those alive."""

    block: int  # that gave it
    start: int  # its first channel in the map that all share
    channels: int

    @property
    def span(self) -> slice:
        """Its channels."""
        return slice(self.start, self.start + self.channels)


@dataclass(frozen=True, slots=True)
class State:
    """The map that all share."""

    size: tuple[int, int]  # (height, width)
    held: tuple[Held, ...]
    channels: int  # with those that nobody waits for any more

    def of(self, block: int) -> Held:
        """The map that a block gave."""
        return next(held for held in self.held if held.block == block)


@dataclass(frozen=True, slots=True)
class Stage:
    """One layer, or none, and the pools behind it."""

    layer: int | None  # its index; None where pools alone are done
    blocks: tuple[int, ...]  # whose rows it has
    carried: tuple[int, ...]  # blocks whose maps go through it unchanged
    dense: bool
    before: State
    size: tuple[int, int]  # (height, width) that the layer gives
    stride: tuple[int, int]
    pools: tuple[Node, ...]  # that all maps go through behind it
    after: State


def plan(graph: Graph) -> tuple[Stage, ...]:
    """The stages of a graph, the last one that of the logits.

    Raises
    ------
    ModelError
        Branches that change the size of their maps apart from one another.
    """
    return tuple(_Planner(graph).stages())


@dataclass(frozen=True, slots=True)
class _Kind:
    """What blocks have in common that can be one layer."""

    dense: bool
    last: bool  # its sums are the logits: alone
    layer: bool  # not pools alone
    size: tuple[int, int]  # (height, width) that the layer gives
    stride: tuple[int, int]  # 1 where one position has no next
    pools: tuple[object, ...]  # the geometry of each behind it

    def carries(self, size: tuple[int, int]) -> bool:
        """Whether maps of a size go through unchanged."""
        return self.layer and self.size == size and self.stride == (1, 1) and not self.pools


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model takes on the array beyond its own multiplications."""

    own_macs: int  # multiply-accumulates of the model itself, an image
    branch_rows: int  # rows that carry maps, add them, or average them


def cost(graph: Graph) -> Cost:
    """Of a whole graph; the array's own multiplications are ``IntegerNetwork.macs``."""
    own = sum(_macs(block.start) for block in graph.blocks if block.multiplies)
    rows = 0
    for stage in plan(graph):
        waiting = [place for place in stage.blocks if not graph.blocks[place].multiplies]
        if stage.layer is not None:
            rows += sum(stage.after.of(place).channels for place in (*waiting, *stage.carried))
    return Cost(own, rows)


def _macs(layer: Node) -> int:
    module: Any = layer.module
    positions = math.prod(layer.out_shape[1:])
    return int(module.weight.numel()) * positions


class _Planner:
    def __init__(self, graph: Graph) -> None:
        self._graph, self._blocks = graph, graph.blocks
        self._shape: dict[int, Shape] = {INPUT: _input_shape(graph)}
        for place, block in enumerate(graph.blocks):
            self._check_alike(block)
            self._shape[place] = self._given(block, pooled=True)
        self._todo = [place for place in range(len(graph.blocks)) if graph.root(place) == place]

    def stages(self) -> list[Stage]:
        channels, *size = self._shape[INPUT]
        state = State((size[0], size[1]), (Held(INPUT, 0, channels),), channels)
        found: list[Stage] = []
        layers = sum(borders(node) for node in self._graph.before if isinstance(node.module, POOLS))
        while self._todo:
            stage = self._next(state, layers)
            found.append(stage)
            layers += (stage.layer is not None) + sum(borders(node) for node in stage.pools)
            state = stage.after
            self._todo = [place for place in self._todo if place not in stage.blocks]
        return found

    def _next(self, state: State, layers: int) -> Stage:
        """The first stage that can be done and leaves every map that somebody waits for."""
        alive = {held.block for held in state.held}
        ready = [place for place in self._todo if set(self._takes(place)) <= alive]
        blocked: Block | None = None
        for first in ready:
            group = tuple(place for place in ready if self._kind(place) == self._kind(first))
            rest = [place for place in self._todo if place not in group]
            waited = {taken for place in rest for taken in self._takes(place)}
            carried = tuple(held.block for held in state.held if held.block in waited)
            if not carried or self._kind(first).carries(state.size):
                return self._stage(state, group, carried, layers)
            blocked = blocked or self._blocks[first]
        assert blocked is not None
        raise blocked.start.error(
            "must leave the size of the map as it is while another branch waits: branches share one"
            " map on the accelerator. Change the size in the same step of every branch, by the"
            " stride of their convolutions, or pool where there is one branch only"
        )

    def _stage(
        self, state: State, group: tuple[int, ...], carried: tuple[int, ...], layers: int
    ) -> Stage:
        kind = self._kind(group[0])
        after = self._after(state, group, carried, alone=not kind.layer)
        pools = self._blocks[group[0]].pools
        layer = layers if kind.layer else None
        return Stage(layer, group, carried, kind.dense, state, kind.size, kind.stride, pools, after)

    def _after(
        self, state: State, group: Sequence[int], carried: Sequence[int], *, alone: bool
    ) -> State:
        """The maps that are alive behind a stage."""
        _, height, width = self._shape[group[0]]
        if alone:  # pools keep every channel where it is
            held = tuple(Held(place, *_place(state.of(self._takes(place)[0]))) for place in group)
            return State((height, width), held, state.channels)
        made: list[Held] = []
        total = 0
        for place in (*group, *carried):
            channels = self._shape[place][0]
            made.append(Held(place, total, channels))
            total += channels
        return State((height, width), tuple(made), total)

    def _takes(self, place: int) -> tuple[int, ...]:
        return tuple(self._graph.root(taken) for taken in self._blocks[place].takes)

    def _kind(self, place: int) -> _Kind:
        block = self._blocks[place]
        _, height, width = self._given(block, pooled=False)
        vector = len(block.start.in_shape) == 1 and self._shape[block.takes[0]][1:] == (1, 1)
        last = place == len(self._blocks) - 1
        return _Kind(
            dense=last or vector or (block.multiplies and len(block.start.in_shape) == 1),
            last=last,
            layer=block.makes,
            size=(height, width),
            stride=(_stride(block)[0] if height > 1 else 1, _stride(block)[1] if width > 1 else 1),
            pools=tuple(_geometry(node) for node in block.pools),
        )

    def _given(self, block: Block, *, pooled: bool) -> Shape:
        """Shape of a block's map: of its layer's, or behind its pools."""
        taken = self._shape[block.takes[0]]
        shape = taken
        if block.multiplies or block.averages:
            shape = _map_shape(block.start.out_shape)
        for node in block.pools if pooled else ():
            channels, height, width = node.out_shape
            shape = (channels, height, width)
        return shape

    def _check_alike(self, block: Block) -> None:
        """Vectors that were maps have their elements in another order than others."""
        if block.adds:
            one, other = (self._shape[taken] for taken in block.takes)
            if one != other:
                raise block.start.error(
                    f"must add maps of one shape, not {one} and {other} (channels, height, width):"
                    " flatten behind the add"
                )


def _stride(block: Block) -> tuple[int, int]:
    module: Any = block.start.module
    if isinstance(module, CONVOLUTIONS) or block.averages:
        return window_of(block.start).stride if block.averages else pair(module.stride)
    return 1, 1


def _place(held: Held) -> tuple[int, int]:
    return held.start, held.channels


def _geometry(node: Node) -> tuple[object, ...]:
    window = window_of(node)
    return window, node.out_shape[1:]


@dataclass(frozen=True, slots=True)
class Window:
    """Geometry of a pool."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    divisor: int  # of an average


def reach(pool: Node) -> tuple[int, int]:
    """(height, width) of the map that a pool's windows read, with what they read beyond it."""
    window = window_of(pool)
    _, down, across = pool.out_shape
    return (
        (down - 1) * window.stride[0] + window.kernel[0],
        (across - 1) * window.stride[1] + window.kernel[1],
    )


def borders(pool: Node) -> bool:
    """Whether a maximum reads beyond its map: a layer puts zeros around it."""
    _, height, width = pool.in_shape
    size = reach(pool)
    return window_of(pool).padding != (0, 0) or size[0] > height or size[1] > width


def window_of(pool: Node) -> Window:
    """Geometry of a maximum or an average over windows."""
    module: Any = pool.module
    if isinstance(module, nn.AdaptiveAvgPool2d):
        sizes = list(zip(pool.in_shape[1:], pool.out_shape[1:], strict=True))
        if any(size % out for size, out in sizes):
            raise pool.error(
                f"must have windows of one size, not {pool.out_shape[1:]} of {pool.in_shape[1:]}:"
                " take an output size that divides that of the map"
            )
        stride = (sizes[0][0] // sizes[0][1], sizes[1][0] // sizes[1][1])
        return Window(stride, stride, (0, 0), stride[0] * stride[1])
    kernel = pair(module.kernel_size)
    divisor = getattr(module, "divisor_override", None) or kernel[0] * kernel[1]
    return Window(kernel, pair(module.stride), pair(module.padding), divisor)


def _map_shape(shape: tuple[int, ...]) -> Shape:
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)


def _input_shape(graph: Graph) -> Shape:
    """Of the images' codes, behind the pools on them."""
    nodes = [graph.input, *graph.before]
    shape = _map_shape(min(nodes, key=lambda node: node.position).in_shape)
    for node in sorted(graph.before, key=lambda node: node.position):
        if len(node.out_shape) == 3:
            shape = _map_shape(node.out_shape)
    return shape
