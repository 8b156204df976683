"""A Brevitas model as a sequence of layers: what runs between the images and the logits."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hascodesign.contract.errors import ModelError
from hascodesign.contract.types import MaxPool
from hascodesign.models.instead import instead_of
from hascodesign.models.layers import (
    DROPOUTS,
    FLAT,
    IDENTITIES,
    MEANS,
    MULTIPLY,
    NAMED,
    NORMS,
    POOLS,
    RISING,
    SOFT,
    SUPPORTED,
    Elementwise,
    Quantiser,
    as_built,
    quantises,
    truncates,
)
from hascodesign.models.trace import Node, sequence, value_of
from hascodesign.models.user_code import running

__all__ = ["Block", "Graph", "Node", "build", "pair", "pool_stage", "quiet", "value_of"]

BETWEEN = (*POOLS, *FLAT, *DROPOUTS)  # may stand wherever codes are


@dataclass(frozen=True, slots=True)
class Block:
    """One multiply layer and what follows it up to the next one."""

    multiply: Node
    chain: tuple[Node, ...]  # up to and with the last activation; empty for the last layer
    after: tuple[Node, ...]  # pooling, flattening and dropout behind it

    @property
    def activation(self) -> Node:
        """The quantiser whose codes the next layer takes."""
        return self.chain[-1]

    @property
    def mean(self) -> Node | None:
        """The average pooling between these codes and the next layer, a QuantLinear."""
        return next((node for node in self.after if isinstance(node.module, MEANS)), None)


@dataclass(frozen=True, slots=True)
class Graph:
    """The whole sequence."""

    model: nn.Module  # copy in float64, evaluation mode
    nodes: tuple[Node, ...]
    input: Node  # the quantiser of the images
    before: tuple[Node, ...]  # what else stands before the first layer that multiplies
    blocks: tuple[Block, ...]
    classes: int


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of torch and brevitas that a user can do nothing about."""
    with warnings.catch_warnings():
        for category in (UserWarning, DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category)
        yield


def build(model: nn.Module, in_shape: tuple[int, ...]) -> Graph:
    """Sequence of what a model does.

    Parameters
    ----------
    model : the Brevitas model; it is copied.
    in_shape : of one image as the model takes it: (channels, height, width) or (features,).

    Raises
    ------
    ModelError
        A step that is not supported, or a forward pass that is no sequence.
    """
    double = _double(model)
    nodes = sequence(double, in_shape, _check_supported)
    return _grouped(double, list(nodes))


def has_input_quantiser(model: nn.Module, in_shape: tuple[int, ...]) -> bool:
    """Whether a quantiser stands before the first layer that multiplies."""
    for node in sequence(_double(model), in_shape):
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
    known = isinstance(node.module, SUPPORTED) and not truncates(node.module)
    if known or quantises(node.module):
        if not as_built(node.module):
            raise node.error(
                "must compute what its base class does: its forward() is one of its own; write what"
                " that does as layers and functions of torch around an unchanged layer"
            )
        return
    names = ", ".join(kind.__name__ for kind in NAMED)
    raise node.error(
        f"must be one of {names}, or flatten, view, reshape, relu, max_pool2d, avg_pool2d, mean"
        f" over (2, 3), or an operation with one constant: {instead_of(type(node.module).__name__)}"
    )


def _check_finite(model: nn.Module) -> None:
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor) and not bool(torch.isfinite(value).all()):
            raise ModelError(
                f"parameter {name!r} must be finite, not NaN or infinite: take the weights of a"
                " training that did not diverge"
            )


# ------------------------------------------------------------------------------------- the blocks


def _grouped(model: nn.Module, nodes: list[Node]) -> Graph:
    starts = [i for i, node in enumerate(nodes) if isinstance(node.module, MULTIPLY)]
    if not starts:
        raise ModelError("model must hold a QuantConv2d or a QuantLinear, not none")
    head = nodes[: starts[0]]
    source = _input(head, nodes[starts[0]])
    blocks = []
    for start, end in zip(starts, [*starts[1:], len(nodes)], strict=True):
        rest = nodes[start + 1 : end]
        acts = [i for i, node in enumerate(rest) if quantises(node.module)]
        cut = acts[-1] + 1 if acts and end < len(nodes) else 0
        block = Block(nodes[start], tuple(rest[:cut]), tuple(rest[cut:]))
        _check_block(block, nodes[end] if end < len(nodes) else None)
        blocks.append(block)
    last = blocks[-1].multiply
    if last.out_shape[1:] not in {(), (1, 1)}:
        size = "x".join(map(str, last.out_shape[1:]))
        raise last.error(
            f"must, as the last layer that multiplies, give one logit for each class, not a map of"
            f" {size}: put nn.Flatten and a QuantLinear behind it and train with them"
        )
    before = tuple(node for node in head if node is not source)
    return Graph(model, tuple(nodes), source, before, tuple(blocks), last.out_shape[0])


