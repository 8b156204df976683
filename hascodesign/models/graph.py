"""A Brevitas model as a graph of blocks: what gives one map of codes each, up to the logits."""

from __future__ import annotations

import copy
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hascodesign.contract.errors import ModelError
from hascodesign.models import rules
from hascodesign.models.instead import instead_of
from hascodesign.models.layers import (
    ACTING,
    ADDS,
    DROPOUTS,
    FLAT,
    MEANS,
    MULTIPLY,
    NAMED,
    POOLS,
    SUPPORTED,
    as_built,
    quantises,
    truncates,
)
from hascodesign.models.trace import Node, steps, value_of
from hascodesign.models.user_code import running

__all__ = ["INPUT", "Block", "Graph", "Node", "build", "pair", "quiet", "value_of"]

INPUT = -1  # place of the images' codes among the blocks


@dataclass(frozen=True, slots=True)
class Block:
    """What gives one map of codes: a layer, an add, an average or a copy, and what follows it."""

    start: Node  # the layer, add or average; of a copy the first of what changes it
    takes: tuple[int, ...]  # blocks whose codes it takes, INPUT among them
    chain: tuple[Node, ...]  # up to and with the last quantiser; empty for the last layer
    after: tuple[Node, ...]  # pooling, flattening and dropout behind it

    @property
    def multiplies(self) -> bool:
        """Whether it is a layer with weights."""
        return isinstance(self.start.module, MULTIPLY)

    @property
    def adds(self) -> bool:
        """Whether it is a sum of maps."""
        return isinstance(self.start.module, ADDS)

    @property
    def averages(self) -> bool:
        """Whether it is an average over windows that a quantiser follows."""
        return isinstance(self.start.module, MEANS) or truncates(self.start.module)

    @property
    def makes(self) -> bool:
        """Whether it gives codes of its own: all but copies that no quantiser follows."""
        return self.multiplies or self.adds or self.averages or bool(self.chain)

    @property
    def activation(self) -> Node:
        """The quantiser whose codes the next layer takes."""
        return self.chain[-1]

    @property
    def acting(self) -> tuple[Node, ...]:
        """What acts on real numbers between the sums and the codes."""
        return tuple(
            node
            for node in self.chain
            if isinstance(node.module, ACTING) or quantises(node.module) or truncates(node.module)
        )

    @property
    def mean(self) -> Node | None:
        """The average pooling between these codes and the next layer, a QuantLinear."""
        return next((node for node in self.after if isinstance(node.module, MEANS)), None)

    @property
    def pools(self) -> tuple[Node, ...]:
        """Maxima over windows: behind the codes, or before them where they may move behind."""
        nodes = (*self.chain, *self.after)
        return tuple(node for node in nodes if isinstance(node.module, POOLS))


