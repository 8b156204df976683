"""Brevitas in float64 held against the integer graph, code for code."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from hascodesign.contract import arithmetic
from hascodesign.contract.array import wrap
from hascodesign.contract.types import (
    Equivalence,
    FloatArray,
    IntArray,
    IntegerNetwork,
    MultiplyLayer,
    Split,
)
from hascodesign.models import quantisers
from hascodesign.models.graph import Block, Graph, Node, build, pool_stage, quiet, value_of

BATCH = 250  # images at a time: bounds the memory


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
    """
    channels, height, width = heldout.images.shape[1:]
    graph = build(model, (channels, height, width))
    names = ("input", *(layer.name for layer in network.layers))
    differences, compared = (np.zeros(len(names), dtype=np.int64) for _ in range(2))
    residual, correct = 0.0, 0
    for start in range(0, len(heldout.labels), BATCH):
        images = heldout.images[start : start + BATCH]
        golden, logits = _brevitas(graph, images, network.logit_scale)
        ours = _integers(graph, network, images, acc_bits)
        for i, (left, right) in enumerate(zip(golden, ours, strict=True)):
            differences[i] += np.count_nonzero(left != right)
            compared[i] += right.size
        residual = max(residual, float(np.abs(logits - golden[-1]).max(initial=0.0)))
        labels = heldout.labels[start : start + BATCH]
        correct += int((arithmetic.classify(golden[-1]) == labels).sum())
    differing, all_ = (tuple(int(n) for n in array) for array in (differences, compared))
    return Equivalence(names, differing, all_, residual, correct)


def _brevitas(graph: Graph, images: Any, logit_scale: float) -> tuple[list[IntArray], FloatArray]:
    """Codes of every activation, channel last, then integer logits; and the logits as they are."""
    caught: dict[int, IntArray] = {}

    def catch(node: Node, scale: float) -> Any:
        def hook(_module: nn.Module, _args: Any, out: Any) -> None:
            real = value_of(out).numpy()
            caught[node.position] = np.rint(real / scale).astype(np.int64)

        return node.module.register_forward_hook(hook)

    quantised = [graph.input, *(block.activation for block in graph.blocks if block.chain)]
    handles = [catch(node, quantisers.activation(node).scale) for node in quantised]
    try:
        with quiet(), torch.no_grad():
            out = value_of(graph.model(torch.from_numpy(images.astype(np.float64))))
    finally:
        for handle in handles:
            handle.remove()
    logits = out.numpy() / logit_scale
    codes = [caught[node.position] for node in quantised]
    return [*(_channel_last(c) for c in codes), np.rint(logits).astype(np.int64)], logits


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
