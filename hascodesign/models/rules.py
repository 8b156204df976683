"""What may stand where in a model, and what to write where it may not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from hascodesign.models.layers import (
    ADDS,
    DROPOUTS,
    FLAT,
    IDENTITIES,
    MEANS,
    MULTIPLY,
    NORMS,
    POOLS,
    RISING,
    SOFT,
    quantises,
    truncates,
)
from hascodesign.models.modules import Elementwise, Quantiser

if TYPE_CHECKING:
    from hascodesign.models.graph import Block
    from hascodesign.models.trace import Node

BETWEEN = (*POOLS, *FLAT, *DROPOUTS)  # may stand wherever codes are


def check_values(node: Node) -> None:
    """Refuse a step that takes more than one value, other than an add of two."""
    wanted = 2 if isinstance(node.module, ADDS) else 1
    if len(node.takes) > wanted:
        raise node.error(
            f"must take one value, not {len(node.takes)}: of branches that meet only sums of two"
            " maps of one shape are built (residual adds), no concatenation; add the branches, or"
            " take one out, and train so"
        )
    if node.takes and len(node.takes) < wanted:
        raise node.error("must add two maps that come of the images, not one and a constant")


def input_of(head: list[Node], first: Node) -> Node:
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


def check_block(block: Block, following: Sequence[Node], *, logits: bool) -> None:
    """Refuse what cannot stand between one block and those that take its codes."""
    for node in (block.start, *block.chain, *block.after):
        _check_layout(node)
    if logits:
        _check_end(block)
        return
    copies = not (block.multiplies or block.adds or block.averages)
    if not block.chain and not copies:
        raise following[0].error(
            f"must take quantised codes: put a QuantReLU or a QuantIdentity behind {block.start}"
        )
    for node in following:
        _check_after(block, node)
    rows = (
        block.start.in_shape if isinstance(block.start.module, FLAT) else block.start.out_shape
    )[0]
    for node in block.chain:
        if isinstance(node.module, NORMS) and node.in_shape[0] != rows:
            raise node.error(
                "must stand before nn.Flatten, one channel for each row: put nn.BatchNorm2d("
                f"{rows}) there instead"
            )
        if isinstance(node.module, (*MEANS, *SOFT)) and not truncates(node.module):
            raise node.error(
                f"must stand behind {block.activation}, not before it"
                if isinstance(node.module, MEANS)
                else "must stand behind the last layer"
            )


def check_last(block: Block) -> None:
    """The last block is a layer with weights and gives one logit for each class."""
    last = block.start
    if not block.multiplies:
        raise last.error(
            "must have a layer that multiplies behind it, whose sums are the logits: put nn.Flatten"
            " and a QuantLinear there and train with them"
        )
    if last.out_shape[1:] not in {(), (1, 1)}:
        size = "x".join(map(str, last.out_shape[1:]))
        raise last.error(
            f"must, as the last layer that multiplies, give one logit for each class, not a map of"
            f" {size}: put nn.Flatten and a QuantLinear behind it and train with them"
        )


def _check_end(block: Block) -> None:
    """Behind the last layer stands nothing but what keeps order within each class, and norms."""
    bent = False  # by a curve or a quantiser
    for node in block.after:
        rises = isinstance(node.module, Elementwise) and node.module.gain > 0
        if isinstance(node.module, NORMS) and not bent:
            continue  # a factor for each class
        bent = bent or isinstance(node.module, SOFT) or quantises(node.module)
        if quantises(node.module) and isinstance(node.module, (*IDENTITIES, Quantiser)):
            continue  # makes some equal, which the comparison counts
        if not (rises or isinstance(node.module, (*FLAT, *DROPOUTS, *SOFT))):
            raise node.error(
                f"must not follow the last layer, {block.start}, whose sums are the logits:"
                " take it out of the model, the largest logit is the same without it"
            )


def _check_after(block: Block, following: Node) -> None:
    """Between codes and what takes them."""
    means = [node for node in block.after if isinstance(node.module, MEANS)]
    linear = isinstance(following.module, MULTIPLY) and len(following.in_shape) == 1
    for node in block.after:
        if isinstance(node.module, BETWEEN) and not (
            means and isinstance(node.module, POOLS) and node.position > means[0].position
        ):
            continue
        if node in means[:1] and linear:
            continue
        if isinstance(node.module, (*MEANS, *POOLS)):
            raise node.error(
                "must, as an average over codes, be the only one and have a QuantLinear or a"
                f" quantiser behind it, not {following}"
            )
        if isinstance(node.module, NORMS):
            raise node.error(
                f"must have a QuantReLU or QuantIdentity before {following}, which adds the codes"
                " of all channels up, where this one has a factor for each: put a QuantIdentity"
                " directly behind this one"
            )
        raise node.error(
            f"must have a QuantReLU or QuantIdentity before {following}; move it before"
            f" {block.activation if block.chain else block.start}"
        )


def _check_layout(node: Node) -> None:
    module: Any = node.module
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
    if isinstance(module, nn.MaxPool2d) and (
        module.dilation not in {1, (1, 1)} or module.return_indices
    ):
        raise node.error(
            "must have dilation 1 and no return_indices, not dilation"
            f" {module.dilation}, return_indices {module.return_indices}: write"
            f" nn.MaxPool2d({module.kernel_size}, {module.stride}), and where that leaves out"
            " what mattered, train with it"
        )
    if isinstance(module, nn.AvgPool2d):
        padded = module.padding not in {0, (0, 0)}
        if (padded and not module.count_include_pad) or module.ceil_mode:
            raise node.error(
                "must count the padding (count_include_pad=True) and have no ceil_mode, not"
                f" padding {module.padding}, ceil_mode {module.ceil_mode}"
            )
    if truncates(module) and getattr(node.given, "scale", None) is None:
        raise node.error(
            "must take a QuantTensor: give the quantiser before it return_quant_tensor=True"
        )
    if isinstance(module, nn.Softmax | nn.LogSoftmax) and module.dim not in {1, -1}:
        raise node.error(f"must be over the classes, dim=1, not dim={module.dim}")