@dataclass(frozen=True, slots=True)
class Graph:
    """All blocks in the order in which they run, the last one that of the logits."""

    model: nn.Module  # copy in float64, evaluation mode
    input: Node  # the quantiser of the images
    before: tuple[Node, ...]  # what else stands on the images before anything takes their codes
    blocks: tuple[Block, ...]

    @property
    def classes(self) -> int:
        """Logits."""
        return int(self.blocks[-1].start.out_shape[0])

    def root(self, place: int) -> int:
        """The block that gave a map, of one that is another name for it."""
        while place != INPUT and not (self.blocks[place].makes or self.blocks[place].pools):
            (place,) = self.blocks[place].takes
        return place

    def mean(self, place: int) -> Node | None:
        """The average over windows that is the last between codes and the layer that takes them."""
        return None if place == INPUT else self.blocks[place].mean

    def quantiser(self, place: int) -> Node:
        """The quantiser that gave a block's codes."""
        while place != INPUT and not self.blocks[place].chain:
            (place,) = self.blocks[place].takes
        return self.input if place == INPUT else self.blocks[place].activation


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of torch and brevitas that a user can do nothing about."""
    with warnings.catch_warnings():
        for category in (UserWarning, DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category)
        yield


def build(model: nn.Module, in_shape: tuple[int, ...]) -> Graph:
    """Graph of what a model does.

    Parameters
    ----------
    model : the Brevitas model; it is copied.
    in_shape : of one image as the model takes it: (channels, height, width) or (features,).

    Raises
    ------
    ModelError
        A step that is not supported, or one where it cannot stand.
    """
    double = _double(model)
    return _Blocks(double, steps(double, in_shape, _check_supported)).graph()


def has_input_quantiser(model: nn.Module, in_shape: tuple[int, ...]) -> bool:
    """Whether a quantiser stands before the first layer that multiplies."""
    for node in steps(_double(model), in_shape):
        if quantises(node.module):
            return True
        if isinstance(node.module, MULTIPLY):
            return False
    return False


def _double(model: nn.Module) -> nn.Module:
    with running("model must be one that can be copied and evaluated in float64"):
        double = copy.deepcopy(model).double().eval().requires_grad_(False)
        _check_finite(double)
    return double


def _check_supported(node: Node) -> None:
    if isinstance(node.module, SUPPORTED) or quantises(node.module):
        if not as_built(node.module):
            raise node.error(
                "must compute what its base class does: its forward() is one of its own; write what"
                " that does as layers and functions of torch around an unchanged layer"
            )
        rules.check_values(node)
        return
    names = ", ".join(kind.__name__ for kind in NAMED)
    raise node.error(
        f"must be one of {names}, or flatten, view, reshape, relu, max_pool2d, avg_pool2d, mean"
        " over (2, 3), the sum of two maps, or an operation with one constant:"
        f" {instead_of(type(node.module).__name__)}"
    )


def _check_finite(model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
            raise ModelError(
                f"parameter {name!r} must be finite, not NaN or infinite: take the weights of a"
                " training that did not diverge"
            )


# ------------------------------------------------------------------------------------- the blocks


@dataclass(slots=True)
class _Draft:
    """A block while it grows."""

    takes: tuple[int, ...]
    nodes: list[Node]


class _Blocks:
    """Cuts the steps of a model into blocks."""

    def __init__(self, model: nn.Module, nodes: tuple[Node, ...]) -> None:
        if not any(isinstance(node.module, MULTIPLY) for node in nodes):
            raise ModelError("model must hold a QuantConv2d or a QuantLinear, not none")
        self._model, self._nodes = model, nodes
        self._consumers: Mapping[int, list[Node]] = defaultdict(list)
        for node in nodes:
            for taken in node.takes:
                self._consumers[taken].append(node)
        self._drafts: list[_Draft] = []

    def graph(self) -> Graph:
        head = self._head()
        end = head[-1].position if head else -1
        first = self._consumers[end][0]
        source = rules.input_of(head, first)
        owner = {end: INPUT}  # block whose last value so far a step's value is
        for node in self._nodes:
            if any(node is one for one in head):
                continue
            owner[node.position] = self._place(node, tuple(owner[taken] for taken in node.takes))
        blocks = [self._block(place) for place in range(len(self._drafts))]
        last = owner[self._nodes[-1].position]
        for place, block in enumerate(blocks):
            rules.check_block(block, self._following(place), logits=place == last)
        rules.check_last(blocks[last])
        before = tuple(node for node in head if node is not source)
        return Graph(self._model, source, before, tuple(blocks))

    def _head(self) -> list[Node]:
        """What stands on the images alone."""
        head: list[Node] = []
        here = -1
        while len(self._consumers[here]) == 1:
            (node,) = self._consumers[here]
            if isinstance(node.module, (*MULTIPLY, *ADDS)) or self._averages(node, bool(head)):
                break
            head.append(node)
            here = node.position
        return head

    def _place(self, node: Node, takes: tuple[int, ...]) -> int:
        """The block that a step is of: a new one, or the one that it goes on with."""
        begins = isinstance(node.module, (*MULTIPLY, *ADDS)) or takes == (INPUT,)
        quantised = takes[0] == INPUT or any(
            quantises(one.module) or truncates(one.module) for one in self._drafts[takes[0]].nodes
        )
        begins = begins or len(self._consumers[node.takes[0]]) > 1  # a branch
        if not begins and isinstance(self._drafts[takes[0]].nodes[0].module, POOLS):
            begins = not isinstance(node.module, rules.BETWEEN)  # behind pools of a branch alone
        if not (begins or self._averages(node, quantised)):
            self._drafts[takes[0]].nodes.append(node)
            return takes[0]
        self._drafts.append(_Draft(takes, [node]))
        return len(self._drafts) - 1

    def _averages(self, node: Node, quantised: bool) -> bool:
        """Whether an average over codes is a step of its own, not one of the layer behind it."""
        if truncates(node.module):
            return True
        if not (isinstance(node.module, MEANS) and quantised):
            return False
        behind = self._consumers[node.position]
        while len(behind) == 1 and isinstance(behind[0].module, (*FLAT, *DROPOUTS, *POOLS, *MEANS)):
            behind = self._consumers[behind[0].position]
        return bool(behind) and not any(isinstance(one.module, MULTIPLY) for one in behind)

    def _block(self, place: int) -> Block:
        draft = self._drafts[place]
        start, rest = draft.nodes[0], draft.nodes[1:]
        owned = {node.position for node in draft.nodes}
        ends = self._nodes[-1].position in owned
        if truncates(start.module) or not isinstance(start.module, (*MULTIPLY, *ADDS, *MEANS)):
            rest = draft.nodes  # a quantiser itself, or a copy: all of it changes codes
        acts = [i for i, n in enumerate(rest) if quantises(n.module) or truncates(n.module)]
        cut = acts[-1] + 1 if acts and not ends else 0
        return Block(start, draft.takes, tuple(rest[:cut]), tuple(rest[cut:]))

    def _following(self, place: int) -> list[Node]:
        """What takes the codes of a block."""
        return [draft.nodes[0] for draft in self._drafts if place in draft.takes]


def pair(value: int | tuple[int, ...], alone: int = 1) -> tuple[int, int]:
    """(vertical, horizontal) of what torch lets one give as a single number.

    Of a layer with one axis (a tuple of one) the vertical one is ``alone``.
    """
    if isinstance(value, int):
        return value, value
    return (value[0], value[1]) if len(value) > 1 else (alone, value[0])