def _input(head: list[Node], first: Node) -> Node:
    """The quantiser of the images; flattening and dropout may stand around it."""
    sources = [node for node in head if quantises(node.module)]
    if not sources:
        raise first.error(
            "must have a quantiser of the images before it: put"
            " qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, return_quant_tensor=True) first"
            " (Uint8ActPerTensorFloat where no image is negative)"
        )
    for node in head:
        behind = node.position > sources[0].position
        if isinstance(node.module, NORMS) or (quantises(node.module) and node is not sources[0]):
            raise node.error(
                "must stand behind a layer that multiplies, not on the input: take it out; one"
                " quantiser is enough, and the data can be scaled before they are given"
            )
        if isinstance(node.module, (*RISING, *SOFT, *MEANS)):
            raise node.error("must not stand on the images: apply it to the data")
        if isinstance(node.module, Elementwise) and (behind or node.module.gain <= 0):
            raise node.error(
                f"must stand before {sources[0]} and have a positive factor: scale the data instead"
            )
        _check_layout(node)
    return sources[0]


def _check_block(block: Block, following: Node | None) -> None:
    """Refuse what cannot stand between one multiply layer and the next."""
    for node in (*block.chain, *block.after):
        _check_layout(node)
    if following is None:
        _check_end(block)
        return
    if not block.chain:
        raise following.error(
            f"must take quantised codes: put a QuantReLU or a QuantIdentity behind {block.multiply}"
        )
    _check_after(block, following)
    rows = block.multiply.out_shape[0]
    for node in block.chain:
        if isinstance(node.module, NORMS) and node.in_shape[0] != rows:
            raise node.error(
                "must stand before nn.Flatten, one channel for each row: put nn.BatchNorm2d("
                f"{rows}) there instead"
            )
        if isinstance(node.module, (*MEANS, *SOFT)):
            raise node.error(
                f"must stand behind {block.activation}, not before it"
                if isinstance(node.module, MEANS)
                else "must stand behind the last layer"
            )


def _check_end(block: Block) -> None:
    """Behind the last layer stands nothing that changes which logit is the greatest."""
    for node in block.after:
        rises = isinstance(node.module, Elementwise) and node.module.gain > 0
        if quantises(node.module) and isinstance(node.module, (*IDENTITIES, Quantiser)):
            continue  # makes some equal, which the comparison counts
        if isinstance(node.module, NORMS):
            raise node.error(
                f"must not follow the last layer, {block.multiply}, whose sums are the logits: fold"
                " it into that layer in the factory, once both have their weights:"
                " brevitas.nn.utils.merge_bn(that layer, this one), and take it out; that layer"
                " needs one weight scale (weight_quant=Int8WeightPerTensorFloat); or train without"
                " it"
            )
        if not (rises or isinstance(node.module, (*FLAT, *DROPOUTS, *SOFT))):
            raise node.error(
                f"must not follow the last layer, {block.multiply}, whose sums are the logits:"
                " take it out of the model, the largest logit is the same without it"
            )


def _check_after(block: Block, following: Node) -> None:
    """Between codes and the next layer."""
    means = [node for node in block.after if isinstance(node.module, MEANS)]
    for node in block.after:
        if isinstance(node.module, BETWEEN) and not (
            means and isinstance(node.module, POOLS) and node.position > means[0].position
        ):
            continue
        if node in means[:1] and len(following.in_shape) == 1:
            continue
        if isinstance(node.module, (*MEANS, *POOLS)):
            raise node.error(
                "must, as an average over codes, be the only one and have a QuantLinear behind it,"
                f" not {following}"
            )
        if isinstance(node.module, NORMS):
            raise node.error(
                f"must have a QuantReLU or QuantIdentity before {following}: put a QuantIdentity"
                " directly behind this one"
            )
        raise node.error(
            f"must have a QuantReLU or QuantIdentity before {following}; move it before"
            f" {block.activation}"
        )


def _check_layout(node: Node) -> None:
    module = node.module
    if isinstance(module, NORMS) and module.running_mean is None:
        raise node.error(
            "must have running statistics (track_running_stats=True): without them its constants"
            " are those of the batch, and hardware sees one image at a time"
        )
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        raise node.error(
            f"must flatten from 1 to -1, not from {module.start_dim} to {module.end_dim}: write"
            " nn.Flatten()"
        )
    if isinstance(module, nn.MaxPool2d):
        given = (pair(module.padding), pair(module.dilation), module.ceil_mode)
        if given != ((0, 0), (1, 1), False) or module.return_indices:
            raise node.error(
                "must have padding 0, dilation 1 and no ceil_mode or return_indices, not"
                f" padding {module.padding}, dilation {module.dilation},"
                f" ceil_mode {module.ceil_mode}, return_indices {module.return_indices}: write"
                f" nn.MaxPool2d({module.kernel_size}, {module.stride}), and where that leaves out"
                " what mattered, train with it"
            )
    if isinstance(module, nn.AvgPool2d) and (
        pair(module.padding) != (0, 0) or module.ceil_mode or module.divisor_override
    ):
        raise node.error(
            "must have padding 0 and no ceil_mode or divisor_override, not padding"
            f" {module.padding}, ceil_mode {module.ceil_mode}, divisor_override"
            f" {module.divisor_override}"
        )
    if isinstance(module, nn.Softmax | nn.LogSoftmax) and module.dim not in {1, -1}:
        raise node.error(f"must be over the classes, dim=1, not dim={module.dim}")


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """(vertical, horizontal) of what torch lets one give as a single number."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def pool_stage(node: Node) -> MaxPool:
    """The pooling stage that an nn.MaxPool2d stands for."""
    module = node.module
    assert isinstance(module, nn.MaxPool2d)
    channels, height, width = node.in_shape
    return MaxPool(pair(module.kernel_size), pair(module.stride), (height, width, channels))
