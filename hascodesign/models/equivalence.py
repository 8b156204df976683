"""Brevitas in float64 held against the integer graph, code for code."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.array import wrap
from hascodesign.contract.errors import HascodesignError, ModelError
from hascodesign.contract.types import (
    Equivalence,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    Split,
)
from hascodesign.models import quantisers, user_code
from hascodesign.models.graph import Block, Graph, Node, build, pool_stage, value_of

BATCH = 250  # images at a time: bounds the memory
#: Largest distance of a float64 logit from its integer, in steps of one.
LOGIT_RESIDUAL = 1e-6


def require_equal(equivalence: Equivalence) -> None:
    """Refuse an integer graph that is not its model, code for code.

    Raises
    ------
    HascodesignError
        A code that differs, or a logit that is no integer step.
    """
    if equivalence.total or not equivalence.logit_residual < LOGIT_RESIDUAL:
        raise HascodesignError(
            f"integer graph must equal Brevitas code for code: {equivalence.total} differ,"
            f" first in {equivalence.first}, logits by {equivalence.logit_residual:.1e} of a step"
        )


def compare(
    model: nn.Module, network: IntegerNetwork, heldout: Split, acc_bits: int | None = None
) -> Equivalence:
    """Count where a Brevitas model, in float64, and its integer graph differ.

    Parameters
    ----------
    model : the model that ``network`` was made of.
    network : its integer graph.
    heldout : images; all of them are compared.
    acc_bits : width at which accumulators wrap; None = they never do.

    Returns
    -------
    Differences per layer, the input codes first and the logits (as rounded integers) last. Of
    equal logits the lowest class counts, on both sides.

    Raises
    ------
    ModelError
        Nothing to compare, an activation that is not code * scale, or logits that are not finite.
    """
    if not len(heldout.labels):
        raise ModelError("held-out images must be there to compare on, not none")
    graph = build(model, heldout.images.shape[1:])
    rest = _rounded_off(graph, network)
    names = ("input", *(layer.name for layer in network.layers))
    differences, compared = (np.zeros(len(names), dtype=np.int64) for _ in range(2))
    seen: list[set[int]] = [set() for _ in names]
    residual, correct, moved = 0.0, [0, 0], 0
    for start in range(0, len(heldout.labels), BATCH):
        images = heldout.images[start : start + BATCH]
        golden, logits, classes = _brevitas(graph, images, network.logit_scale, rest)
        ours = _integers(graph, network, images, acc_bits)
        for i, (left, right) in enumerate(zip(golden, ours, strict=True)):
            if left.shape != right.shape:  # numpy would stretch one to the other
                raise ModelError(f"{names[i]}: codes must be {left.shape}, not {right.shape}")
            differences[i] += np.count_nonzero(left != right)
            compared[i] += right.size
            seen[i] |= set(np.unique(right).tolist())
        residual = max(residual, float(np.abs(logits - golden[-1]).max()))
        labels = heldout.labels[start : start + BATCH]
        # each by its own logits: rounded ones would hide what rounding takes away
        found = arithmetic.classify(ours[-1])
        correct[0] += int((classes == labels).sum())
        correct[1] += int((found == labels).sum())
        moved += int((found != (logits + rest).argmax(axis=1)).sum())
    if not compared.all():
        raise ModelError(f"{names[int(compared.argmin())]}: codes must be there to compare")
    return Equivalence(
        layers=names,
        differences=tuple(int(n) for n in differences),
        compared=tuple(int(n) for n in compared),
        values=tuple(len(found) for found in seen),
        logit_residual=residual,
        images=len(heldout.labels),
        brevitas_correct=correct[0],
        integer_correct=correct[1],
        clipped=_clipped(network, heldout),
        rounded=moved if rest.any() else None,
    )


def answers(
    model: nn.Module, network: IntegerNetwork, images: NDArray[np.float32]
) -> tuple[NDArray[Any], ...]:
    """Codes of every activation and logits that a model gives, in float64: what it does."""
    graph = build(model, images.shape[1:])
    rest = _rounded_off(graph, network)
    codes, logits, _ = _brevitas(graph, images, network.logit_scale, rest)
    return (*codes[:-1], logits)


def _rounded_off(graph: Graph, network: IntegerNetwork) -> FloatArray:
    """[classes] what rounding took from the last layer's bias, in units of its accumulator."""
    node, mean = graph.blocks[-1].multiply, None
    source = graph.input
    if len(graph.blocks) > 1:
        source, mean = graph.blocks[-2].activation, graph.blocks[-2].mean
    weights, act = quantisers.weights(node), quantisers.activation(source)
    bias = quantisers.bias(node, weights, act, mean)
    if bias.real is None:
        return np.zeros(len(weights.scale))
    return bias.real / network.logit_scale - network.layers[-1].bias


def _clipped(network: IntegerNetwork, heldout: Split) -> float:
    """Share of the images' values that lie far beyond their quantiser's range.

    A sixteenth of the range is let pass: 1.0 is a step above the codes of a signed quantiser.
    """
    source = network.input
    if source.binary:
        return 0.0
    margin = (source.high - source.low) / 16
    ends = ((source.low - margin) * source.scale, (source.high + margin) * source.scale)
    low, high = ((end - source.offset) / source.gain for end in ends)
    beyond = (heldout.images < low) | (heldout.images > high)
    return float(np.count_nonzero(beyond) / heldout.images.size)


def _brevitas(
    graph: Graph, images: Any, logit_scale: float, rest: FloatArray
) -> tuple[list[IntArray], FloatArray, IntArray]:
    """Codes of every activation, channel last, then integer logits; real logits; classes.

    The logits are what the last layer that multiplies gives, in units of its accumulator and less
    what was rounded off its bias; the classes are those of what the model returns.
    """
    quantised = [graph.input, *(block.activation for block in graph.blocks if block.chain)]
    formats = [quantisers.activation(node) for node in quantised]
    last = graph.blocks[-1].multiply
    running = user_code.running("forward() must take the held-out images")
    with _Caught([*quantised, last]) as caught, running, torch.no_grad():
        out = value_of(graph.model(torch.from_numpy(images.astype(np.float64))))
        returned = out.numpy().astype(np.float64).reshape(len(images), -1)
    logits = caught[last].reshape(len(images), -1) / logit_scale - rest
    if not (np.isfinite(returned).all() and np.isfinite(logits).all()):
        raise ModelError("logits must be finite on held-out images, not NaN or infinite")
    codes = [
        quantisers.codes_of(node, caught[node], act.scale)
        for node, act in zip(quantised, formats, strict=True)
    ]
    return (
        [*(_channel_last(c) for c in codes), np.rint(logits).astype(np.int64)],
        logits,
        returned.argmax(axis=1),
    )


class _Caught:
    """What nodes give in one run of the model; of a module that runs twice each call is one."""

    def __init__(self, nodes: list[Node]) -> None:
        self._nodes = nodes
        self._calls: dict[nn.Module, int] = {}
        self._found: dict[int, FloatArray] = {}
        self._handles: list[Any] = []

    def __getitem__(self, node: Node) -> FloatArray:
        return self._found[node.position]

    def __enter__(self) -> _Caught:
        modules = dict.fromkeys(node.module for node in self._nodes)
        self._handles = [module.register_forward_hook(self._hook) for module in modules]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, module: nn.Module, _args: Any, out: Any) -> None:
        call = self._calls[module] = self._calls.get(module, -1) + 1
        for node in self._nodes:
            if node.module is module and node.call == call:
                self._found[node.position] = value_of(out).numpy().copy()


def _channel_last(codes: IntArray) -> IntArray:
    return np.moveaxis(codes, 1, -1) if codes.ndim == 4 else codes


def _integers(
    graph: Graph, network: IntegerNetwork, images: Any, acc_bits: int | None
) -> list[IntArray]:
    """The same codes from the integer graph."""

    def accumulate(layer: MultiplyLayer, activations: IntArray) -> IntArray:
        # integers below 2^53 are exact in float64, where the product is fast
        product = layer.weights.astype(np.float64) @ activations.astype(np.float64)
        acc = product.astype(np.int64)
        return acc if acc_bits is None else wrap(acc, acc_bits)

    codes = arithmetic.quantise(images, network.input)
    found = [codes]
    traces = arithmetic.walk(network, codes, accumulate)
    for block, trace in zip(graph.blocks, traces, strict=True):
        found.append(_as_caught(block, arithmetic.maps_of(trace.layer, trace.codes)))
    if len(graph.input.in_shape) == 1:
        found[0] = np.moveaxis(codes, -1, 1).reshape(len(codes), -1)
    return found


def _as_caught(block: Block, maps: IntArray) -> IntArray:
    """Codes as Brevitas holds them at the activation: behind the pools that stand before it."""
    for node in block.chain:
        if isinstance(node.module, nn.MaxPool2d):
            maps = arithmetic.max_pool(pool_stage(node), maps)
        elif isinstance(node.module, nn.Flatten) and maps.ndim == 4:
            maps = np.moveaxis(maps, -1, 1).reshape(len(maps), -1)
    return maps
